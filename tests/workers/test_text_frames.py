from __future__ import annotations

import json

from runner.errors import ErrorKind, call_error
from runner.execution.times import Times
from runner.processes.framing import PREFIX
from runner.signature.published import Lane
from runner.wire.payload import Payload
from runner.workers.messages import Failed, Room
from runner.workers.text_frames import TEXT_READERS, append_text, pack_error, unpack_error


def test_a_rare_message_can_be_read_in_a_trace() -> None:
    out: list[Payload] = []
    size = append_text(out, Room(Lane("predict"), 3))
    frame = b"".join(out)
    assert len(frame) == size
    assert json.loads(frame[PREFIX.size :]) == {"lane": "predict", "calls": 3}
    assert TEXT_READERS[Room.TAG](memoryview(frame)) == Room(Lane("predict"), 3)


def test_an_error_is_the_same_by_itself_and_as_the_end_of_a_call() -> None:
    error = call_error(ErrorKind.INVALID_INPUT, "no such size", details="at line 3", path="data.size")
    alone = unpack_error(pack_error(error))
    out: list[Payload] = []
    append_text(out, Failed(7, error, Times()))
    failed = TEXT_READERS[Failed.TAG](memoryview(b"".join(out)))
    assert isinstance(failed, Failed)
    for arrived in (alone, failed.error):
        assert type(arrived) is type(error)
        assert (arrived.message, arrived.details, arrived.path) == ("no such size", "at line 3", "data.size")
