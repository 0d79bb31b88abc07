"""However a caller is lost, each kind of method is stopped in its way: left, out of time, killed, and at a drain."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from collections.abc import AsyncIterator
from typing import Any

import pytest

from runner.client import AsyncModel
from runner.errors import CallError, DeadlineExceeded
from tests.running import run_on_fresh_loop

pytestmark = pytest.mark.real

# What each sees. An async generator is either waiting, and cancelled there, or stands at a `yield`, and is closed. Who
# looks at the deadline may find that it has passed before the server has said so.
SEEN = {
    "generator": {"GeneratorExit"},
    "reader": {"Cancelled"},
    "function": {"Cancelled", "DeadlineExceeded"},
    "coroutine": {"CancelledError"},
    "async_generator": {"CancelledError", "GeneratorExit"},
    "stepping": {"CancelledError", "GeneratorExit", "DeadlineExceeded"},
}

READ_UNTIL_KILLED = """
import asyncio, sys
sys.path[:0] = {path!r}
from tests.real.test_leaving import open_all
from runner.client import AsyncModel

async def main():
    async with AsyncModel(base_url={base_url!r}) as model:
        await asyncio.gather(*open_all(model, "killed"))

asyncio.run(main())
"""


@pytest.fixture(params=["grpcio", "native"])
def flags(request):
    return "--transport", request.param


@pytest.fixture
def server(serve, flags):
    return serve("leaving", *flags)


async def silence() -> AsyncIterator[str]:
    """A stream of words without a word."""
    await asyncio.Event().wait()
    yield ""


async def read(model: AsyncModel, kind: str, name: str, **options: Any) -> None:
    """Call a method and read what it says, for as long as it goes on."""
    if kind == "reader":
        options["words"] = silence()
    call = getattr(model, kind)(name=name, **options)
    if kind in ("function", "coroutine"):
        await call
        return
    async with call as items:
        async for _ in items:
            pass


def open_all(model: AsyncModel, how: str, **options: Any) -> list[asyncio.Task[None]]:
    return [asyncio.create_task(read(model, kind, f"{kind} {how}", **options)) for kind in SEEN]


def names(how: str) -> list[str]:
    return [f"{kind} {how}" for kind in SEEN]


def check(ends: dict[str, str], how: str) -> None:
    assert ends.pop("rows", "0") == "0"
    wrong = {kind: ends[f"{kind} {how}"] for kind in SEEN if ends[f"{kind} {how}"] not in SEEN[kind]}
    assert not wrong


def test_the_caller_leaves(server):
    async def run() -> None:
        async with AsyncModel(base_url=server.base_url) as model:
            tasks = open_all(model, "left")
            assert await model.wait_begun(names("left"))
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            check(await model.wait_ended(names("left")), "left")

    run_on_fresh_loop(run())


def test_the_caller_runs_out_of_time(server):
    async def run() -> list[Any]:
        async with AsyncModel(base_url=server.base_url) as model:
            await model.available_methods()
            ends = await asyncio.gather(*open_all(model, "late", timeout=1.0), return_exceptions=True)
            check(await model.wait_ended(names("late")), "late")
            return ends

    assert [type(end) for end in run_on_fresh_loop(run())] == [DeadlineExceeded] * len(SEEN)


def test_the_caller_is_killed(server):
    code = READ_UNTIL_KILLED.format(path=sys.path, base_url=server.base_url)

    async def run() -> None:
        async with AsyncModel(base_url=server.base_url) as model:
            client = await asyncio.create_subprocess_exec(sys.executable, "-c", code)
            try:
                assert await model.wait_begun(names("killed"))
            finally:
                client.kill()
                await client.wait()
            check(await model.wait_ended(names("killed")), "killed")

    run_on_fresh_loop(run())


def test_the_server_drains(launch, flags, config_file, tmp_path):
    server = launch("leaving", *flags, "--config", config_file("grace_ms: 100\n"))
    server.wait_ready()

    async def run() -> None:
        async with AsyncModel(base_url=server.base_url) as model:
            tasks = open_all(model, "drained", folder=str(tmp_path))
            assert await model.wait_begun(names("drained"))
            server.process.send_signal(signal.SIGTERM)
            ends = await asyncio.gather(*tasks, return_exceptions=True)
            assert all(isinstance(end, CallError) for end in ends), ends
            with contextlib.suppress(CallError):
                await model.aclose()

    run_on_fresh_loop(run())
    assert server.wait() == 0
    check({name: (tmp_path / name).read_text() for name in names("drained")}, "drained")
    assert "Traceback" not in server.stderr
