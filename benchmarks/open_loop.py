"""Calls at a given rate, whether or not the server keeps up: an open loop, as many independent callers make one.

A process of its own on uvloop, and bare grpc.aio, so that it costs little. Latencies count from the instant at which a
call was due, so that a generator that falls behind cannot hide what callers would see; it says how far behind it was.

    python benchmarks/open_loop.py PORT PATH RATE SECONDS FILE RESULT    writes one JSON object: see `Offered`
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TIMEOUT = 10.0
"""seconds that one call may take. None here should."""

REFUSED = 8
"""gRPC's RESOURCE_EXHAUSTED."""


@dataclass(frozen=True, slots=True)
class Offered:
    """What one run showed.

    Attributes:
        accepted: for each answered call, when it was answered and after how long: seconds since the run began, seconds.
        refused: the same for each refused one.
        others: how often each other status came.
        behind: how long after they were due the calls were sent: the 99th percentile, seconds.
        cpu: of a processor, what the generator used.
    """

    accepted: list[tuple[float, float]]
    refused: list[tuple[float, float]]
    others: dict[str, int]
    behind: float
    cpu: float


class Generator:
    """Sends the request in `body` so many times a second, from now on; `finish` has what came of it."""

    def __init__(self, port: int, path: str, body: Path, *, rate: float, seconds: float) -> None:
        self._result = body.with_suffix(".result")
        command = [sys.executable, __file__, str(port), path, str(rate), str(seconds), str(body), str(self._result)]
        self._process = subprocess.Popen(command)

    def finish(self) -> Offered:
        """Wait for the run to end."""
        if code := self._process.wait(timeout=120):
            raise RuntimeError(f"the load generator exited with {code}")
        return Offered(**json.loads(self._result.read_text()))


async def _offer(port: int, path: str, rate: float, seconds: float, request: bytes) -> dict[str, Any]:
    import grpc

    accepted: list[tuple[float, float]] = []
    refused: list[tuple[float, float]] = []
    others: dict[str, int] = {}
    behind: list[float] = []
    loop = asyncio.get_running_loop()
    calls: set[asyncio.Task[None]] = set()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        await channel.channel_ready()
        method = channel.unary_unary(path)
        await method(request)
        began, used = time.perf_counter(), time.process_time()

        async def call(due: float) -> None:
            try:
                await method(request, timeout=TIMEOUT)
            except grpc.aio.AioRpcError as exc:
                now = time.perf_counter()
                if exc.code().value[0] == REFUSED:
                    refused.append((now - began, now - due))
                else:
                    others[exc.code().name] = others.get(exc.code().name, 0) + 1
            else:
                now = time.perf_counter()
                accepted.append((now - began, now - due))

        sent, total = 0, int(rate * seconds)
        while sent < total:
            now = time.perf_counter()
            while sent < total and (due := began + sent / rate) <= now:
                behind.append(now - due)
                task = loop.create_task(call(due))
                calls.add(task)
                task.add_done_callback(calls.discard)
                sent += 1
            await asyncio.sleep(max(began + sent / rate - time.perf_counter(), 0))
        while calls:
            await asyncio.wait(set(calls))
        cpu = (time.process_time() - used) / (time.perf_counter() - began)
    behind.sort()
    late = behind[len(behind) * 99 // 100]
    return {"accepted": accepted, "refused": refused, "others": others, "behind": late, "cpu": cpu}


def _main(port: str, path: str, rate: str, seconds: str, body: str, result: str) -> None:
    import gc

    import uvloop

    gc.freeze()
    seen = uvloop.run(_offer(int(port), path, float(rate), float(seconds), Path(body).read_bytes()))
    Path(result).write_text(json.dumps(seen))


if __name__ == "__main__":
    _main(*sys.argv[1:])
