"""The yardstick: a grpc.aio server that hands back the bytes it was sent, on uvloop, with nothing behind it."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator

import grpc
import uvloop

REPEATS = 200
"""Messages in one answer of `Repeat`."""


async def echo(request: bytes, context: object) -> bytes:
    return request


async def repeat(request: bytes, context: object) -> AsyncIterator[bytes]:
    for _ in range(REPEATS):
        yield request


async def chat(requests: AsyncIterator[bytes], context: object) -> AsyncIterator[bytes]:
    async for request in requests:
        yield request


async def main() -> None:
    server = grpc.aio.server(options=[("grpc.max_receive_message_length", 1 << 30)])
    handlers = {
        "Echo": grpc.unary_unary_rpc_method_handler(echo),
        "Repeat": grpc.unary_stream_rpc_method_handler(repeat),
        "Chat": grpc.stream_stream_rpc_method_handler(chat),
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("bench.Raw", handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(f"serving raw on 127.0.0.1:{port}", flush=True)
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    await stopped.wait()
    await server.stop(None)


if __name__ == "__main__":
    uvloop.run(main())
