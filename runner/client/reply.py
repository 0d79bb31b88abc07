"""Split a reply into its status and the bytes of each output, so that a value is parsed once and by its codec."""

from __future__ import annotations

from dataclasses import dataclass

from google.protobuf.message import DecodeError

from runner.errors import InternalError, InvalidInput
from runner.wire import varint
from runner.wire.pb import inference_pb2 as pb

__all__ = ["Reply", "read_reply"]

_STATUS_TAG = 0x0A  # field 1, length-delimited
_OUTPUTS_TAG = 0x12  # field 2, length-delimited


@dataclass(frozen=True, slots=True)
class Reply:
    """A MultiOutputResponse with its outputs still serialized."""

    status: pb.Status
    outputs: list[bytes]


def read_reply(reply: bytes) -> Reply:
    """Split a serialized MultiOutputResponse.

    Raises:
        InternalError: the bytes are no such message.
    """
    try:
        return _split(reply)
    except (DecodeError, IndexError, InvalidInput):
        raise InternalError("the server's reply is not a valid message") from None


def _split(reply: bytes) -> Reply:
    status = b""
    outputs: list[bytes] = []
    position, end = 0, len(reply)
    while position < end:
        tag = reply[position]
        if tag not in (_STATUS_TAG, _OUTPUTS_TAG):
            return _parse(reply)
        size, start = varint.decode(reply, position + 1)
        position = start + size
        if position > end:
            raise DecodeError
        if tag == _OUTPUTS_TAG:
            outputs.append(reply[start:position])
        else:
            status += reply[start:position]  # protobuf merges a repeated sub-message by concatenation
    return Reply(pb.Status.FromString(status), outputs)


def _parse(reply: bytes) -> Reply:
    """The general way, for a reply that holds anything else; it copies every value twice."""
    message = pb.MultiOutputResponse.FromString(reply)
    return Reply(message.status, [output.SerializeToString() for output in message.outputs])
