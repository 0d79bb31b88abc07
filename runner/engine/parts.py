"""Lists of inputs in parts: each part goes to one replica as one call, and runs in one batch where it can.

A part that a worker died of is taken apart: its inputs run one by one, and the guilty one is found.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Final

from runner.dispatch.dispatcher import CallId
from runner.engine.calls import End, Outcome, Request, ToldCall, UnaryCall
from runner.processes.shared import MAX_SHARED
from runner.wire import run
from runner.wire.payload import Payload

_LEAST: Final = 8
"""Inputs of a part at least, if there are so many: replicas share a list, but not by single inputs, since what is paid
for each part would be paid for each input again."""

_MOST_BYTES: Final = MAX_SHARED
"""Of a part, for inputs that are smaller: more would not go through shared memory."""


def in_parts(request: Request, inputs: Sequence[Payload], whole: Payload | None, replicas: int) -> Iterator[Request]:
    """Yield the requests of a list's parts, in order. A method without batches has one for each input.

    Args:
        request: of one input of the list.
        inputs: serialized inputs.
        whole: the run of all of them, if there is one.
        replicas: how many share the list.
    """
    size = 1
    if request.method.max_batch_size > 1:
        most = max(_MOST_BYTES // max(max(map(len, inputs)), 1), 1)
        size = min(request.method.max_batch_size, max(-(-len(inputs) // max(replicas, 1)), _LEAST), most)
    if size == 1:
        for payload in inputs:
            yield request._replace(payload=payload)
        return
    position = 0
    for count, payload in run.parts(whole, run.INPUT_TAG, inputs, size):
        yield request._replace(payload=inputs[position] if count == 1 else payload, inputs=count)
        position += count


def take_apart(call: UnaryCall, ids: Iterator[CallId]) -> Sequence[UnaryCall]:
    """Return a call of one input for each of a call's inputs; when all have ended, so has that one.

    Args:
        call: of several inputs.
        ids: numbers for them.
    """
    request = call.request
    ends: list[End | None] = [None] * request.inputs
    slowest: list[Outcome] = []

    def told(place: int, outcome: Outcome) -> None:
        ends[place] = outcome.end
        if not slowest or outcome.waited > slowest[0].waited:
            slowest[:] = [outcome]
        if None not in ends:
            call.tell(_joined([end for end in ends if end is not None], slowest[0]))

    singles: list[UnaryCall] = []
    for place, payload in enumerate(run.split(request.payload, request.inputs)):
        single = ToldCall(next(ids), request._replace(payload=payload, inputs=1), call.arrived, partial(told, place))
        single.deaths = call.deaths
        singles.append(single)
    call.singles = singles
    return singles


def _joined(ends: Sequence[End], slowest: Outcome) -> Outcome:
    outputs = [end for end in ends if isinstance(end, bytes | memoryview)]
    if len(outputs) == len(ends):
        return slowest._replace(end=b"".join(run.pieces(run.OUTPUT_TAG, outputs)))
    error = next(end for end in ends if not isinstance(end, bytes | memoryview))
    return slowest._replace(end=error, ends=tuple(ends))


def ends_of(request: Request, outcome: Outcome) -> Sequence[End]:
    """Return how each input of a part ended."""
    if outcome.ends:
        return outcome.ends
    if request.inputs > 1 and isinstance(outcome.end, bytes | memoryview):
        return run.split(outcome.end, request.inputs)
    return [outcome.end] * request.inputs
