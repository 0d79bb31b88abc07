"""What an error tells of the machine it happened on: nothing, unless it is asked to."""

from __future__ import annotations

import grpc
import pytest

from runner.client import Model
from runner.errors import ModelError
from runner.wire.pb import inference_pb2 as pb

pytestmark = pytest.mark.real


def failure(server) -> pb.Status:
    data = pb.Data(parts=[pb.Part(id="text", data=pb.Data(string_value="no"))])
    data.metadata["_method_name"] = "fail"
    message = pb.PostModelOutputsRequest(inputs=[pb.Input(data=data)]).SerializeToString()
    with grpc.insecure_channel(server.address) as channel:
        reply = channel.unary_unary("/clarifai.api.V2/PostModelOutputs")(message, timeout=20)
    return pb.MultiOutputResponse.FromString(reply).status


def test_nothing_of_the_machine_is_told(serve):
    server = serve("misbehaving")
    told = str(failure(server))
    assert "ValueError: no" in told
    assert "Traceback" not in told
    assert ".py" not in told
    with Model(base_url=server.base_url, timeout=20) as model, pytest.raises(ModelError) as caught:
        model.fail("no")
    assert (str(caught.value), caught.value.details) == ("ValueError: no", "")


def test_the_traceback_is_told_for_development(serve):
    server = serve("misbehaving", "--debug")
    status = failure(server)
    assert status.description == "ValueError: no"
    assert status.details.startswith("Traceback")
    assert "misbehaving/model.py" in status.details
    with Model(base_url=server.base_url, timeout=20) as model, pytest.raises(ModelError) as caught:
        model.fail("no")
    assert "misbehaving/model.py" in caught.value.details
