"""Workers that say what a test tells them to, in the real messages: an engine behind them cannot tell the difference.

    workers = ScriptedWorkers(methods_of(MyModel))
    async with Engine([workers.place()], max_queued_calls=10, max_queued_bytes=1 << 20) as engine:
        worker = await workers.started(1)
        worker.ready()
        answer = asyncio.ensure_future(engine.unary(Request(workers.methods[0], b"input")))
        (call,) = await worker.hears(Call)
        worker.answer(call, b"output")
        assert (await answer).payload == b"output"

Nothing here takes time or needs a process, so that all of it runs on a `runner.testing.clock.VirtualTimeLoop` too (with
`clock=` given to the engine).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, TypeVar

from runner.engine import Place
from runner.errors import CallError
from runner.execution.journal import Journal, Mark
from runner.model import ModelClass
from runner.signature.publish import publish
from runner.signature.published import Published
from runner.wire import run
from runner.wire.payload import Payload
from runner.workers.link import Receiver
from runner.workers.messages import Call, Calls, Credit, Failed, Item, Load, LoadFailed, Message, Ready, Result
from runner.workers.vitals import Vitals

__all__ = ["LOAD", "ScriptedWorker", "ScriptedWorkers", "methods_of"]

M = TypeVar("M", bound=Message)

LOAD: Final = Load(
    model_dir="",
    device="cpu",
    num_threads=2,
    max_streams=2,
    allow_private_urls=False,
    fetch_timeout=1.0,
    fetch_max_bytes=1000,
    fetch_max_redirects=0,
)
"""What a scripted worker is told to load, with little room in each lane."""


def methods_of(model_class: type[ModelClass]) -> tuple[Published, ...]:
    """Return what a worker says in `Ready` of a class.

    Raises:
        SignatureError: a method cannot be published.
    """
    return publish(model_class)[1]


class ScriptedWorker:
    """A host, its link and its worker in one: keeps what it hears, says what it is told to.

    Attributes:
        heard: every message so far, in order.
        stopped: it was ended by whoever owns it.
        begins: a call counts as begun as soon as it is heard; set it to False, and `begin` says when.
        watched: whether its pulse is looked at; it has one only if the test calls `journal.beat`.
        seen: what the kernel says of it.
        last_words: what it wrote last.
    """

    def __init__(self, receiver: Receiver, methods: tuple[Published, ...]) -> None:
        """Make a worker.

        Args:
            receiver: told what the worker says.
            methods: of the model that it has loaded.
        """
        self._receiver = receiver
        self._methods = methods
        self._changed = asyncio.Event()
        self._exit: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._gone = asyncio.Event()
        self.link = self
        self.journal = Journal()
        self.heard: list[Message] = []
        self.stopped = False
        self.begins = True
        self.watched = False
        self.seen = Vitals(stopped=False, cpu_seconds=None)
        self.last_words = ""

    # As a link and a host.

    def send(self, message: Message) -> None:
        """See `workers.link.Link`."""
        if not self._exit.done():
            for each in _apart(message):
                self.heard.append(each)
                if self.begins and isinstance(each, Call):
                    self.begin(each)
            self._changed.set()

    def join(self, pieces: Sequence[Payload]) -> Payload:
        """See `workers.link.Link`."""
        return b"".join(pieces)

    def draft(self, size: int) -> memoryview | None:
        """See `workers.link.Link`."""
        return None

    def close(self) -> None:
        """See `workers.link.Link`."""

    def vitals(self) -> Vitals:
        """See `engine.replica.Host`."""
        return self.seen

    async def wait(self) -> str:
        """See `engine.replica.Host`."""
        return await asyncio.shield(self._exit)

    async def stop(self, *, stuck: bool = False) -> None:
        """See `engine.replica.Host`."""
        self.stopped = True
        self._gone.set()
        if not self._exit.done():
            self._exit.set_result("stopped")

    # What the test has it do.

    def say(self, message: Message) -> None:
        """Say anything."""
        self._receiver.on_message(message)

    def ready(self, methods: tuple[Published, ...] | None = None) -> None:
        """Have loaded the model, with other methods than its own perhaps."""
        self.say(Ready(self._methods if methods is None else methods))

    def cannot_load(self, message: str, details: str = "") -> None:
        """Fail to load the model."""
        self.say(LoadFailed(message, details))

    def begin(self, call: Call) -> None:
        """Run the call's method from now on."""
        self.journal.mark(call.id, Mark.RUNS)

    def answer(self, call: Call, payload: bytes = b"answer") -> None:
        """End a call well."""
        self.say(Result(call.id, payload))

    def answer_each(self, calls: Iterable[Call]) -> None:
        """End calls well, one after the other: all of `calls`, also those that begin meanwhile."""
        for call in calls:
            self.answer(call)

    def fail(self, call: Call, error: CallError) -> None:
        """End a call badly."""
        self.say(Failed(call.id, error))

    def item(self, call: Call, *payloads: bytes) -> None:
        """Say elements of a call's output."""
        for payload in payloads:
            self.say(Item(call.id, payload))

    def credit(self, call: Call, items: int, size: int = 0) -> None:
        """Take more of a call's input: so many items, which had so many bytes."""
        self.say(Credit(call.id, items, size))

    def exit(self, how: str = "killed by SIGKILL") -> None:
        """End the process; its link may be held open by others."""
        self._exit.set_result(how)

    def hang_up(self) -> None:
        """End the link; the process may go on."""
        self._receiver.on_closed()

    def die(self, how: str = "killed by SIGKILL") -> None:
        """End both."""
        self.exit(how)
        self.hang_up()

    # What it has heard, and seen.

    @property
    def dead(self) -> bool:
        """True once its process has ended."""
        return self._exit.done()

    def of(self, kind: type[M]) -> list[M]:
        """Return the messages of a kind that it has heard."""
        return [message for message in self.heard if isinstance(message, kind)]

    @property
    def calls(self) -> list[Call]:
        """The calls that it has heard."""
        return self.of(Call)

    async def hears(self, kind: type[M], count: int = 1) -> list[M]:
        """Wait until it has heard so many messages of a kind; return all of them."""
        while len(found := self.of(kind)) < count:
            self._changed.clear()
            await self._changed.wait()
        return found

    async def gone(self) -> None:
        """Wait until its end has been seen to."""
        await self._gone.wait()

    def __repr__(self) -> str:
        return f"<ScriptedWorker {len(self.heard)} heard{', dead' if self.dead else ''}>"


