"""A real server under load while things are done to it, and a verdict about every call: `scripts/chaos`.

Callers run side by side, each one call after the other, of all kinds of methods. Every call has an id, which is in its
answer, and which the model writes down before it does anything. At the end, what callers saw, what has run and what was
killed are held against each other.

Faults, one after the other at every period:

    kill     SIGKILL, which is also what the kernel's out-of-memory killer sends
    stop     SIGSTOP for less time than makes a worker count as hung, then SIGCONT
    freeze   SIGSTOP for good
    exit     a method ends its process in the middle of a call
    exhaust  a method asks for more memory than there is
    hang     a method never ends, and has `max_run_seconds`
    stall    a method outlasts its caller's deadline

`--full-shm` gives the server a /dev/shm of its own, which is full: nothing here may need it. A slow disk and a jump of
the clock have no fault. Once a model is loaded, no call waits for a disk, and the wall clock is read nowhere:
`test_assumptions.py` looks for both in the sources.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import datetime
import json
import os
import platform
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from runner.client import AsyncModel
from runner.errors import CallError, DeadlineExceeded, ModelError, ModelFailing, ModelLoading, Overloaded, WorkerLost
from tests.chaos.verdict import Called, End, Kill, Verdict, judge

MODEL = Path(__file__).parent / "model"

HANGING = 20.0
"""seconds after which a call counts as hanging. A worker is back within one or two."""

STOPPED = 1.0
"""seconds between SIGSTOP and SIGCONT."""

STOP_SECONDS = 30.0
"""in which a server has to end after SIGTERM."""

KINDS = (("once", 25), ("again", 25), ("think", 10), ("together", 15), ("count", 8), ("count_again", 8), ("echo", 5))
KINDS += (("collect", 4),)
"""Methods, and how many of a hundred calls go to each."""

REPEATABLE = frozenset(("again", "think", "together", "count_again"))

FAULTS = ("kill", "stop", "freeze", "exit", "exhaust", "hang", "stall")

FULL_SHM = ("unshare", "--mount", "sh", "-c")
_FILL = 'mount -t tmpfs -o size=4096 none /dev/shm && ! head -c 8192 /dev/zero > /dev/shm/full 2>&- && exec "$@"'


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is done.

    Attributes:
        seconds: how long; 0: until there were enough calls.
        calls: how many; 0: until the time is up.
        callers: how many there are side by side.
        replicas: workers.
        faults: names from `FAULTS`.
        period: seconds between two faults.
        seed: of all that is drawn.
        full_shm: there is no room in /dev/shm.
        transport: the server's.
    """

    seconds: float = 0.0
    calls: int = 0
    callers: int = 24
    replicas: int = 3
    faults: Sequence[str] = ("kill",)
    period: float = 2.0
    seed: int = 0
    full_shm: bool = False
    transport: str = "native"


class Server:
    """`runner serve` with the chaos model, and the ledger of its workers."""

    def __init__(self, process: subprocess.Popen[str], base_url: str, ledger: Path) -> None:
        self.process = process
        self.base_url = base_url
        self._ledger = ledger

    def ready_workers(self) -> list[int]:
        """Return the workers that have loaded the model and are alive."""
        return [pid for pid in map(int, os.listdir(self._ledger)) if _alive(pid)]

    def runs(self) -> dict[str, list[int]]:
        """Return which processes have run each call."""
        runs: dict[str, list[int]] = {}
        for file in self._ledger.iterdir():
            for call in file.read_text().split():
                runs.setdefault(call, []).append(int(file.name))
        return runs


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def can_fill_shm() -> bool:
    """Tell whether this machine lets us give a process a full /dev/shm."""
    try:
        return subprocess.run([*FULL_SHM, _FILL, "sh", "true"], capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


@contextlib.contextmanager
def serving(plan: Plan) -> Iterator[Server]:
    """Run a server until the block ends; it has to exit with 0 then."""
    with tempfile.TemporaryDirectory() as folder:
        ledger = Path(folder, "ledger")
        ledger.mkdir()
        config = Path(folder, "config.yaml")
        settings = {"replicas": plan.replicas, "num_threads": 8, "max_streams": 32, "transport": plan.transport}
        config.write_text(json.dumps(settings))
        command = [sys.executable, "-m", "runner", "serve", str(MODEL), "--port", "0", "--config", str(config)]
        if plan.full_shm:
            command = [*FULL_SHM, _FILL, "sh", *command]
        environment = os.environ | {"CHAOS_LEDGER": str(ledger)}
        with Path(folder, "log").open("w+") as log:
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, env=environment, text=True)
            assert process.stdout is not None
            try:
                for line in process.stdout:
                    if match := re.fullmatch(r"serving \S+ on (\S+)\n", line):
                        yield Server(process, f"http://{match[1]}", ledger)
                        break
                else:
                    raise RuntimeError(f"the server exited with {process.wait()}")
            finally:
                process.terminate()
                try:
                    code = process.wait(STOP_SECONDS)
                except subprocess.TimeoutExpired:
                    process.kill()
                    code = process.wait()
                process.stdout.close()
        if code:
            raise RuntimeError(f"the server exited with {code} after SIGTERM")


