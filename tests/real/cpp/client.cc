// Calls every kind of method of the model `shapes` with gRPC for C++, and says what it saw, a line each.
//
//   client 127.0.0.1:8000

#include <grpcpp/grpcpp.h>

#include <chrono>
#include <iostream>
#include <memory>
#include <string>
#include <vector>

#include "runner/v1/inference.grpc.pb.h"

using runner::v1::Inference;
using runner::v1::MultiOutputResponse;
using runner::v1::PostModelOutputsRequest;

namespace {

PostModelOutputsRequest Call(const std::string& method) {
  PostModelOutputsRequest request;
  auto& fields = *request.add_inputs()->mutable_data()->mutable_metadata()->mutable_fields();
  fields["_method_name"].set_string_value(method);
  return request;
}

runner::v1::Data* Argument(PostModelOutputsRequest& request, const std::string& name) {
  auto* part = request.mutable_inputs(0)->mutable_data()->add_parts();
  part->set_id(name);
  return part->mutable_data();
}

PostModelOutputsRequest Word(const std::string& method, const std::string& argument, const std::string& word) {
  auto request = Call(method);
  Argument(request, argument)->set_string_value(word);
  return request;
}

PostModelOutputsRequest Words(const std::string& word, int count) {
  auto request = Word("served_async", "word", word);
  Argument(request, "count")->set_int_value(count);
  return request;
}

const std::string& Text(const MultiOutputResponse& response) {
  return response.outputs(0).data().parts(0).data().string_value();
}

void Deadline(grpc::ClientContext& context, std::chrono::milliseconds after) {
  context.set_deadline(std::chrono::system_clock::now() + after);
}

void Tell(const std::string& what, const grpc::Status& status, const std::string& seen) {
  std::cout << what << ": " << status.error_code() << " " << seen << std::endl;
}

constexpr std::chrono::seconds kLong{10};

void Unary(Inference::Stub& stub) {
  grpc::ClientContext context;
  Deadline(context, kLong);
  MultiOutputResponse response;
  auto status = stub.PostModelOutputs(&context, Word("unary_async", "word", "hello"), &response);
  Tell("unary", status, status.ok() ? Text(response) : status.error_message());
}

void Large(Inference::Stub& stub) {
  grpc::ClientContext context;
  Deadline(context, kLong);
  MultiOutputResponse response;
  auto status = stub.PostModelOutputs(&context, Word("unary_async", "word", std::string(1'000'000, 'a')), &response);
  bool right = status.ok() && Text(response) == std::string(1'000'000, 'A');
  Tell("large", status, right ? "right" : "wrong");
}

void ServerStream(Inference::Stub& stub) {
  grpc::ClientContext context;
  Deadline(context, kLong);
  auto reader = stub.GenerateModelOutputs(&context, Words("w", 500));
  MultiOutputResponse response;
  int right = 0;
  while (reader->Read(&response)) right += Text(response) == "W";
  Tell("server stream", reader->Finish(), std::to_string(right));
}

void ClientStream(Inference::Stub& stub) {
  grpc::ClientContext context;
  Deadline(context, kLong);
  MultiOutputResponse response;
  auto writer = stub.CollectModelOutputs(&context, &response);
  for (const char* word : {"a", "b", "c"}) writer->Write(Word("collected_async", "words", word));
  writer->WritesDone();
  auto status = writer->Finish();
  std::string seen;
  if (status.ok()) {
    for (const auto& part : response.outputs(0).data().parts(0).data().parts()) seen += part.data().string_value();
  }
  Tell("client stream", status, seen);
}

void Conversation(Inference::Stub& stub) {
  grpc::ClientContext context;
  Deadline(context, kLong);
  auto stream = stub.StreamModelOutputs(&context);
  MultiOutputResponse response;
  std::string seen;
  for (const char* word : {"a", "b", "c"}) {
    stream->Write(Word("bidi_async", "words", word));
    if (!stream->Read(&response)) break;
    seen += Text(response);
  }
  stream->WritesDone();
  bool more = stream->Read(&response);
  Tell("conversation", stream->Finish(), seen + (more ? " and more" : ""));
}

void Error(Inference::Stub& stub) {
  grpc::ClientContext context;
  Deadline(context, kLong);
  auto request = Word("unary_async", "word", "x");
  Argument(request, "fail")->set_bool_value(true);
  MultiOutputResponse response;
  auto status = stub.PostModelOutputs(&context, request, &response);
  Tell("error", status, status.error_message() + (status.error_details().empty() ? "" : ", with details"));
}

void Unknown(Inference::Stub& stub) {
  grpc::ClientContext context;
  Deadline(context, kLong);
  MultiOutputResponse response;
  Tell("unknown", stub.PostModelOutputs(&context, Call("no_such_method"), &response), "refused");
}

void DeadlinePassed(Inference::Stub& stub) {
  grpc::ClientContext context;
  Deadline(context, std::chrono::milliseconds(300));
  // It waits for its second word, which never comes.
  auto stream = stub.StreamModelOutputs(&context);
  stream->Write(Word("bidi_async", "words", "a"));
  MultiOutputResponse response;
  int seen = 0;
  while (stream->Read(&response)) ++seen;
  Tell("deadline", stream->Finish(), std::to_string(seen));
}

void Cancel(Inference::Stub& stub) {
  grpc::ClientContext context;
  auto reader = stub.GenerateModelOutputs(&context, Words("w", 100'000'000));
  MultiOutputResponse response;
  bool first = reader->Read(&response);
  context.TryCancel();
  while (reader->Read(&response)) {
  }
  Tell("cancel", reader->Finish(), first ? "after the first" : "before the first");
}

void NothingRuns(Inference::Stub& stub) {
  grpc::ClientContext context;
  Deadline(context, std::chrono::seconds(15));
  auto request = Call("wait_under_way");
  Argument(request, "count")->set_int_value(0);
  MultiOutputResponse response;
  auto status = stub.PostModelOutputs(&context, request, &response);
  bool none = status.ok() && response.outputs(0).data().parts(0).data().bool_value();
  Tell("nothing runs", status, none ? "yes" : "no");
}

}  // namespace

int main(int count, char** arguments) {
  if (count != 2) {
    std::cerr << "client HOST:PORT" << std::endl;
    return 2;
  }
  auto stub = Inference::NewStub(grpc::CreateChannel(arguments[1], grpc::InsecureChannelCredentials()));
  for (auto* scene : {Unary, Large, ServerStream, ClientStream, Conversation, Error, Unknown, DeadlinePassed, Cancel,
                      NothingRuns}) {
    scene(*stub);
  }
  return 0;
}
