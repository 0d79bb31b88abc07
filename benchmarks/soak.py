"""Minutes of random calls against a real server, and what it has lost or kept after them.

Callers read streams to their end, leave them, read them slowly, run out of time, ask for failures, raise in the middle
of what they send, and are killed. Every item carries a checksum and its place, so that a wrong, missing or repeated one
is seen. Now and then all callers pause; then nothing may be under way, and what the server and its worker hold (tasks,
threads, rows, open files, memory) is read. After a warm-up none of it may grow.

    python benchmarks/soak.py [--minutes 10] [--seed 1]

The exit code is 1 if anything was wrong, and the reason is the last thing that is printed.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import random
import re
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from bench import machine
from processes import Server, family, running

from runner.client import AsyncModel
from runner.errors import CallError, DeadlineExceeded, ModelError, Overloaded

HERE = Path(__file__).parent
MODEL = HERE / "models" / "soak"
sys.path.insert(0, str(MODEL))

from items import check, item  # noqa: E402  it lies with the model, which makes the same items

CALLERS = 40  # at once: more than the model has threads, rows, and room for streams
STREAMS, THREADS = 24, 4  # of the model's config.yaml
WARM_UP = 60.0  # seconds, or a quarter of the whole
PAUSES = 20  # readings, spread over the time
MEMORY_SHARE, MEMORY_BYTES = 0.05, 4 << 20
"""What memory may grow by: an allocator does not give back all that it has taken at the worst moment so far."""
BREATH = 2
"""Threads that grpcio may have more at one moment than at another: its own pool breathes."""


class Wrong(Exception):
    """What a caller saw and should not have."""


class Walked(Exception):
    """Raised by a caller's own iterator."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What the two processes hold while nothing is under way. Memory in bytes."""

    server_tasks: int
    server_threads: int
    server_files: int
    server_memory: int
    worker_tasks: int
    worker_threads: int
    worker_files: int
    worker_memory: int
    rows: int


