"""What the server's process itself does for a small unary call: bytes of HTTP/2 in, frames for a worker out, and back.

No sockets and no other process: the transport's protocol is handed what a client would send, and what it answers is
counted. A script stands in for the worker, and answers by frames as a worker's link would carry them. What the script
takes is not counted. Each line: so many calls in one read of the socket; µs a call, by what was quick in a tenth of the
rounds.

    python benchmarks/server.py [--rounds 400] [--calls 1,16,64] [--blocks repeated,grpcio,go]
        [--characters 5] [--pause 0.3]
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import time
from collections.abc import Callable, Iterator, Sequence

import uvloop
from bench import machine, request
from blocks import PATH, of_go, of_grpcio, repeated

from runner import ModelClass
from runner.config import ServerConfig
from runner.engine import Engine
from runner.execution.times import Times
from runner.http2 import frames
from runner.http2.limits import Limits
from runner.server.assembly import build_catalog, build_keyring, build_service
from runner.server.native.protocol import Http2Protocol
from runner.server.native.transport import NativeTransport
from runner.server.service_rpcs import service_rpcs
from runner.server.status import rpc_status
from runner.testing.scripted_worker import ScriptedWorker, ScriptedWorkers, methods_of
from runner.wire import run
from runner.wire.payload import Payload
from runner.wire.pb import inference_pb2 as pb
from runner.workers.frames import pack, unpack
from runner.workers.messages import Call, Calls, Message, Result, Results

BLOCKS: dict[str, Callable[[bytes], Iterator[bytes]]] = {"repeated": repeated, "grpcio": of_grpcio, "go": of_go}
ROOM = 1024
"""Calls that the worker takes at once."""


class Echo(ModelClass):
    """Never run: its signature is what counts."""

    @ModelClass.method
    async def echo(self, text: str) -> str:
        """Return the text."""
        return text


class Link:
    """The way to a scripted worker; answers all calls that went over it, when it is told to."""

    def __init__(self, worker: ScriptedWorker, text: str) -> None:
        self._worker = worker
        self._waiting: list[Call | Calls] = []
        self._frames: list[Payload] = []
        data = pb.Data(parts=[pb.Part(id="return", data=pb.Data(string_value=text))])
        self._output = pb.Output(status=pb.Status(code=10000), data=data).SerializeToString()

    def send(self, message: Message) -> None:
        """Take a message; of calls, make the frames."""
        if isinstance(message, Call | Calls):
            pack(message, self._frames)
            self._waiting.append(message)
        else:
            self._worker.send(message)

    def join(self, pieces: Sequence[Payload]) -> Payload:
        """Put together a payload."""
        return b"".join(pieces)

    def draft(self, size: int) -> memoryview | None:
        """It shares no memory."""
        return None

    def close(self) -> None:
        """End."""

    def answers(self) -> list[memoryview]:
        """Return the frames that answer the calls."""
        waiting, self._waiting, self._frames = self._waiting, [], []
        frames: list[memoryview] = []
        for message in waiting:
            packed: list[Payload] = []
            if isinstance(message, Call):
                pack(Result(message.id, self._output, Times()), packed)
            else:
                count = len(message.request_ids)
                outputs = b"".join(run.pieces(run.OUTPUT_TAG, [self._output] * count))
                pack(Results(message.id, count, outputs, (Times(),) * count), packed)
            frames.append(memoryview(bytearray().join(packed)))
        return frames


class Socket:
    """Counts what is written to it."""

    def __init__(self) -> None:
        self.written = 0

    def write(self, data: bytes) -> None:
        """Take bytes."""
        self.written += len(data)

    def writelines(self, pieces: list[bytes]) -> None:
        """Take bytes."""
        self.written += sum(map(len, pieces))

    def set_write_buffer_limits(self, high: int) -> None:
        """It never fills up."""

    def get_extra_info(self, name: str) -> tuple[str, int]:
        """Say where the client is."""
        return "127.0.0.1", 1

    def close(self) -> None:
        """End."""

    abort = close


def _sleep(seconds: float) -> None:
    """Have the processor leave this process, as it does between two calls."""
    if seconds:
        time.sleep(seconds)


async def _measure(calls: int, rounds: int, blocks: Iterator[bytes], text: str, pause: float) -> tuple[float, float]:
    """Return the µs a call until its message is on the way to the worker, and from the answer until it is written."""
    links: list[Link] = []

    def prepare(worker: ScriptedWorker) -> None:
        links.append(Link(worker, text))
        worker.link = links[0]  # type: ignore[assignment]

    workers, config = ScriptedWorkers(methods_of(Echo), prepare=prepare), ServerConfig()
    async with Engine([workers.place(max_coroutines=ROOM)], max_queued_calls=ROOM, max_queued_bytes=1 << 28) as engine:
        worker = await workers.started(1)
        worker.ready()
        await engine.started()
        service = build_service(config, engine, build_keyring(config), build_catalog(config))
        transport = NativeTransport(
            service_rpcs(service),
            max_message_bytes=1 << 20,
            status_of=rpc_status,
            http1=lambda *_: None,  # type: ignore[arg-type]
            limits=Limits(max_concurrent_streams=ROOM),
        )
        protocol, socket = Http2Protocol(transport), Socket()
        protocol.connection_made(socket)  # type: ignore[arg-type]
        protocol.receive(frames.PREFACE + frames.settings({}) + frames.window_update(0, (1 << 31) - 100_000))
        message = request("echo", text=pb.Data(string_value=text))
        body = b"\0" + len(message).to_bytes(4, "big") + message
        numbers = itertools.count(1, 2)
        into: list[float] = []
        back: list[float] = []
        for _ in range(rounds):
            data = b"".join(
                frames.headers(number, next(blocks), end_stream=False, max_frame=1 << 14)
                + frames.head(frames.DATA, frames.END_STREAM, number, len(body))
                + body
                for number in itertools.islice(numbers, calls)
            )
            spent = 0.0
            _sleep(pause)
            while data:
                room = protocol.get_buffer(-1)
                piece, data = data[: len(room)], data[len(room) :]
                room[: len(piece)] = piece
                begun = time.perf_counter()
                protocol.buffer_updated(len(piece))
                spent += time.perf_counter() - begun
            begun = time.perf_counter()
            await asyncio.sleep(0)  # the turn in which what was gathered leaves
            into.append(spent + time.perf_counter() - begun)
            answers, before = links[0].answers(), socket.written
            _sleep(pause)
            begun = time.perf_counter()
            for answer in answers:
                worker.say(unpack(answer))
            await asyncio.sleep(0)
            back.append(time.perf_counter() - begun)
            if socket.written <= before:
                raise RuntimeError("no answer was written")
        if engine.statistics().waiting_calls or transport.calls.active:
            raise RuntimeError("calls are left")
        protocol.connection_lost(None)
    tenth = rounds // 10
    return sorted(into)[tenth] / calls * 1e6, sorted(back)[tenth] / calls * 1e6


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=400, help="reads of the socket (default 400)")
    parser.add_argument("--calls", default="1,4,16,64", help="calls that a read brings (default 1,4,16,64)")
    parser.add_argument("--blocks", default=",".join(BLOCKS), help="comma-separated: whose header blocks")
    parser.add_argument("--characters", type=int, default=5, help="of the text (default 5)")
    parser.add_argument("--pause", type=float, default=0, help="ms of sleep before either way (default 0)")
    options = parser.parse_args()
    text = "x" * options.characters
    print(f"{machine()}; the quickest tenth of {options.rounds} rounds\n")
    print("| header blocks | calls in a read | to the worker, µs a call | back, µs a call | both |")
    print("| --- | ---: | ---: | ---: | ---: |")
    for name in options.blocks.split(","):
        for calls in map(int, options.calls.split(",")):
            blocks = BLOCKS[name](PATH)
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                into, back = runner.run(_measure(calls, options.rounds, blocks, text, options.pause / 1e3))
            print(f"| {name} | {calls} | {into:.1f} | {back:.1f} | {into + back:.1f} |", flush=True)


if __name__ == "__main__":
    main()
