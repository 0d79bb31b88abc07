"""What cancelling costs: streams that are left at random moments, and what the device still does for them.

Each stream is a chain of steps on a device that counts for whom they are, and holds a row of a cache while it lasts.
Streams are left by closing them, by a deadline, and by killing the process that reads them; unary calls are cancelled
while they wait in the queue. Afterwards no step may have begun for a call that had been told to stop, but for the one
that was in progress, and every row has to be back.

    python benchmarks/cancel.py [--streams 100] [--rounds 1]

The exit code is 1 if a step was too many, a row is missing, or a call that waited has run.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from bench import machine
from processes import running

from runner.client import AsyncModel
from runner.errors import DeadlineExceeded

HERE = Path(__file__).parent
MODEL = HERE / "models" / "steps"
ENDLESS = 10**9
LONGEST = 1.0  # seconds after which the last stream is left
METHODS = ("count", "count_in_thread")
READERS = 4  # processes that are killed, each with its share of the streams


@dataclass(frozen=True, slots=True)
class Outcome:
    """One way of leaving. `latencies` in seconds: p50, p99 and the longest, of all cancels so far."""

    how: str
    streams: int
    steps: int
    late: int
    most_late: int
    leased: int
    latencies: tuple[float, float, float]

    @property
    def breach(self) -> str:
        """What is wrong; empty if nothing is."""
        if self.most_late > 1:
            return f"{self.how}: {self.most_late} steps began for a call that had been told to stop"
        return f"{self.how}: {self.leased} rows are not back" if self.leased else ""


async def closing(model: AsyncModel, port: int, method: str, number: int, chance: random.Random) -> None:
    """Open streams, and close each at a random moment."""

    async def one(after: float) -> None:
        async with getattr(model, method)(until=ENDLESS) as items:
            try:
                async with asyncio.timeout(after):
                    async for _ in items:
                        pass
            except TimeoutError:
                pass

    await asyncio.gather(*(one(chance.uniform(0, LONGEST)) for _ in range(number)))


async def running_out_of_time(model: AsyncModel, port: int, method: str, number: int, chance: random.Random) -> None:
    """Open streams with random deadlines."""

    async def one(seconds: float) -> None:
        try:
            async for _ in getattr(model, method)(until=ENDLESS, timeout=seconds):
                pass
        except DeadlineExceeded:
            return
        raise RuntimeError("a stream without end has ended before its deadline")

    await asyncio.gather(*(one(chance.uniform(0.05, LONGEST)) for _ in range(number)))


async def killed(model: AsyncModel, port: int, method: str, number: int, chance: random.Random) -> None:
    """Have other processes open streams, and kill them."""
    share = max(number // READERS, 1)

    async def one() -> None:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            __file__,
            "--read",
            str(port),
            method,
            str(share),
            stdout=asyncio.subprocess.PIPE,
        )
        assert process.stdout is not None
        await process.stdout.readline()  # every stream has had its first item
        await asyncio.sleep(chance.uniform(0, LONGEST))
        process.kill()
        await process.communicate()

    await asyncio.gather(*(one() for _ in range(READERS)))


async def read(port: int, method: str, number: int) -> None:
    """Read streams until this process is killed; say when all have begun."""
    async with AsyncModel(base_url=f"127.0.0.1:{port}") as model:
        begun = asyncio.Barrier(number + 1)

        async def one() -> None:
            first = True
            async for _ in getattr(model, method)(until=ENDLESS):
                if first:
                    first = False
                    await begun.wait()

        streams = [asyncio.create_task(one()) for _ in range(number)]
        await begun.wait()
        print("reading", flush=True)
        await asyncio.gather(*streams)


WAYS: dict[str, Callable[[AsyncModel, int, str, int, random.Random], Awaitable[None]]] = {
    "closed": closing,
    "deadline": running_out_of_time,
    "client killed": killed,
}


async def leave(model: AsyncModel, port: int, how: str, method: str, number: int, chance: random.Random) -> Outcome:
    """Open streams and leave them in one way; return what the device did."""
    await model.report()
    await WAYS[how](model, port, method, number, chance)
    if not await model.wait_open(0):
        raise RuntimeError(f"{how}: streams are still open 40 s after they were left")
    report = await model.report()
    latency = (await model.statistics()).cancel_latency_seconds
    return Outcome(
        f"{method}, {how}",
        number,
        report["steps"],
        report["late"],
        report["most_late"],
        report["leased"],
        (latency.p50, latency.p99, latency.longest),
    )


async def leave_the_queue(model: AsyncModel, number: int) -> tuple[int, int]:
    """Cancel unary calls that wait behind another; return how many waited, and how many have run all the same."""
    await model.report()
    busy = asyncio.create_task(_awaited(model.work(0.5)))
    waiting = [asyncio.create_task(_awaited(model.work(0.0))) for _ in range(number)]
    seen = 0
    while seen < number:  # they are on their way, and no event tells of their arrival
        seen = (await model.statistics()).waiting_calls
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    await busy
    await model.work(0.0)  # behind whatever is left in the queue
    return seen, (await model.report())["worked"] - 2


async def _awaited(call: Awaitable[int]) -> int:
    return await call


async def measure(port: int, streams: int, rounds: int, methods: tuple[str, ...] = METHODS) -> list[str]:
    """Leave streams in every way, print a table, and return what is wrong."""
    chance = random.Random(1)
    breaches: list[str] = []
    async with AsyncModel(base_url=f"127.0.0.1:{port}") as model:
        await model.available_methods()
        print(
            "| streams of | left by | streams | steps | too late | for one, at most | rows not back | p50 ms | p99 ms "
            "| longest ms |\n| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |"
        )
        for _ in range(rounds):
            for method in methods:
                for how in WAYS:
                    found = await leave(model, port, how, method, streams, chance)
                    p50, p99, longest = (f"{seconds * 1000:.1f}" for seconds in found.latencies)
                    print(
                        f"| `{method}` | {how} | {found.streams} | {found.steps} | {found.late} | {found.most_late} "
                        f"| {found.leased} | {p50} | {p99} | {longest} |"
                    )
                    if found.breach:
                        breaches.append(found.breach)
        waited, ran = await leave_the_queue(model, streams)
        print(f"\n{waited} unary calls were cancelled while they waited in the queue, and {ran} of them ran.")
        if ran:
            breaches.append(f"{ran} calls ran that had been cancelled in the queue")
    return breaches


def main() -> int:
    """Measure and print; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--streams", type=int, default=100, help="streams at once (default 100, at most 128)")
    parser.add_argument("--rounds", type=int, default=1, help="how often (default 1)")
    parser.add_argument("--read", nargs=3, metavar=("PORT", "METHOD", "STREAMS"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.read:
        port, method, number = options.read
        asyncio.run(read(int(port), method, int(number)))
        return 0
    print(f"{machine()}; latencies are from the event to the free room, of all cancels so far\n")
    with running([sys.executable, "-m", "runner", "serve", str(MODEL), "--port", "0"]) as server:
        breaches = asyncio.run(measure(server.port, options.streams, options.rounds))
    for breach in breaches:
        print(f"cancel: {breach}", file=sys.stderr)
    return 1 if breaches else 0


if __name__ == "__main__":
    sys.exit(main())