class Driver:
    """Calls a server and does things to it. Owns the records of both."""

    def __init__(self, plan: Plan, server: Server) -> None:
        self._plan = plan
        self._server = server
        self._random = random.Random(plan.seed)
        self._sent = 0
        self._over = asyncio.Event()
        self.calls: list[Called] = []
        self.kills: list[Kill] = []
        self.faults: Counter[str] = Counter()

    async def run(self) -> Verdict:
        """Return the verdict when it is over."""
        model = AsyncModel(base_url=self._server.base_url, timeout=HANGING)
        async with model, asyncio.TaskGroup() as group:
            if self._plan.seconds:
                asyncio.get_running_loop().call_later(self._plan.seconds, self._over.set)
            callers = [group.create_task(self._call_on(model)) for _ in range(self._plan.callers)]
            faults = group.create_task(self._do_things(model))
            await asyncio.wait(callers)
            self._over.set()
            await faults
        return judge(self.calls, self._server.runs(), self.kills, sent=self._sent)

    # Callers.

    async def _call_on(self, model: AsyncModel) -> None:
        names, weights = zip(*KINDS, strict=True)
        while not self._over.is_set() and not (self._plan.calls and self._sent >= self._plan.calls):
            (method,) = self._random.choices(names, weights)
            await self._call(model, method)

    async def _call(self, model: AsyncModel, method: str, expected: type[CallError] | None = None) -> None:
        """Make one call and record how it ended."""
        self._sent += 1
        call = f"c{self._sent}"
        told = ""
        items: list[str] = []
        try:
            async with asyncio.timeout(HANGING):
                end = await self._answer(model, method, call, items)
        except TimeoutError:
            end = End.HANGING
        except WorkerLost as exc:
            end, told = End.WORKER_LOST, exc.message
        except (Overloaded, ModelLoading, ModelFailing) as exc:
            end, told = End.REFUSED, exc.message
        except CallError as exc:
            asked_for = expected is not None and isinstance(exc, expected)
            end, told = End.EXPECTED if asked_for else End.OTHER, f"{type(exc).__name__}: {exc}"
            if isinstance(exc, DeadlineExceeded) and not asked_for:
                end = End.HANGING
        self.calls.append(
            Called(
                id=call,
                method=method,
                repeatable=method in REPEATABLE,
                end=end,
                at=time.monotonic(),
                told=told,
                begun=bool(items),
            )
        )

    async def _answer(self, model: AsyncModel, method: str, call: str, got: list[str]) -> End:
        """Return how a call ended that did not fail; `got` gets the items of its stream as they come."""
        seconds = self._random.choice((0.0, 0.002, 0.005, 0.01, 0.02))
        items = self._random.choice((1, 3, 10))
        words = [f"w{number}" for number in range(items)]
        match method:
            case "count" | "count_again":
                stream = getattr(model, method)(call, seconds, items)
                wanted = [f"{method} {call} {number}" for number in range(items)]
            case "echo":
                stream = model.echo(call, words)
                wanted = [f"echo {call} {word}" for word in words]
            case "collect":
                return _judged([await model.collect(call, words)], [f"collect {call} {' '.join(words)}"])
            case "exit" | "exhaust" | "hang":
                await getattr(model, method)(call)
                return End.WRONG
            case "stall":
                await model.stall(call, 2.0, timeout=0.2)
                return End.WRONG
            case _:
                return _judged([await getattr(model, method)(call, seconds)], [f"{method} {call}"])
        async for item in stream:
            got.append(item)
        return _judged(got, wanted)

    # Faults.

    async def _do_things(self, model: AsyncModel) -> None:
        turn = 0
        while True:
            try:
                async with asyncio.timeout(self._plan.period):
                    await self._over.wait()
                return
            except TimeoutError:
                pass
            fault = self._plan.faults[turn % len(self._plan.faults)]
            turn += 1
            self.faults[fault] += 1
            match fault:
                case "kill":
                    self._kill()
                case "stop":
                    await self._stop()
                case "freeze":
                    self._signal(signal.SIGSTOP)
                case "hang":
                    await self._call(model, "hang", WorkerLost)
                case "exit":
                    await self._call(model, "exit", WorkerLost)
                case "exhaust":
                    await self._call(model, "exhaust", ModelError)
                case _:
                    await self._call(model, "stall", DeadlineExceeded)

    def _kill(self) -> None:
        now = time.monotonic()
        if pid := self._signal(signal.SIGKILL):
            self.kills.append(Kill(pid, now))

    async def _stop(self) -> None:
        if pid := self._signal(signal.SIGSTOP):
            await asyncio.sleep(STOPPED)
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> int:
        """Send a signal to some worker that serves; return its process, 0 if there is none now."""
        workers = self._server.ready_workers()
        if not workers:
            return 0
        pid = self._random.choice(workers)
        os.kill(pid, number)
        return pid


