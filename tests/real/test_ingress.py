"""Real servers with two ingress processes: what holds overall, and what the death of one costs."""

from __future__ import annotations

import asyncio
import os
import re
import signal
from collections.abc import Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from runner.client import AsyncModel, Unreachable
from runner.errors import Overloaded
from runner.flow import STREAM_WINDOW
from runner.server.ingress.messages import WINDOW
from tests.real.test_drain import begun
from tests.real.test_probes import http_port, probe
from tests.running import on_loop

pytestmark = pytest.mark.real

INGRESS = ("--ingress", "2", "--http-port", "0")


class Gate:
    """Calls of the model `held` wait for it, and say when they have begun."""

    def __init__(self, directory: Path) -> None:
        self.name = str(directory / "gate")
        os.mkfifo(self.name)
        os.mkfifo(f"{self.name}.begun")
        self._pipe = os.open(f"{self.name}.begun", os.O_RDWR | os.O_NONBLOCK)

    async def begun(self, count: int) -> None:
        await begun(self._pipe, count)

    async def open(self) -> None:
        os.close(await asyncio.to_thread(os.open, self.name, os.O_WRONLY))

    def close(self) -> None:
        os.close(self._pipe)


@pytest.fixture
def gate(tmp_path):
    gate = Gate(tmp_path)
    yield gate
    gate.close()


def connections_of(pid: int, port: int) -> int:
    """Return how many connections at a port a process has, as the kernel tells them."""
    rows = Path(f"/proc/{pid}/net/tcp").read_text()
    established = re.findall(rf":{port:04X}\s+\S+\s+01(?:\s+\S+){{5}}\s+(\d+) ", rows)
    links = [os.readlink(link) for link in Path(f"/proc/{pid}/fd").iterdir()]
    return sum(f"socket:[{inode}]" in links for inode in established)


def metric(server: Any, name: str) -> float:
    _, page = probe(http_port(server), "/metrics")
    return float(re.search(rf"^runner_{name} (\S+)$", page, re.MULTILINE)[1])  # type: ignore[index]


@asynccontextmanager
async def clients(server: Any, count: int):
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(AsyncModel(base_url=server.base_url)) for _ in range(count)]


async def until(ask: Callable[[], Any], answer: object) -> None:
    """Ask the server until it says so."""
    while await ask() != answer:
        pass


BOUNDS = {
    "of the queue": ("max_queued_calls: 3", "waiting"),
    "of one caller": ("callers: {max_calls: 4}", "calls of this caller are here"),
}


@pytest.mark.parametrize("bound", BOUNDS)
def test_admission_counts_the_calls_of_all_processes(launch, config_file, gate, bound):
    """One runs and three wait, from two connections in two processes. The next is refused, wherever it comes from."""
    configured, told = BOUNDS[bound]
    server = launch("held", *INGRESS, "--config", config_file(f"num_threads: 1\n{configured}\n"))

    @on_loop
    async def scenario() -> None:
        await asyncio.to_thread(server.wait_ready)
        async with clients(server, 2) as models:
            tasks = [asyncio.ensure_future(models[0].hold("0", gate.name))]
            await gate.begun(1)
            tasks += [asyncio.ensure_future(models[n % 2].hold(str(n), gate.name)) for n in range(1, 4)]

            async def waiting() -> int:
                return (await models[0].statistics()).waiting_calls

            await until(waiting, 3)
            assert [connections_of(pid, server.port) for pid in server.ingress_pids()] == [1, 1]
            assert [metric(server, f"ingress_{name}") for name in ("processes", "connections")] == [2, 2]
            for model in models:
                with pytest.raises(Overloaded, match=told):
                    await model.hold("too many", gate.name)
            await gate.open()
            for _ in tasks[1:]:  # one after the other, as there is one thread
                await gate.begun(1)
                await gate.open()
            assert await asyncio.gather(*tasks) == [f"held {number}" for number in range(4)]

    scenario()
    assert server.terminate() == 0


@on_loop
async def test_a_process_that_is_killed_takes_along_its_own_calls_and_no_others(launch, gate):
    server = launch("held", *INGRESS)
    await asyncio.to_thread(server.wait_ready)
    async with clients(server, 2) as models:
        tasks = [asyncio.ensure_future(model.hold(f"{n}", gate.name)) for n, model in enumerate(models)]
        await gate.begun(2)
        victim, other = server.ingress_pids()
        os.kill(victim, signal.SIGKILL)
        done, (left,) = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        with pytest.raises(Unreachable):
            await done.pop()
        opening = asyncio.ensure_future(gate.open())
        assert (await left).startswith("held ")
        await opening

        async def processes() -> float:
            return await asyncio.to_thread(metric, server, "ingress_processes")

        await until(processes, 2)
        assert metric(server, "ingress_restarts_total") == 1
        assert set(server.ingress_pids()) > {other}
        assert victim not in server.ingress_pids()
        for model in models:  # the one that was lost connects again, to the new process
            assert (await model.statistics()).waiting_calls == 0
        assert [connections_of(pid, server.port) for pid in server.ingress_pids()] == [1, 1]
    assert server.terminate() == 0
    assert "killed by SIGKILL" in server.stderr


@on_loop
async def test_no_ingress_process_outlives_the_server(launch):
    server = launch("held", *INGRESS)
    await asyncio.to_thread(server.wait_ready)
    handles = [os.pidfd_open(pid) for pid in server.ingress_pids()]
    assert len(handles) == 2
    server.process.kill()
    for handle in handles:
        gone = asyncio.Event()
        asyncio.get_running_loop().add_reader(handle, gone.set)
        await gone.wait()
        asyncio.get_running_loop().remove_reader(handle)
        os.close(handle)


@on_loop
async def test_a_reader_that_stops_stops_the_generator_through_a_process_between(serve):
    server = serve("flow", *INGRESS)
    async with clients(server, 2) as (model, other):
        stream = model.make("stopped", 1000)
        await anext(stream)
        # What our client lets in unread, and a window each between client, ingress process, server and worker.
        most = 256 + WINDOW + 2 * STREAM_WINDOW + 100
        made, before = await other.reached("stopped", STREAM_WINDOW), -1
        while made != before:
            before = made
            for _ in range(50):  # calls that go to the worker and back
                made = await other.counted("stopped")
        assert made <= most
        for _ in range(2 * most):
            await anext(stream)
        await stream.aclose()


@pytest.mark.parametrize("size", [150_000, 3_000_000, 20_000_000])
@on_loop
async def test_long_items_arrive_whole(serve, size):
    server = serve("flow", *INGRESS)
    async with clients(server, 1) as (model,):
        stream = model.make(f"long {size}", size)
        for _ in range(3):
            assert await anext(stream) == bytes(size)
        await stream.aclose()

        async def items():
            for _ in range(3):
                yield bytes(size)

        taken = model.take(f"taken {size}", 3, items())
        assert await anext(taken) == 3
        await taken.aclose()


def test_grpcio_has_none(launch):
    server = launch("held", *INGRESS, "--transport", "grpcio")
    assert server.wait() == 2
    assert "ingress: needs the native transport" in server.stderr
