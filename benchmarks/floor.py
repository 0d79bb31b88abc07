"""What one call in flight takes at the least, where two processes of Python on uvloop stand behind the socket.

Four servers take turns: raw grpc.aio; ours; and two that know of HTTP/2 only where frames begin and answer canned
bytes, "one process" at once, "two processes" after a second process has sent back the number of the stream. What ours
takes beyond the last is what it does itself: HTTP/2, headers, admission, dispatch, decoding, the method.

    python benchmarks/floor.py [--rounds 5] [--calls 3000]
"""

from __future__ import annotations

import argparse
import asyncio
import os
import socket
import statistics
import sys
from contextlib import ExitStack
from pathlib import Path

import uvloop

HERE = Path(__file__).parent
BODY = 32
"""Bytes of the canned answer, about as many as the answer of an echo has."""

DATA, HEADERS, SETTINGS, WINDOW_UPDATE = 0, 1, 4, 8
END_STREAM = ACK = 1
END_HEADERS = 4
PREFACE = 24


def _frame(kind: int, flags: int, stream: bytes, payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream + payload


def _block(*fields: tuple[bytes, bytes]) -> bytes:
    """Return fields as literals that no table knows."""
    return b"".join(b"\0%c%b%c%b" % (len(name), name, len(value), value) for name, value in fields)


_BEGIN = b"\x88" + _block((b"content-type", b"application/grpc"))  # `:status: 200` is in the static table
_END = _block((b"grpc-status", b"0"))
_MESSAGE = b"\0" + BODY.to_bytes(4, "big") + bytes(BODY)


class Front(asyncio.Protocol):
    """A connection. `link`: to the second process, if there is one."""

    def __init__(self, link: Link | None) -> None:
        self._link = link
        self._data = b""
        self._begun = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        data = self._data + data
        if not self._begun and len(data) >= PREFACE:
            self._begun, data = True, data[PREFACE:]
            self._transport.write(_frame(SETTINGS, 0, bytes(4), b""))
        asked, received = b"", 0
        while self._begun and len(data) >= 9 and len(data) >= (end := 9 + int.from_bytes(data[:3], "big")):
            kind, flags, stream = data[3], data[4], data[5:9]
            if kind == SETTINGS and not flags & ACK:
                self._transport.write(_frame(SETTINGS, ACK, bytes(4), b""))
            if kind == DATA:
                received += end - 9
            if kind in (DATA, HEADERS) and flags & END_STREAM:
                asked += stream
            data = data[end:]
        self._data = data
        if received:
            self._transport.write(_frame(WINDOW_UPDATE, 0, bytes(4), received.to_bytes(4, "big")))
        if asked and self._link is not None:
            self._link.ask(self, asked)
        elif asked:
            self.answer(asked)

    def answer(self, asked: bytes) -> None:
        """Answer on these streams."""
        answers: list[bytes] = []
        for at in range(0, len(asked), 4):
            stream = asked[at : at + 4]
            answers += (
                _frame(HEADERS, END_HEADERS, stream, _BEGIN),
                _frame(DATA, 0, stream, _MESSAGE),
                _frame(HEADERS, END_HEADERS | END_STREAM, stream, _END),
            )
        self._transport.write(b"".join(answers))


class Link(asyncio.Protocol):
    """The way to the second process, for one connection at a time."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]

    def ask(self, front: Front, streams: bytes) -> None:
        """Have the second process send these back, and the front answer then."""
        self._front = front
        self._transport.write(streams)

    def data_received(self, data: bytes) -> None:
        self._front.answer(data)


class Second(asyncio.Protocol):
    """What the second process does."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        self._transport.write(data)

    def connection_lost(self, exc: Exception | None) -> None:
        os._exit(0)


async def _second(end: socket.socket) -> None:
    await asyncio.get_running_loop().create_connection(Second, sock=end)
    await asyncio.get_running_loop().create_future()


async def _first(end: socket.socket | None) -> None:
    loop = asyncio.get_running_loop()
    link: Link | None = None
    if end is not None:
        _, link = await loop.create_connection(Link, sock=end)
    server = await loop.create_server(lambda: Front(link), "127.0.0.1", 0)
    print(f"serving floor on 127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await loop.create_future()


def serve(processes: int) -> None:
    """Be the server of one process or of two."""
    end = None
    if processes == 2:
        end, other = socket.socketpair()
        if not os.fork():
            end.close()
            os.close(1)  # whoever reads it waits for the end of the first process
            uvloop.run(_second(other))
        other.close()
    uvloop.run(_first(end))


def measure_all(rounds: int, calls: int) -> None:
    """Measure and print."""
    from bench import machine, raw_job, request, runner_job
    from load import Job, Measured, client_name, measure
    from processes import running

    from runner.wire.pb import inference_pb2 as pb

    echo = request("echo", text=pb.Data(string_value="hello"))
    canned = Job(path="/floor", request=echo, reply_bytes=len(_MESSAGE))
    with ExitStack() as stack:
        raw = stack.enter_context(running([sys.executable, str(HERE / "raw_echo.py")]))
        command = [sys.executable, "-m", "runner", "serve", str(HERE / "models" / "echo"), "--port", "0"]
        ours = stack.enter_context(running(command))
        one, two = (stack.enter_context(running([sys.executable, __file__, "--serve", number])) for number in "12")
        contestants = {
            "raw grpc.aio": (raw, raw_job(echo)),
            "runner, async def": (ours, runner_job(ours, "PostModelOutputs", echo)),
            "canned, one process": (one, canned),
            "canned, two processes": (two, canned),
        }
        samples: dict[str, list[tuple[Measured, float]]] = {name: [] for name in contestants}
        for turn in range(rounds + 1):
            for name, (server, job) in contestants.items():
                before = server.cpu_seconds()
                measured = measure(server.port, job, calls=calls, in_flight=1)
                if turn:  # the first one warms up
                    samples[name].append((measured, (server.cpu_seconds() - before) / calls))
    print(f"{machine()}; load from {client_name()}, one call in flight; medians of {rounds} rounds\n")
    print("| server | calls/s | p50 ms | of raw | CPU µs/call |\n| --- | ---: | ---: | ---: | ---: |")
    for name, its in samples.items():
        rate = statistics.median(measured.calls_per_second for measured, _ in its)
        p50 = statistics.median(measured.p50 for measured, _ in its) * 1e3
        ratio = statistics.median(
            measured.p50 / raw.p50 for (measured, _), (raw, _) in zip(its, samples["raw grpc.aio"], strict=True)
        )
        cpu = statistics.median(spent for _, spent in its) * 1e6
        print(f"| {name} | {rate:,.0f} | {p50:.2f} | {ratio:.2f} | {cpu:,.0f} |")


def main() -> None:
    """Measure, or be one of the servers that are measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="runs of each server (default 5)")
    parser.add_argument("--calls", type=int, default=3000, help="calls in a run (default 3000)")
    parser.add_argument("--serve", type=int, choices=(1, 2), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(options.serve)
    else:
        measure_all(options.rounds, options.calls)


if __name__ == "__main__":
    main()
