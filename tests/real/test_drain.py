"""SIGTERM with hundreds of calls in flight: every one is answered, and the server exits with 0."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from runner.client import AsyncModel
from runner.errors import CallError
from tests.running import on_loop

pytestmark = pytest.mark.real

CLIENTS, UNARY, STREAMS, BIDI = 4, 30, 10, 10
CALLS = CLIENTS * (UNARY + STREAMS + BIDI)
ITEMS = 70
"""More than a stream's window, so that credits flow while the server drains."""


async def words(drains: asyncio.Event) -> AsyncIterator[str]:
    yield "early"
    await drains.wait()
    yield "late"


async def read(stream: AsyncIterator[str]) -> list[str]:
    return [item async for item in stream]


def calls_of(model: AsyncModel, client: int, gate: str, drains: asyncio.Event) -> dict[str, asyncio.Task[object]]:
    """Begin the calls of one client."""
    tasks: dict[str, asyncio.Task[object]] = {}
    create = asyncio.get_running_loop().create_task
    for number in range(UNARY):
        call = f"u{client}-{number}"
        tasks[call] = create(model.hold(call, gate))
    for number in range(STREAMS):
        call = f"s{client}-{number}"
        tasks[call] = create(read(model.hold_items(call, gate, ITEMS)))
    for number in range(BIDI):
        call = f"b{client}-{number}"
        tasks[call] = create(read(model.answer(call, gate, words(drains))))
    return tasks


def expected(call: str) -> object:
    if call.startswith("u"):
        return f"held {call}"
    rest = (
        [f"{call} {number}" for number in range(ITEMS)] if call.startswith("s") else [f"{call} early", f"{call} late"]
    )
    return [f"first of {call}", *rest]


async def begun(pipe: int, count: int) -> None:
    """Wait until so many calls have written to the pipe."""
    loop = asyncio.get_running_loop()
    seen, enough = 0, asyncio.Event()

    def readable() -> None:
        nonlocal seen
        seen += len(os.read(pipe, 4096))
        if seen >= count:
            enough.set()

    loop.add_reader(pipe, readable)
    await enough.wait()
    loop.remove_reader(pipe)


async def not_serving(address: str, watching: asyncio.Event) -> None:
    """Wait until health says so."""
    async with grpc.aio.insecure_channel(address) as channel:
        async for answer in health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest()):
            if answer.status == health_pb2.HealthCheckResponse.NOT_SERVING:
                return
            watching.set()


@pytest.mark.parametrize("flags", [(), ("--ingress", "2")], ids=["alone", "ingress"])
@on_loop
async def test_everything_in_flight_is_answered(launch, config_file, tmp_path: Path, flags) -> None:
    gate = str(tmp_path / "gate")
    os.mkfifo(gate)
    os.mkfifo(f"{gate}.begun")
    bounds = f"num_threads: {CLIENTS * UNARY}\nmax_streams: {CLIENTS * (STREAMS + BIDI)}\n"
    server = launch("held", *flags, "--config", config_file(bounds))
    await asyncio.to_thread(server.wait_ready)
    pipe = os.open(f"{gate}.begun", os.O_RDWR | os.O_NONBLOCK)  # both ends: it never ends before the test does
    drains, watching = asyncio.Event(), asyncio.Event()
    async with contextlib.AsyncExitStack() as stack:
        models = [await stack.enter_async_context(AsyncModel(base_url=server.base_url)) for _ in range(CLIENTS)]
        tasks: dict[str, asyncio.Task[object]] = {}
        for client, model in enumerate(models):
            tasks |= calls_of(model, client, gate, drains)
        await begun(pipe, CALLS)
        health = asyncio.get_running_loop().create_task(not_serving(server.address, watching))
        await watching.wait()
        os.kill(server.pid, signal.SIGTERM)
        await health
        drains.set()
        with pytest.raises(CallError):  # a new client finds nobody
            async with AsyncModel(base_url=server.base_url) as late:
                await late.hold("late", gate)
        os.close(await asyncio.to_thread(os.open, gate, os.O_WRONLY))
        answers = dict(zip(tasks, await asyncio.gather(*tasks.values(), return_exceptions=True), strict=True))
    os.close(pipe)
    wrong = {call: answer for call, answer in answers.items() if answer != expected(call)}
    assert not wrong
    assert len(answers) == CALLS == 200
    assert await asyncio.to_thread(server.wait) == 0
    assert "Traceback" not in server.stderr
