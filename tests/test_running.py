"""What tests run on: what is lost on a loop fails its test, and one test's loop is not another's business."""

from __future__ import annotations

import asyncio

import grpc.aio
import pytest

from tests.running import fresh_loop, on_loop, turns
from tests.server.native.serving import served


def test_what_nobody_caught_fails_the_test():
    @on_loop
    async def careless() -> None:
        asyncio.get_running_loop().call_soon(lambda: 1 / 0)
        await turns()

    with pytest.raises(AssertionError, match="ZeroDivisionError"):
        careless()


@pytest.mark.real
def test_grpc_may_tell_a_loop_late_that_a_call_was_cancelled():
    kept: list[grpc.aio.Channel] = []  # so that grpc.aio goes on polling

    async def leaves() -> None:
        async with served() as server:
            channel = grpc.aio.insecure_channel(f"127.0.0.1:{server.port}")
            reading = [asyncio.ensure_future(channel.stream_stream("/t/Chat")().read()) for _ in range(20)]
            await channel.unary_unary("/t/Echo")(b"")
            for task in reading:
                task.cancel()
            await channel.close()
            kept.append(channel)

    @on_loop
    async def another() -> None:
        async with served() as server, server.channel() as channel:
            assert await channel.unary_unary("/t/Echo")(b"hello") == b"hello"

    for _ in range(10):
        with fresh_loop() as runner:
            runner.run(leaves())
        another()
