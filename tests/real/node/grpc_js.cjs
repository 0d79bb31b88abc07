// Makes calls with @grpc/grpc-js, one JSON line in, one JSON line out. Messages are base64, since what is tried is the
// transport. A call: {address, kind: "unary" | "server" | "client" | "bidi", path, messages, deadline_ms, cancel_after,
// metadata}. An answer: {code, details, messages, header, trailer}; header and trailer map a name to its values.
const { createRequire } = require("module");
const readline = require("readline");

const grpc = createRequire(process.argv[2] + "/")("@grpc/grpc-js");
const same = (bytes) => bytes;
const clients = new Map();

function clientOf(address) {
  if (!clients.has(address)) clients.set(address, new grpc.Client(address, grpc.credentials.createInsecure()));
  return clients.get(address);
}

const plain = (metadata) =>
  Object.fromEntries(
    Object.keys(metadata.getMap()).map((name) => [
      name,
      metadata.get(name).map((value) => (Buffer.isBuffer(value) ? value.toString("base64") : value)),
    ]),
  );

function run({ address, kind, path, messages, deadline_ms = 5000, cancel_after, metadata = {} }) {
  const client = clientOf(address);
  const requests = messages.map((text) => Buffer.from(text, "base64"));
  const options = { deadline: Date.now() + deadline_ms };
  const sent = new grpc.Metadata();
  for (const [name, value] of Object.entries(metadata)) sent.set(name, name.endsWith("-bin") ? Buffer.from(value, "base64") : value);
  return new Promise((resolve) => {
    const answer = { messages: [], header: {} };
    const take = (message) => answer.messages.push(message.toString("base64"));
    const single = (error, message) => message && take(message);
    const call = {
      unary: () => client.makeUnaryRequest(path, same, same, requests[0], sent, options, single),
      server: () => client.makeServerStreamRequest(path, same, same, requests[0], sent, options),
      client: () => client.makeClientStreamRequest(path, same, same, sent, options, single),
      bidi: () => client.makeBidiStreamRequest(path, same, same, sent, options),
    }[kind]();
    call.on("metadata", (metadata) => (answer.header = plain(metadata)));
    call.on("status", ({ code, details, metadata }) => {
      // The callback of a single message may come in the same turn as this.
      setImmediate(() => resolve({ ...answer, code, details, trailer: plain(metadata) }));
    });
    if (kind === "server" || kind === "bidi") {
      call.on("error", () => {}); // told by the status as well
      call.on("data", (message) => {
        take(message);
        if (answer.messages.length === cancel_after) call.cancel();
        // A conversation: the next message goes out when the last one is answered.
        else if (kind === "bidi") answer.messages.length < requests.length ? call.write(requests[answer.messages.length]) : call.end();
      });
    }
    if (kind === "bidi") call.write(requests[0]);
    if (kind === "client") {
      requests.forEach((request) => call.write(request));
      call.end();
    }
  });
}

(async () => {
  for await (const line of readline.createInterface({ input: process.stdin })) {
    process.stdout.write(JSON.stringify(await run(JSON.parse(line))) + "\n");
  }
  process.exit(0);
})();
