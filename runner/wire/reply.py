"""Replies as bytes: outputs that a worker has serialized are framed, never parsed.

Every reply message of the published services has its status in field 1, so a `failure` is a valid reply to any of
their RPCs, be it a prediction or GetModel.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeAlias

from runner.wire import run, varint
from runner.wire.payload import VIEW_FROM, LongReply
from runner.wire.pb import inference_pb2 as pb

Serialized: TypeAlias = bytes | memoryview
"""A serialized message; a view where it still lies in the buffer it came in."""

SUCCESS = 10000
MIXED_STATUS = 10010

_OK = pb.Status(code=SUCCESS, description="Ok")
_HEAD_OF_SUCCESS = pb.MultiOutputResponse(status=_OK).SerializeToString()

_SHORT = 2048
_HEADS = tuple(_HEAD_OF_SUCCESS + run.OUTPUT_TAG + varint.encode(size) for size in range(_SHORT))
"""By the output's length, what stands before a short one: every chunk of a stream needs it."""

EMPTY_OUTPUT = pb.Output(status=_OK).SerializeToString()
"""The output of a finished generator while others of its list go on."""


def success(outputs: Sequence[Serialized]) -> bytes:
    """Return a serialized MultiOutputResponse of serialized Outputs."""
    if len(outputs) == 1:
        output = outputs[0]
        if len(output) < _SHORT:
            return _HEADS[len(output)] + output
        return b"".join((_HEAD_OF_SUCCESS, run.OUTPUT_TAG, varint.encode(len(output)), output))
    return _HEAD_OF_SUCCESS + _framed(outputs)


def long_success(output: Serialized) -> LongReply:
    """Return what `success` returns of one output, in pieces."""
    return LongReply(_HEAD_OF_SUCCESS + run.OUTPUT_TAG + varint.encode(len(output)), output)


def success_of_runs(runs: Sequence[Serialized]) -> bytes | LongReply:
    """Return a serialized MultiOutputResponse of runs of serialized Outputs; a single long one in pieces."""
    if len(runs) == 1 and len(runs[0]) >= VIEW_FROM:
        return LongReply(_HEAD_OF_SUCCESS, runs[0])
    return b"".join((_HEAD_OF_SUCCESS, *runs))


def failure(
    code: int,
    description: str,
    details: str = "",
    *,
    outputs: Iterable[Serialized] = (),
) -> bytes:
    """Return a serialized reply whose status is not a success.

    Args:
        code: as `server/status.py` maps it, or `MIXED_STATUS` when only some of the outputs failed.
        description: what the caller reads; some clients show nothing else.
        details: the longer text.
        outputs: serialized Outputs, failed ones among them; the reply to a request for signatures must have one.
    """
    status = pb.Status(code=code, description=description, details=details)
    return pb.MultiOutputResponse(status=status).SerializeToString() + _framed(outputs)


def failed_output(code: int, description: str, details: str = "", *, kind: str = "", path: str = "") -> bytes:
    """Return a serialized Output that stands for an input which failed alone.

    Args:
        code: as for `failure`.
        description: what the caller reads.
        details: the longer text.
        kind: the `ErrorKind`'s value, in `developer_notes`: our client raises that class again.
        path: the value's place in the arguments, in `internal_details`.
    """
    status = pb.Status(code=code, description=description, details=details, developer_notes=kind, internal_details=path)
    return pb.Output(status=status).SerializeToString()


def _framed(outputs: Iterable[Serialized]) -> bytes:
    return b"".join(run.pieces(run.OUTPUT_TAG, outputs))