def _judged(got: list[str], wanted: list[str]) -> End:
    if got == wanted:
        return End.RIGHT
    return End.LOST if got == wanted[: len(got)] else End.WRONG


def run(plan: Plan) -> tuple[Verdict, Counter[str], float]:
    """Do it; return the verdict, how often each fault was caused, and the seconds it took."""
    with serving(plan) as server:
        started = time.monotonic()

        async def drive() -> tuple[Verdict, Counter[str]]:
            driver = Driver(plan, server)
            return await driver.run(), driver.faults

        verdict, faults = asyncio.run(drive())
        return verdict, faults, time.monotonic() - started


def main() -> int:
    """Do what the command line says; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="scripts/chaos", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=0.0, help="how long (default 1, unless --calls is given)")
    parser.add_argument("--calls", type=int, default=0, help="how many calls")
    parser.add_argument("--callers", type=int, default=24, help="callers side by side (default 24)")
    parser.add_argument("--replicas", type=int, default=3, help="workers (default 3)")
    parser.add_argument("--faults", default="kill", help=f"of {', '.join(FAULTS)}, or all (default kill)")
    parser.add_argument("--period", type=float, default=2.0, help="seconds between two faults (default 2)")
    parser.add_argument("--full-shm", action="store_true", help="with a full /dev/shm; needs the right to mount")
    parser.add_argument("--transport", default="native", help="the server's: native (default) or grpcio")
    parser.add_argument("--seed", type=int, default=0, help="another one draws other calls")
    options = parser.parse_args()
    faults = FAULTS if options.faults == "all" else tuple(options.faults.split(","))
    if unknown := [fault for fault in faults if fault not in FAULTS]:
        parser.error(f"there is no fault {unknown[0]!r}")
    plan = Plan(
        seconds=options.minutes * 60 or (0.0 if options.calls else 60.0),
        calls=options.calls,
        callers=options.callers,
        replicas=options.replicas,
        faults=faults,
        period=options.period,
        seed=options.seed,
        full_shm=options.full_shm,
        transport=options.transport,
    )
    verdict, caused, seconds = run(plan)
    print(f"{os.cpu_count()} cores; Python {platform.python_version()}; {datetime.date.today()}")
    print(f"{seconds:.0f} s, {verdict.calls / seconds:.0f} calls/s, {plan.replicas} replicas, faults: {dict(caused)}")
    print(verdict.text())
    return 0 if verdict.kept else 1


if __name__ == "__main__":
    sys.exit(main())