class ScriptedWorkers:
    """Starts scripted workers where an engine wants some.

    Attributes:
        methods: of the model that they load.
        workers: every one that was ever started, in order.
    """

    def __init__(
        self,
        methods: tuple[Published, ...],
        *,
        prepare: Callable[[ScriptedWorker], None] | None = None,
        refuse: Callable[[int], Exception | None] | None = None,
    ) -> None:
        """Make a source of workers.

        Args:
            methods: see `methods_of`.
            prepare: called with each worker before anything is said to it.
            refuse: called with the number of each attempt to start one, from 1; what it returns is raised instead.
        """
        self.methods = methods
        self.workers: list[ScriptedWorker] = []
        self._prepare = prepare
        self._refuse = refuse
        self._attempts = 0
        self._changed = asyncio.Event()

    def place(self, label: str = "scripted", *, load: Load = LOAD, max_coroutines: int = 2, **options: Any) -> Place:
        """Return a place whose workers come from here; `options` are those of `engine.Place`."""
        return Place(label, load, self.start, max_coroutines, **options)

    async def start(self, receiver: Receiver) -> ScriptedWorker:
        """Start a worker; see `engine.replica.StartHost`."""
        self._attempts += 1
        if self._refuse is not None and (refusal := self._refuse(self._attempts)) is not None:
            raise refusal
        worker = ScriptedWorker(receiver, self.methods)
        if self._prepare is not None:
            self._prepare(worker)
        self.workers.append(worker)
        self._changed.set()
        return worker

    async def started(self, number: int) -> ScriptedWorker:
        """Wait until so many workers have been started, and the last of them was told what to load; return it."""
        while len(self.workers) < number:
            self._changed.clear()
            await self._changed.wait()
        worker = self.workers[number - 1]
        await worker.hears(Load)
        return worker

    def __repr__(self) -> str:
        return f"<ScriptedWorkers {self.workers}>"


def _apart(message: Message) -> Sequence[Message]:
    """Return the calls of one message by themselves, as a test thinks of them."""
    if not isinstance(message, Calls):
        return (message,)
    count = len(message.request_ids)
    metadata = message.metadata * count if len(message.metadata) < count else message.metadata
    members = zip(run.split(message.payload, count), message.times_left, message.request_ids, metadata, strict=True)
    return [
        Call(number, message.method, payload, b"", left, request_id, packed)
        for number, (payload, left, request_id, packed) in enumerate(members, message.id)
    ]
