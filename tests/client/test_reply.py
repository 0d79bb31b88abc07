from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.client.reply import read_reply
from runner.errors import InternalError
from runner.wire.pb import inference_pb2 as pb

OUTPUT = pb.Output(id="o", data=pb.Data(string_value="x" * 300))


@given(count=st.integers(0, 5), status=st.booleans(), selector=st.booleans())
def test_the_outputs_are_the_bytes_that_were_sent(count, status, selector):
    message = pb.MultiOutputResponse(outputs=[OUTPUT] * count)
    if status:
        message.status.code = 10000
    if selector:  # the general way
        message.runner_selector.deployment.id = "d"
    reply = read_reply(message.SerializeToString())
    assert reply.status == message.status
    assert [pb.Output.FromString(output) for output in reply.outputs] == list(message.outputs)


def test_a_status_in_two_pieces_is_one():
    pieces = [pb.MultiOutputResponse(status=piece) for piece in (pb.Status(code=5), pb.Status(description="d"))]
    assert read_reply(b"".join(piece.SerializeToString() for piece in pieces)).status == pb.Status(
        code=5, description="d"
    )


@given(st.binary(max_size=40))
def test_any_bytes_are_a_reply_or_an_error(data):
    try:
        expected = pb.MultiOutputResponse.FromString(data)
    except Exception:
        expected = None
    try:
        reply = read_reply(data)
    except InternalError:
        assert expected is None
    else:
        assert expected is None or len(reply.outputs) == len(expected.outputs)


def test_every_truncation_of_a_reply_is_noticed():
    whole = pb.MultiOutputResponse(status=pb.Status(code=10000), outputs=[OUTPUT]).SerializeToString()
    status = len(pb.MultiOutputResponse(status=pb.Status(code=10000)).SerializeToString())
    for length in range(1, len(whole)):
        if length != status:
            with pytest.raises(InternalError):
                read_reply(whole[:length])
