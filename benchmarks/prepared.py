"""Load with header blocks that are made before the clock starts: no two calls need have the same.

The client does no more than it must: it sends a call's frames when another has ended, and of what comes back it reads
the heads of the frames. What it is sent in response is never more than its windows allow: they are as large as can be.
What it sends is far less than any server's window at a time.
"""

from __future__ import annotations

import itertools
import socket
import struct
import time
from collections.abc import Iterator

DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY = 0, 1, 3, 4, 6, 7
END_STREAM, END_HEADERS, ACK = 1, 4, 1
LARGEST_WINDOW = 2**31 - 1
TIMEOUT = 60.0  # seconds without a byte
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """Return a frame."""
    return struct.pack(">HBBBI", len(payload) >> 8, len(payload) & 0xFF, kind, flags, stream) + payload


def send(
    port: int, blocks: Iterator[bytes], message: bytes, reply_bytes: int, calls: int, in_flight: int
) -> tuple[float, list[float]]:
    """Make so many unary calls over one connection, and return the seconds of all and of each.

    Args:
        port: of the server, on this machine.
        blocks: the header block of each call, in the order in which one connection carries them.
        message: the request of all, without its frame.
        reply_bytes: length of all reply messages of one call, frames included.
        calls: how many.
        in_flight: how many at any time.

    Raises:
        RuntimeError: if an answer has another length, or the server ends a call or the connection.
    """
    body = b"\0" + len(message).to_bytes(4, "big") + message
    requests = [
        frame(HEADERS, END_HEADERS, stream, block) + frame(DATA, END_STREAM, stream, body)
        for stream, block in zip(itertools.count(1, 2), itertools.islice(blocks, calls), strict=False)
    ]
    hello = frame(SETTINGS, 0, 0, struct.pack(">HI", 4, LARGEST_WINDOW))
    hello += frame(8, 0, 0, struct.pack(">I", LARGEST_WINDOW - 65_535))
    with socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.sendall(PREFACE + hello)
        started_at = [0.0] * calls
        latencies: list[float] = []
        received = 0
        buffer = b""
        begin = now = time.perf_counter()
        started = min(in_flight, calls)
        started_at[:started] = [now] * started
        connection.sendall(b"".join(requests[:started]))
        while len(latencies) < calls:
            chunk = connection.recv(1 << 18)
            if not chunk:
                raise RuntimeError("the server has closed the connection")
            now = time.perf_counter()
            buffer += chunk
            at, end = 0, len(buffer) - 9
            ended = len(latencies)
            answers = b""
            while at <= end:
                high, low, kind, flags, stream = struct.unpack_from(">HBBBI", buffer, at)
                length = high << 8 | low
                if at + length > end:
                    break
                if kind == DATA:
                    received += length
                elif kind in (SETTINGS, PING) and not flags & ACK:
                    answers += frame(kind, ACK, 0, buffer[at + 9 : at + 9 + length] if kind == PING else b"")
                elif kind in (RST_STREAM, GOAWAY):
                    raise RuntimeError(f"the server sent frame {kind} on stream {stream}")
                if kind in (DATA, HEADERS) and flags & END_STREAM:
                    latencies.append(now - started_at[stream >> 1])
                at += 9 + length
            buffer = buffer[at:]
            more = min(len(latencies) - ended, calls - started)
            if more or answers:
                started_at[started : started + more] = [now] * more
                connection.sendall(answers + b"".join(requests[started : started + more]))
                started += more
        seconds = time.perf_counter() - begin
    if received != calls * reply_bytes:
        raise RuntimeError(f"{received} bytes of answers, expected {calls} times {reply_bytes}")
    return seconds, latencies