class Callers:
    """Tasks that call the server at random until they are told to pause or to stop."""

    def __init__(self, model: AsyncModel, port: int, seed: int, patience: float) -> None:
        self.counts: Counter[str] = Counter()
        self.items = 0
        self._model = model
        self._port = port
        self._patience = patience
        self._chance = random.Random(seed)
        self._go = asyncio.Event()
        self._stopping = False
        self._busy = 0
        self._quiet = asyncio.Condition()
        self._ways: list[Callable[[], Awaitable[None]]] = [
            self._unary,
            self._unary,
            self._left_unary,
            self._limited,
            self._served,
            self._served,
            self._served,
            self._together,
            self._relayed,
            self._relayed,
            self._collected,
        ]

    async def run(self) -> None:
        """Call until `stop`; raises what a caller found wrong."""
        async with asyncio.TaskGroup() as group:
            for _ in range(CALLERS):
                group.create_task(self._caller())
            group.create_task(self._killer())

    def resume(self) -> None:
        """Let the callers go."""
        self._go.set()

    async def pause(self) -> None:
        """Wait until every caller has ended the call it had."""
        self._go.clear()
        async with self._quiet:
            await self._quiet.wait_for(lambda: not self._busy)

    def stop(self) -> None:
        """Let `run` end."""
        self._stopping = True
        self._go.set()

    async def _caller(self) -> None:
        while await self._turn():
            way = self._chance.choice(self._ways)
            try:
                async with asyncio.timeout(self._patience):
                    await way()
            except CallError as exc:
                raise Wrong(f"{way.__name__}: {type(exc).__name__}: {exc}") from exc
            except TimeoutError:
                raise Wrong(f"{way.__name__}: no end within {self._patience:g} s") from None
            finally:
                await self._over()

    async def _turn(self) -> bool:
        while not self._go.is_set():
            await self._go.wait()
        if not self._stopping:
            self._busy += 1
        return not self._stopping

    async def _over(self) -> None:
        self._busy -= 1
        if not self._busy:
            async with self._quiet:
                self._quiet.notify_all()

    # One call each.

    def _seed(self) -> int:
        return self._chance.randrange(1 << 40)

    def _length(self) -> int:
        """Mostly short, now and then beyond a window of credit several times."""
        return int(min(self._chance.expovariate(1 / 60), 400))

    async def _unary(self) -> None:
        method = self._chance.choice(("unary", "unary_async", "unary_batched"))
        seed, place = self._seed(), self._chance.randrange(1000)
        refused = method == "unary_batched" and seed % 7 == 0
        try:
            check(await getattr(self._model, method)(item(seed, place), seed, place), seed, place + 1)
        except ModelError as exc:
            if not refused or f"refused {seed}" not in str(exc):
                raise
            refused = False
        if refused:
            raise Wrong(f"{method} of seed {seed} should have failed")
        self._count(method, 1)

    async def _left_unary(self) -> None:
        method = self._chance.choice(("unary", "unary_async", "unary_batched"))
        seed = self._seed() | 1
        call = asyncio.ensure_future(_awaited(getattr(self._model, method)(item(seed, 0), seed, 0)))
        await asyncio.sleep(self._chance.uniform(0, 0.02))
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)
        self._count(f"{method}, left", 0)

    async def _limited(self) -> None:
        seconds = self._chance.choice((0.0, 0.02, 0.2))
        try:
            await self._model.limited(seconds)
            ended = "in time"
        except DeadlineExceeded:
            ended = "out of time"
        except Overloaded:  # it is predicted to end too late
            ended = "refused"
        self._count(f"limited, {ended}", 0)

    async def _served(self) -> None:
        method = self._chance.choice(("served", "stepped"))
        seed, length = self._seed(), self._length()
        how = self._chance.choice(("whole", "whole", "left", "slow", "failing", "deadline"))
        until = self._chance.randrange(length + 1) if how in ("left", "failing") else length
        options: dict[str, Any] = {"fail_at": until} if how == "failing" and until < length else {}
        if how == "deadline":
            options["timeout"] = self._chance.uniform(0.01, 0.2)
            length = 100_000
        place = 0
        try:
            async with getattr(self._model, method)(seed, length, **options) as answers:
                if not (how == "left" and not until):
                    async for data in answers:
                        check(data, seed, place)
                        place += 1
                        if how == "left" and place == until:
                            break
                        if how == "slow" and place % 16 == 0:
                            await asyncio.sleep(self._chance.uniform(0, 0.05))
        except ModelError as exc:
            if "fail_at" not in options or f"asked to fail at {until}" not in str(exc):
                raise
        except (DeadlineExceeded, Overloaded):  # the latter if it is predicted to wait for longer
            if how != "deadline":
                raise
            until = place
        if place != until:
            raise Wrong(f"{method}, {how}: {place} items and not {until}")
        self._count(f"{method}, {how}", place)

    async def _together(self) -> None:
        seed, length = self._seed(), self._length()
        until = length if self._chance.random() < 0.7 else self._chance.randrange(length + 1)
        place = 0
        async with self._model.together(seed, length) as answers:
            if until:
                async for data in answers:
                    check(data, seed, place)
                    place += 1
                    if place == until < length:
                        break
        if place != until:
            raise Wrong(f"together: {place} items and not {until}")
        self._count("together", place)

    async def _relayed(self) -> None:
        method = self._chance.choice(("relayed", "relayed_async"))
        seed, length = self._seed(), self._length()
        how = self._chance.choice(("whole", "whole", "left", "slow", "failing", "walking"))
        until = self._chance.randrange(length + 1) if how in ("left", "failing", "walking") else length
        options = {"fail_at": until} if how == "failing" and until < length else {}
        place = 0
        try:
            items = self._items(seed, length, walks_at=until if how == "walking" else -1)
            async with getattr(self._model, method)(items, seed, **options) as answers:
                if not (how == "left" and not until):
                    async for data in answers:
                        check(data, seed, place)
                        place += 1
                        if how == "left" and place == until:
                            break
                        if how == "slow" and place % 16 == 0:
                            await asyncio.sleep(self._chance.uniform(0, 0.05))
        except ModelError as exc:
            if not options or f"asked to fail at {until}" not in str(exc):
                raise
        except Walked:
            until = place  # the call was cancelled with answers still on their way
        if place != until:
            raise Wrong(f"{method}, {how}: {place} items and not {until}")
        self._count(f"{method}, {how}", place)

    async def _collected(self) -> None:
        seed, length = self._seed(), self._length()
        how = self._chance.choice(("whole", "whole", "walking", "left"))
        try:
            call = self._model.collected(
                self._items(seed, length, walks_at=length // 2 if how == "walking" else -1), seed
            )
            if how == "left":
                task = asyncio.ensure_future(_awaited(call))
                await asyncio.sleep(self._chance.uniform(0, 0.05))
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
            elif (found := await call) != length:
                raise Wrong(f"collected: {found} items and not {length}")
        except Walked:
            if how != "walking":
                raise
        self._count(f"collected, {how}", length if how == "whole" else 0)

    async def _items(self, seed: int, length: int, walks_at: int = -1) -> AsyncIterator[bytes]:
        for place in range(length):
            if place == walks_at:
                raise Walked
            yield item(seed, place)
            if place % 32 == 0:
                await asyncio.sleep(0)
        if walks_at == length:
            raise Walked

    async def _killer(self) -> None:
        """Have another process open streams, and kill it."""
        while await self._turn():
            try:
                command = (sys.executable, __file__, "--victim", str(self._port))
                process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
                assert process.stdout is not None
                await process.stdout.readline()
                await asyncio.sleep(self._chance.uniform(0, 0.3))
                process.kill()
                await process.communicate()
                self._count("client killed", 0)
            finally:
                await self._over()
            await asyncio.sleep(10)

    def _count(self, what: str, items: int) -> None:
        self.counts[what] += 1
        self.items += items


async def _awaited(call: Awaitable[Any]) -> Any:
    return await call


async def victim(port: int) -> None:
    """Read streams until killed."""
    async with AsyncModel(base_url=f"127.0.0.1:{port}") as model:
        await model.available_methods()

        async def one(method: str, said: bool) -> None:
            async for _ in getattr(model, method)(1, 10**9):
                if said:
                    print("reading", flush=True)
                    said = False

        await asyncio.gather(*(one(method, method == "served") for method in ("served", "stepped", "together")))


async def fill(model: AsyncModel) -> None:
    """Have every thread of the worker in use at once: it starts them as they are needed, and keeps them."""
    async with contextlib.AsyncExitStack() as stack:
        streams = [await stack.enter_async_context(model.served(1, 10**9)) for _ in range(STREAMS)]
        await asyncio.gather(*(anext(stream) for stream in streams))
        await asyncio.gather(*(_awaited(model.meet()) for _ in range(THREADS)))


def _is_worker(pid: int) -> bool:
    return b"runner.workers.child" in Path(f"/proc/{pid}/cmdline").read_bytes()


async def read(model: AsyncModel, server: Server, patience: float) -> Reading:
    """Wait until nothing is under way, and return what is held.

    Raises:
        Wrong: something still is.
    """
    until = time.monotonic() + patience
    while True:
        said, held = await model.statistics(), await model.held()
        # This very connection's `held` may still be counted among the running.
        if not said.waiting_calls and not any(replica.running for replica in said.replicas) and not held["rows"]:
            break
        if time.monotonic() > until:
            running = [replica.running for replica in said.replicas]
            raise Wrong(
                f"nobody calls, and {said.waiting_calls} calls wait, {running} run, {held['rows']} rows are lent"
            )
        await asyncio.sleep(0.05)
    (worker,) = (pid for pid in family(server.pid) if _is_worker(pid))
    return Reading(
        said.tasks,
        *_held(server.pid),
        held["tasks"],
        *_held(worker),
        held["rows"] + held["row_waiters"],
    )


def _held(pid: int) -> tuple[int, int, int]:
    """Return the threads, open files and resident bytes of a process."""
    folder = Path("/proc", str(pid))
    resident = int(re.search(r"VmRSS:\s+(\d+) kB", (folder / "status").read_text())[1]) * 1024  # type: ignore[index]
    return len(list((folder / "task").iterdir())), len(list((folder / "fd").iterdir())), resident


def grown(readings: list[Reading]) -> list[str]:
    """Return what has grown from the first third of the readings to the last."""
    third = max(len(readings) // 3, 1)
    first, last = readings[:third], readings[-third:]
    found: list[str] = []
    for field in fields(Reading):
        before, after = ([getattr(reading, field.name) for reading in part] for part in (first, last))
        if field.name.endswith("memory"):
            low, high = statistics.median(before), min(after)  # what is in cycles stays until Python collects it
            allowed = low * MEMORY_SHARE + MEMORY_BYTES
        else:
            low, high = max(before), min(after)
            allowed = BREATH if field.name == "server_threads" else 0
        if high > low + allowed:
            found.append(f"{field.name.replace('_', ' ')} grew from {low:,} to {high:,}")
    return found


async def soak(server: Server, minutes: float, seed: int, patience: float) -> list[str]:
    """Call for so long; print readings, and return what is wrong."""
    async with AsyncModel(base_url=f"127.0.0.1:{server.port}") as model:
        await model.available_methods()
        callers = Callers(model, server.port, seed, patience)
        task = asyncio.create_task(callers.run())
        readings: list[Reading] = []
        await fill(model)
        began = time.monotonic()
        warm = began + min(WARM_UP, minutes * 60 / 4)
        end = began + minutes * 60
        print("| minute | calls | items | " + " | ".join(f.name.replace("_", " ") for f in fields(Reading)) + " |")
        print("| ---: " * (3 + len(fields(Reading))) + "|")
        try:
            for number in range(PAUSES + 1):
                until = warm + (end - warm) * number / PAUSES
                callers.resume()
                await asyncio.wait((task,), timeout=max(until - time.monotonic(), 0.0))
                if task.done():
                    break
                pause = asyncio.create_task(callers.pause())
                await asyncio.wait((task, pause), return_when=asyncio.FIRST_COMPLETED)
                pause.cancel()
                if task.done():
                    break
                reading = await read(model, server, patience)
                readings.append(reading)
                cells = (
                    f"{(time.monotonic() - began) / 60:.1f}",
                    f"{callers.counts.total():,}",
                    f"{callers.items:,}",
                    *(
                        f"{value / 1e6:.1f} MB" if name.endswith("memory") else str(value)
                        for name, value in ((f.name, getattr(reading, f.name)) for f in fields(Reading))
                    ),
                )
                print("| " + " | ".join(cells) + " |", flush=True)
            callers.stop()
            await task
        except BaseExceptionGroup as group:
            return [f"{type(exc).__name__}: {exc}" for exc in _leaves(group)]
        except Wrong as exc:
            return [str(exc)]
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        print("\n" + ", ".join(f"{what}: {count:,}" for what, count in sorted(callers.counts.items())))
        latency = (await model.statistics()).cancel_latency_seconds
        print(
            f"{latency.count:,} running calls were told to stop; free again after {latency.p50 * 1000:.1f} ms (p50), "
            f"{latency.p99 * 1000:.1f} ms (p99), {latency.longest * 1000:.1f} ms at most."
        )
        return grown(readings)


def _leaves(group: BaseExceptionGroup[Any]) -> list[BaseException]:
    found: list[BaseException] = []
    for exc in group.exceptions:
        found += _leaves(exc) if isinstance(exc, BaseExceptionGroup) else [exc]
    return found


def unexpected(log: str) -> list[str]:
    """Return what the server logged and should not have, with what follows: errors that are not the model's own."""
    errors = r"ERROR (?!(?:worker \d+ )?runner\.model)"
    words = re.compile(errors + "|never (?:retrieved|awaited)|Exception ignored|ResourceWarning")
    lines = log.splitlines()
    found = [number for number, line in enumerate(lines) if words.search(line)]
    return ["the server's log: " + "\n".join(lines[number : number + 40]) for number in found[:3]]


def main() -> int:
    """Soak and print; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10, help="how long (default 10)")
    parser.add_argument("--patience", type=float, default=30, help="seconds that a call may take (default 30)")
    parser.add_argument("--seed", type=int, default=1, help="of the chance (default 1)")
    parser.add_argument("--victim", metavar="PORT", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.victim:
        asyncio.run(victim(options.victim))
        return 0
    print(f"{machine()}; {CALLERS} callers, seed {options.seed}\n")
    command = [sys.executable, "-m", "runner", "serve", str(MODEL), "--port", "0"]
    with tempfile.TemporaryFile("w+", errors="replace") as log:
        try:
            with running(command, stderr=log) as server:
                breaches = asyncio.run(soak(server, options.minutes, options.seed, options.patience))
        except RuntimeError as exc:
            log.seek(0)
            sys.exit(f"soak: {exc}\n{log.read()}")
        log.seek(0)
        breaches += unexpected(log.read())
    for breach in breaches:
        print(f"soak: {breach}", file=sys.stderr)
    if not breaches:
        print("Nothing was wrong or missing, and nothing has grown.")
    return 1 if breaches else 0


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        sys.exit(main())
