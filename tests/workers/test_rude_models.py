"""A model that misbehaves hurts its own call only, on a real worker that goes on and is the same one afterwards."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

from runner.errors import CallError, ModelError
from tests.running import on_loop
from tests.workers.test_process import served

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="counts on signals and descriptors as Linux has them")

RUDE = Path(__file__).parent / "models" / "rude"
FORKING = Path(__file__).parent / "models" / "forking"

UNARY = (
    "plain",
    "awaited",
    "gathered",
    "batch",
    "awaited_batch",
    "split_batch",
    "through_a_point",
    "through_a_point_in_a_thread",
    "weighed",
)
STREAMS = ("items", "awaited_items", "batch_items")

FAIL = {
    "exit",
    "exit 0",
    "SystemExit",
    "KeyboardInterrupt",
    "GeneratorExit",
    "StopIteration",
    "StopAsyncIteration",
    "BaseException",
    "Unprintable",
    "Opaque",
    "recursion",
    "unserialisable",
    "wrong type",
    "coroutine",
}
"""What no caller gets a result from. The rest is rude, and does not keep a method from returning."""


@pytest.mark.filterwarnings("ignore:coroutine")
@on_loop
async def test_each_call_fails_for_itself_and_the_worker_goes_on():
    async with served(RUDE, codecs=RUDE) as under_test:
        (worker,) = under_test.workers
        kinds = await under_test.call("kinds")
        assert isinstance(kinds, list)
        assert set(kinds) > FAIL
        wrong: list[str] = []

        async def unary(method: str, how: str) -> None:
            async with asyncio.timeout(10):
                try:
                    result = await under_test.call(method, how=how)
                except ModelError:
                    expected = how in FAIL
                else:
                    # A cost function's value is nobody's result.
                    expected = result == how and (how not in FAIL or method == "weighed")
                if not expected:
                    wrong.append(f"{method}: {how}")

        async def stream(method: str, how: str) -> None:
            async with asyncio.timeout(10):
                call = under_test.stream(method, how=how)
                items: list[object] = []
                failed = False
                try:
                    async for item in call:
                        items.append(under_test.decode(method, item))
                except CallError:
                    failed = True
                finally:
                    call.close()
                if (items, failed) != ((["first"], True) if how in FAIL else (["first", how], False)):
                    wrong.append(f"{method}: {how}: {items}, failed: {failed}")

        for how in kinds:
            # One after the other, and then an innocent one beside it.
            for method in UNARY:
                await unary(method, how)
                await unary(method, "")
            for method in STREAMS:
                await stream(method, how)
            await asyncio.gather(unary("plain", how), unary("awaited", ""), unary("plain", ""))
            await asyncio.gather(*(unary("awaited", each) for each in ("", how, "", how, "")))  # in one message
        assert not wrong, "\n".join(wrong)
        assert len(under_test.workers) == 1
        assert under_test.workers[0] is worker


@on_loop
async def test_a_forked_process_ends_and_says_nothing_for_its_parent():
    async with served(FORKING, codecs=FORKING, shared_bytes=1 << 24) as under_test:
        assert await under_test.call("helpers_end") == 1  # which has not told the server that loading failed
        assert await under_test.call("fork_and_wait") == 1
        for _ in range(3):
            assert await under_test.call("return_much") == (1, "parent" * 100_000)
        assert len(under_test.workers) == 1
