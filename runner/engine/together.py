"""Calls that go to a replica in one turn of the loop, sent as one message.

What a message costs is paid once for all of them, and the worker reads and runs them together.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from runner.engine.calls import EngineCall
from runner.signature.method import Cardinality
from runner.wire import run
from runner.wire.payload import VIEW_FROM
from runner.workers.link import Link
from runner.workers.messages import Calls

_MOST: Final = 64
"""Calls in a message: beyond, the worker has enough to begin with."""

_MOST_BYTES: Final = 128 * 1024
"""Of inputs and metadata in a message, so that it goes in one piece."""


class Together:
    """Calls of one method for one replica that are not sent yet. Their numbers on the link follow each other."""

    def __init__(self, link: Link) -> None:
        """Send over a link, at the end of a turn of the loop at the latest."""
        self._link = link
        self._loop = asyncio.get_running_loop()
        self._calls: list[EngineCall] = []
        self._method = 0
        self._bytes = 0
        self._due = False

    def send(self, calls: Sequence[EngineCall], method: int, now: float, *, wait: bool) -> None:
        """Send calls of one method: together where they may, and each that may not by itself, in order.

        Args:
            calls: the next ones on this link; they have their numbers.
            method: the number of their method there.
            now: instant.
            wait: for what else this turn brings.
        """
        published = calls[0].request.method
        unary = published.cardinality is Cardinality.UNARY
        if method != self._method:
            self.flush()
            self._method = method
        for call in calls:
            request = call.request
            size = len(request.payload)
            if not unary or size >= VIEW_FROM or request.inputs > 1 or request.params:
                self.flush()
                self._link.send(call.first_message(method, now))
                continue
            self._bytes += size + len(request.metadata)
            if self._bytes > _MOST_BYTES or len(self._calls) >= _MOST:
                self.flush()
                self._bytes = size + len(request.metadata)
            call.sent = now
            self._calls.append(call)
        if not wait:
            self.flush()
        elif self._calls and not self._due:
            self._due = True
            self._loop.call_soon(self._turn_ended)

    def close(self) -> None:
        """Forget what was not sent: the replica is gone."""
        self._calls.clear()

    def _turn_ended(self) -> None:
        self._due = False
        self.flush()

    def flush(self) -> None:
        """Send what waits."""
        if not self._calls:
            return
        calls, self._calls, self._bytes = self._calls, [], 0
        first = calls[0]
        if len(calls) == 1:
            self._link.send(first.first_message(self._method, first.sent))
            return
        requests = [call.request for call in calls]
        metadata = [request.metadata for request in requests]
        if metadata.count(metadata[0]) == len(metadata):
            metadata = metadata[:1]
        times_left = [None if call.request.deadline is None else call.request.deadline - call.sent for call in calls]
        self._link.send(
            Calls(
                first.wire_id,
                self._method,
                b"".join(run.pieces(run.INPUT_TAG, [request.payload for request in requests])),
                tuple(times_left),
                tuple([request.request_id for request in requests]),
                tuple(metadata),
            )
        )

    def __repr__(self) -> str:
        return f"<Together {len(self._calls)} calls>"
