"""An engine with real worker processes, spoken to in values."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from runner.engine import Engine, Place, Request, StreamCall
from runner.execution.loading import load_class
from runner.execution.method import load_methods
from runner.model import instantiate
from runner.wire.call import CallCodec
from runner.workers.messages import Load
from runner.workers.process import WorkerProcess

MODELS = Path(__file__).parent / "models"
MODEL = MODELS / "spawned"


def load_of(directory: Path, cpus: str = "") -> Load:
    return Load(
        model_dir=str(directory),
        device="cpu",
        num_threads=4,
        max_streams=4,
        allow_private_urls=False,
        fetch_timeout=1.0,
        fetch_max_bytes=1000,
        fetch_max_redirects=0,
        cpus=cpus,
    )


class Served:
    """An engine with worker processes, spoken to in values."""

    def __init__(
        self,
        directory: Path,
        environment: dict[str, str],
        cpus: str = "",
        codecs: Path = MODEL,
        shared_bytes: int = 0,
        calls: int = 4,
    ) -> None:
        self.workers: list[WorkerProcess] = []
        self.spawned = asyncio.Event()
        self._environment = environment
        self._shared_bytes = shared_bytes
        self.engine = Engine(
            [Place("cpu", load_of(directory, cpus), self._start, calls)],
            max_queued_calls=max(10, calls),
            max_queued_bytes=1 << 30,
        )
        # Read here as well, for the codecs.
        self._methods, self._published = load_methods(instantiate(load_class(codecs), "cpu"))
        self._index = {method.name: index for index, method in enumerate(self._published)}

    async def _start(self, receiver: object) -> WorkerProcess:
        worker = await WorkerProcess.spawn(
            receiver,  # pyright: ignore[reportArgumentType]
            self._environment,
            shared_bytes=self._shared_bytes,
        )
        self.workers.append(worker)
        self.spawned.set()
        return worker

    def request(self, method: str, **arguments: object) -> Request:
        index = self._index[method]
        return Request(self._published[index], self._methods[index].codec.encode_call(arguments))

    async def call(self, method: str, **arguments: object) -> object:
        answer = (await self.engine.unary(self.request(method, **arguments))).payload
        return self._methods[self._index[method]].codec.decode_output(answer)

    def stream(self, method: str, **arguments: object) -> StreamCall:
        return self.engine.stream(self.request(method, **arguments))

    def codec(self, method: str) -> CallCodec:
        return self._methods[self._index[method]].codec

    def decode(self, method: str, output: object) -> object:
        return self._methods[self._index[method]].codec.decode_output(output)  # pyright: ignore[reportArgumentType]


@asynccontextmanager
async def served(
    directory: Path = MODEL,
    *,
    cpus: str = "",
    codecs: Path = MODEL,
    shared_bytes: int = 0,
    calls: int = 4,
    **environment: str,
) -> AsyncIterator[Served]:
    under_test = Served(directory, environment, cpus, codecs, shared_bytes, calls)
    async with under_test.engine:
        await under_test.engine.started()
        yield under_test
    assert not under_test.engine._traffic.calls
    for worker in under_test.workers:
        with pytest.raises(ProcessLookupError):
            os.kill(worker.pid, 0)
