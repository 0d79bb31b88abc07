"""Workers that say what a test tells them to, and an engine in front of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from runner import ModelClass
from runner.engine import Engine, Place, Request
from runner.engine.replica import Host
from runner.errors import CallError
from runner.execution.journal import Journal, Mark
from runner.signature.publish import publish
from runner.signature.published import Published
from runner.wire.payload import Payload
from runner.workers.link import Receiver
from runner.workers.messages import Call, Credit, Failed, Item, Load, LoadFailed, Message, Ready, Result
from runner.workers.vitals import Vitals
from tests.running import turns

LOAD = Load(
    model_dir="",
    device="cpu",
    num_threads=2,
    max_streams=2,
    allow_private_urls=False,
    fetch_timeout=1.0,
    fetch_max_bytes=1000,
    fetch_max_redirects=0,
)


class Model(ModelClass):
    """One method of each kind. Nobody ever runs them: scripted workers answer in their place."""

    @ModelClass.method
    def predict(self, text: str) -> str: ...

    @ModelClass.method
    def generate(self, text: str) -> Iterator[str]: ...

    @ModelClass.method
    async def stream(self, texts: AsyncIterator[str]) -> AsyncIterator[str]:
        yield ""

    @ModelClass.method
    def collect(self, texts: Iterator[str]) -> str: ...

    @ModelClass.method(idempotent=True, max_run_seconds=1000)
    def look_up(self, text: str) -> str: ...

    @ModelClass.method(idempotent=True)
    def list_up(self, text: str) -> Iterator[str]: ...


METHODS = publish(Model)[1]
PREDICT, GENERATE, STREAM, COLLECT, LOOK_UP, LIST_UP = range(6)

M = TypeVar("M", bound=Message)


class ScriptedWorker:
    """A host, its link and its worker in one: keeps what it hears, says what it is told to."""

    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver
        self._changed = asyncio.Event()
        self._exit: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.link = self
        self.journal = Journal()
        self.watched = False
        self.last_words = ""
        self.begins = True  # a call as soon as it is heard
        self.seen = Vitals(stopped=False, cpu_seconds=None)
        self.heard: list[Message] = []
        self.stopped = False
        self._gone = asyncio.Event()

    # As a link and a host.

    def send(self, message: Message) -> None:
        if not self._exit.done():
            self.heard.append(message)
            if self.begins and isinstance(message, Call):
                self.begin(message)
            self._changed.set()

    def close(self) -> None:
        pass

    def vitals(self) -> Vitals:
        return self.seen

    async def wait(self) -> str:
        return await asyncio.shield(self._exit)

    async def stop(self) -> None:
        self.stopped = True
        self._gone.set()
        if not self._exit.done():
            self._exit.set_result("stopped")

    # What the test has it do.

    def say(self, message: Message) -> None:
        self._receiver.on_message(message)

    def ready(self, methods: tuple[Published, ...] = METHODS) -> None:
        self.say(Ready(methods))

    def cannot_load(self, message: str, details: str = "") -> None:
        self.say(LoadFailed(message, details))

    def begin(self, call: Call) -> None:
        """Run the call's method from now on."""
        self.journal.mark(call.id, Mark.RUNS)

    def answer(self, call: Call, payload: bytes = b"answer") -> None:
        self.say(Result(call.id, payload))

    def fail(self, call: Call, error: CallError) -> None:
        self.say(Failed(call.id, error))

    def item(self, call: Call, *payloads: bytes) -> None:
        for payload in payloads:
            self.say(Item(call.id, payload))

    def credit(self, call: Call, items: int, size: int = 0) -> None:
        self.say(Credit(call.id, items, size))

    def exit(self, how: str = "killed by SIGKILL") -> None:
        """The process ends; its link may be held open by others."""
        self._exit.set_result(how)

    def hang_up(self) -> None:
        """The link ends; the process may go on."""
        self._receiver.on_closed()

    def die(self, how: str = "killed by SIGKILL") -> None:
        self.exit(how)
        self.hang_up()

    async def gone(self) -> None:
        """Wait until its end has been seen to."""
        await self._gone.wait()

    # What it has heard.

    def of(self, kind: type[M]) -> list[M]:
        return [message for message in self.heard if isinstance(message, kind)]

    @property
    def calls(self) -> list[Call]:
        return self.of(Call)

    async def hears(self, kind: type[M], count: int = 1) -> list[M]:
        while len(found := self.of(kind)) < count:
            self._changed.clear()
            await self._changed.wait()
        return found


class Scripted:
    """An engine whose workers are scripted; `workers` has every one that was ever started."""

    def __init__(
        self,
        *,
        replicas: int = 1,
        max_queued_calls: int = 4,
        max_queued_bytes: int = 1000,
        max_coroutines: int = 2,
        refuse: Callable[[int], Exception | None] = lambda number: None,
        prepare: Callable[[ScriptedWorker], None] = lambda worker: None,
        **place: Any,
    ) -> None:
        self._prepare = prepare
        self.workers: list[ScriptedWorker] = []
        self._refuse = refuse
        self._attempts = 0
        self._started = asyncio.Event()
        self.engine = Engine(
            [Place(f"place {number}", LOAD, self._start, max_coroutines, **place) for number in range(replicas)],
            max_queued_calls=max_queued_calls,
            max_queued_bytes=max_queued_bytes,
        )

    async def worker(self, number: int = 1) -> ScriptedWorker:
        """Wait until so many workers have been started; return the last of them."""
        while len(self.workers) < number:
            self._started.clear()
            await self._started.wait()
        worker = self.workers[number - 1]
        await worker.hears(Load)
        return worker

    async def unary(self, request: Request) -> Payload:
        return (await self.engine.unary(request)).payload

    def idle(self) -> None:
        """Nothing is kept of calls that are over."""
        assert not self.engine._calls
        assert not self.engine._line
        statistics = self.engine.statistics()
        assert (statistics.waiting_calls, statistics.waiting_bytes) == (0, 0)
        assert not any(replica.running for replica in statistics.replicas)
        assert not any(replica._calls for replica in self.engine._replicas.values())

    async def _start(self, receiver: Receiver) -> Host:
        self._attempts += 1
        if (refusal := self._refuse(self._attempts)) is not None:
            raise refusal
        worker = ScriptedWorker(receiver)
        self._prepare(worker)
        self.workers.append(worker)
        self._started.set()
        return worker


@asynccontextmanager
async def scripted(*, ready: bool = True, **options: object) -> AsyncIterator[Scripted]:
    """Run an engine; with `ready`, its first workers are."""
    under_test = Scripted(**options)  # pyright: ignore[reportArgumentType]
    async with under_test.engine:
        if ready:
            for number in range(1, len(under_test.engine.places) + 1):
                (await under_test.worker(number)).ready()
            await under_test.engine.started()
        yield under_test
    assert not under_test.engine._calls
    assert all(worker.stopped for worker in under_test.workers)
    await turns()


def request(method: int = PREDICT, payload: bytes = b"x", **fields: object) -> Request:
    return Request(METHODS[method], payload, **fields)  # pyright: ignore[reportArgumentType]
