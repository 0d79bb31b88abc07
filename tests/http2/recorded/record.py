"""Record the header blocks that real clients send: python tests/http2/recorded/record.py [GRPC_JS_DIRECTORY]

A server of a few lines takes their connections and answers each request by trailers only. What each client sent on its
connection goes into a JSON file beside this script: the blocks in order, in hexadecimal.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from pathlib import Path

import grpc
import grpc.aio

HERE = Path(__file__).parent
PATH = "/clarifai.api.V2/PostModelOutputs"
ANSWER = b"\x88" + b"".join(
    b"\x00" + bytes((len(name),)) + name + bytes((len(value),)) + value
    for name, value in ((b"content-type", b"application/grpc"), (b"grpc-status", b"0"))
)
CALLS = 8

NODE = """
const { createRequire } = require("module");
const grpc = createRequire(process.argv[1] + "/")("@grpc/grpc-js");
const client = new grpc.Client(process.argv[2], grpc.credentials.createInsecure());
const same = (value) => value;
const call = (number) => new Promise((done) => {
  const metadata = new grpc.Metadata();
  metadata.set("authorization", "Key 0123456789abcdef0123456789abcdef");
  metadata.set("traceparent", process.argv[3 + number]);
  const options = { deadline: Date.now() + 30000 + number * 137 };
  client.makeUnaryRequest("PATH", same, same, Buffer.from("x"), metadata, options, () => done());
});
(async () => { for (let number = 0; number < CALLS; number++) await call(number); process.exit(0); })();
"""


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + payload


class Recorder:
    """Keeps the header blocks of every connection."""

    def __init__(self) -> None:
        self.connections: list[list[str]] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        blocks: list[str] = []
        self.connections.append(blocks)
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            await reader.readexactly(24)
            writer.write(frame(4, 0, 0))
            while True:
                head = await reader.readexactly(9)
                kind, flags, stream = head[3], head[4], int.from_bytes(head[5:], "big")
                payload = await reader.readexactly(int.from_bytes(head[:3], "big"))
                if kind == 1:
                    if flags & 0x08:
                        payload = payload[1 : len(payload) - payload[0]]
                    if flags & 0x20:
                        payload = payload[5:]
                    assert flags & 0x04, "no CONTINUATION frames are expected"
                    blocks.append(payload.hex())
                if kind in (0, 1) and flags & 0x01:
                    writer.write(frame(1, 0x05, stream, ANSWER))
                elif kind == 4 and not flags & 1:
                    writer.write(frame(4, 1, 0))
                elif kind == 6 and not flags & 1:
                    writer.write(frame(6, 1, 0, payload))
        writer.close()

    def save(self, name: str) -> None:
        blocks = max(self.connections, key=len)
        (HERE / f"{name}.json").write_text(json.dumps(blocks, indent=1) + "\n")
        print(f"{name}: {len(blocks)} blocks of {[len(block) // 2 for block in blocks]} bytes")
        self.connections.clear()


def trace_parent() -> str:
    return f"00-{os.urandom(16).hex()}-{os.urandom(8).hex()}-01"


def with_grpcio(port: int) -> None:
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        call = channel.unary_unary(PATH)
        for number in range(CALLS):
            metadata = [("authorization", "Key 0123456789abcdef0123456789abcdef"), ("traceparent", trace_parent())]
            with contextlib.suppress(grpc.RpcError):
                call(b"x", timeout=30 + number * 0.137, metadata=metadata)


async def with_grpcio_aio(port: int) -> None:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        call = channel.unary_unary(PATH)
        for number in range(CALLS):
            with contextlib.suppress(grpc.aio.AioRpcError):
                await call(b"x", timeout=30, metadata=[("x-number-bin", bytes((number,)))])


async def command(*words: str) -> None:
    process = await asyncio.create_subprocess_exec(*words, stdout=asyncio.subprocess.DEVNULL)
    await process.wait()


async def main() -> None:
    recorder = Recorder()
    server = await asyncio.start_server(recorder.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    url = f"http://127.0.0.1:{port}{PATH}"
    fields = ("content-type: application/grpc", "te: trailers")
    headers = [word for field in fields for word in ("-H", field)]
    await asyncio.to_thread(with_grpcio, port)
    recorder.save("grpcio")
    await with_grpcio_aio(port)
    recorder.save("grpcio_aio")
    if len(sys.argv) > 1:
        script = NODE.replace("PATH", PATH).replace("CALLS", str(CALLS))
        await command("node", "-e", script, sys.argv[1], f"127.0.0.1:{port}", *(trace_parent() for _ in range(CALLS)))
        recorder.save("grpc_js")
    await command("h2load", "-n", str(CALLS), "-c", "1", "-d", __file__, *headers, url)
    recorder.save("h2load")
    await command("nghttp", "-m", "3", "-d", __file__, *headers, url)
    recorder.save("nghttp")
    words = ["curl", "-sS", "--http2-prior-knowledge", "--data-binary", "x", *headers]
    await command(*words, url)
    recorder.save("curl")
    server.close()


if __name__ == "__main__":
    asyncio.run(main())
