"""A worker's end of the link: messages become calls of the executor, and what that says becomes messages.

The same in a process of its own and, for `--inline` and local tests, in ours.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from functools import partial

from runner.batching.credit import BatchCredit
from runner.batching.tally import BatchRan, Count
from runner.context import NO_METADATA, CallContext
from runner.errors import CallError, Cancelled
from runner.execution.batch_sizes import settle
from runner.execution.contexts import Contexts
from runner.execution.executor import Executor, Incoming
from runner.execution.failure import with_traceback
from runner.execution.fetch import Fetcher
from runner.execution.journal import Journal
from runner.execution.mailbox import Mailbox
from runner.execution.method import load_methods
from runner.execution.model_device import ModelDevice
from runner.execution.times import UNTIMED, Times
from runner.limits import FetchLimits
from runner.model import ModelClass
from runner.wire.payload import Payload
from runner.workers.arrivals import Arrivals
from runner.workers.frames import new_item
from runner.workers.link import Link
from runner.workers.messages import (
    Call,
    Calls,
    Cancel,
    Credit,
    EndInput,
    Failed,
    Item,
    Items,
    Load,
    Message,
    Mixed,
    Ran,
    Ready,
    Result,
    Results,
    Room,
)
from runner.workers.pairs import unpack_pairs

_TELL_EVERY = 0.1
"""seconds between two words to the server about the batches that have run."""

_METADATA_KEPT = 256
"""Blocks of metadata whose decoded form is kept: clients repeat theirs on every call."""


class Worker:
    """Serves one loaded model over one link. Lives on the loop that runs the link."""

    def __init__(self, model: ModelClass, load: Load, link: Link, journal: Journal | None = None) -> None:
        """Compile the model's methods and say `Ready`.

        Args:
            model: the loaded model.
            load: the message that asked for it.
            link: the way to the server.
            journal: where calls are marked before anything of them runs; None: where nobody looks.

        Raises:
            SignatureError: a method cannot be published.
            LoadError: a method's batch size cannot be found out.
        """
        limits = FetchLimits(
            timeout=load.fetch_timeout, max_bytes=load.fetch_max_bytes, max_redirects=load.fetch_max_redirects
        )
        mailbox = Mailbox(asyncio.get_running_loop())
        device = ModelDevice(model.device, mailbox.post)
        try:
            methods, published = settle(model, *load_methods(model, load.options), device)
            self._executor = Executor(
                model,
                methods,
                self,
                Fetcher(limits, allow_private=load.allow_private_urls),
                mailbox,
                device,
                num_threads=load.num_threads,
                max_streams=load.max_streams,
                journal=journal,
            )
        except BaseException:
            device.close()  # or its threads would wait for ever for a model that nobody serves
            raise
        for method in methods:
            method.codec.join = link.join
        self._credits = {
            each.name: (each.lane, BatchCredit(each.max_batch_size)) for each in published if each.max_batch_size
        }
        self._link = link
        self._debug = load.debug
        self._counts: dict[str, Count] = {}
        self._telling: asyncio.TimerHandle | None = None
        self._metadata: dict[bytes, dict[str, str]] = {}
        self._arrivals = Arrivals()
        link.send(Ready(published))

    async def close(self) -> None:
        """Stop every call and wait for what can be waited for."""
        if self._telling is not None:
            self._telling.cancel()
        await self._executor.close()

    def forked(self) -> None:
        """This is a process that was forked: its calls are its parent's."""
        self._executor.forked()

    def on_message(self, message: Message) -> None:
        """See `link.Receiver`."""
        match message:
            case Call():
                self._start(message)
            case Calls():
                self._start_together(message)
            case Item():
                self._executor.item(message.id, message.payload)
            case Items():
                for call_id, payload in zip(message.ids, message.payloads, strict=True):
                    self._executor.item(call_id, payload)
            case EndInput():
                self._executor.end_input(message.id)
            case Credit():
                self._executor.grant(message.id, message.items, message.size)
            case Cancel():
                # Control overtakes payloads: this may be about a call that has not arrived yet.
                if self._arrivals.cancelled(message.id):
                    self._executor.cancel(message.id)
            case _:
                raise ValueError(f"a worker does not expect {type(message).__name__}")

    def _start(self, call: Call) -> None:
        if self._arrivals.arrived(call.id):
            self.failed(call.id, Cancelled("the call was cancelled before it started"), UNTIMED)
            return
        deadline = None if call.time_left is None else time.monotonic() + call.time_left
        context = CallContext(
            request_id=call.request_id,
            deadline=deadline,
            metadata=partial(self._metadata_of, call.metadata) if call.metadata else NO_METADATA,
            member=call.id,
        )
        self._executor.start(Incoming(call.id, call.method, call.payload, call.params, context, call.inputs))

    def _start_together(self, calls: Calls) -> None:
        first, count = calls.id, len(calls.request_ids)
        cancelled = self._arrivals.arrived(first, count)
        now = time.monotonic()
        metadata = [partial(self._metadata_of, packed) if packed else NO_METADATA for packed in calls.metadata]
        deadlines = None
        if calls.times_left.count(None) < count:
            deadlines = [None if left is None else now + left for left in calls.times_left]
        contexts = Contexts(first, calls.request_ids, deadlines, metadata)
        self._executor.start_together(calls.method, calls.payload, contexts)
        for number in cancelled:
            self._executor.cancel(number)

    def _metadata_of(self, packed: bytes) -> dict[str, str]:
        metadata = self._metadata.get(packed)
        if metadata is None:
            if len(self._metadata) >= _METADATA_KEPT:
                self._metadata.clear()
            metadata = self._metadata[packed] = dict(unpack_pairs(packed))
        return metadata

    # What the executor says (see `Outlet`).

    def item(self, call_id: int, output: Payload) -> None:
        """Send one element of an output stream."""
        self._link.send(new_item((call_id, output)))

    def consumed(self, call_id: int, items: int, size: int) -> None:
        """Give input credits back."""
        self._link.send(Credit(call_id, items, size))

    def ended(self, call_id: int, output: Payload, times: Times) -> None:
        """Send a call's last message."""
        self._link.send(Result(call_id, output, times))

    def ended_together(self, first_id: int, calls: int, outputs: Payload, times: tuple[Times, ...]) -> None:
        """Send the last message of several calls."""
        self._link.send(Results(first_id, calls, outputs, times))

    def mixed(self, call_id: int, ends: Sequence[Payload | CallError], times: Times) -> None:
        """Send the last message of a call of several inputs, of which some failed."""
        told = [self._told(end) if isinstance(end, CallError) else end for end in ends]
        self._link.send(Mixed(call_id, tuple(told), times))

    def ran(self, ran: BatchRan) -> None:
        """Count a batch; the server is told soon, of all that have run by then."""
        if (count := self._counts.get(ran.name)) is None:
            count = self._counts[ran.name] = Count()
        count.add(ran)
        if ran.name in self._credits:
            lane, credit = self._credits[ran.name]
            if (room := credit.ran(ran.size, ran.reason)) is not None:
                self._link.send(Room(lane, room))
        if self._telling is None:
            self._telling = asyncio.get_running_loop().call_later(_TELL_EVERY, self._tell)

    def _tell(self) -> None:
        counts, self._counts, self._telling = self._counts, {}, None
        for name, count in counts.items():
            self._link.send(
                Ran(
                    name=name,
                    batches=count.batches,
                    entries=count.entries,
                    cost=count.cost,
                    seconds=count.seconds,
                    device_seconds=count.device_seconds,
                    reasons=dict(count.reasons),
                    sizes={str(size): number for size, number in count.sizes.items()},
                    longest_wait=count.longest_wait,
                    oom_splits=count.oom_splits,
                    latest=None if count.latest is None else count.latest.record(),
                )
            )

    def failed(self, call_id: int, error: CallError, times: Times) -> None:
        """Send a call's last message."""
        self._link.send(Failed(call_id, self._told(error), times))

    def _told(self, error: CallError) -> CallError:
        return with_traceback(error) if self._debug else error
