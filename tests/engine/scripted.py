"""Workers that say what a test tells them to, and an engine in front of them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

from runner import Batch, ModelClass
from runner.engine import Engine, Request
from runner.testing.scripted_worker import ScriptedWorker, ScriptedWorkers, methods_of
from runner.wire.payload import Payload
from tests.running import turns


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

    @ModelClass.method(idempotent=True, max_batch_size=16)
    def embed(self, text: Batch[str]) -> Batch[str]: ...


METHODS = methods_of(Model)
PREDICT, GENERATE, STREAM, COLLECT, LOOK_UP, LIST_UP, EMBED = range(7)


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
        virtual: bool = False,
        **place: Any,
    ) -> None:
        self._source = ScriptedWorkers(METHODS, prepare=prepare, refuse=refuse)
        self.workers = self._source.workers
        self.engine = Engine(
            [
                self._source.place(f"place {number}", max_coroutines=max_coroutines, **place)
                for number in range(replicas)
            ],
            max_queued_calls=max_queued_calls,
            max_queued_bytes=max_queued_bytes,
            clock=asyncio.get_running_loop().time if virtual else time.monotonic,
        )

    async def worker(self, number: int = 1) -> ScriptedWorker:
        """Wait until so many workers have been started; return the last of them."""
        return await self._source.started(number)

    async def unary(self, request: Request) -> Payload:
        return (await self.engine.unary(request)).payload

    def idle(self) -> None:
        """Nothing is kept of calls that are over."""
        assert not self.engine._traffic.calls
        assert not self.engine._line
        statistics = self.engine.statistics()
        assert (statistics.waiting_calls, statistics.waiting_bytes) == (0, 0)
        assert not any(replica.running for replica in statistics.replicas)
        assert not any(replica._calls for replica in self.engine._fleet.replicas.values())


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
    assert not under_test.engine._traffic.calls
    assert all(worker.stopped for worker in under_test.workers)
    await turns()


def request(method: int = PREDICT, payload: Payload = b"x", **fields: object) -> Request:
    return Request(METHODS[method], payload, **fields)  # pyright: ignore[reportArgumentType]


def start(
    under_test: Scripted, *payloads: bytes | memoryview, method: int = PREDICT, **fields: object
) -> list[asyncio.Task[Payload]]:
    """Make a call of each payload."""
    return [asyncio.ensure_future(under_test.unary(request(method, payload, **fields))) for payload in payloads]
