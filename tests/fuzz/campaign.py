"""Fuzz each target for so many messages, or so long, and print what was seen: `scripts/fuzz`.

Every target runs in a process of its own, with a limit on its memory. A message has failed if something is raised that
is not documented, if it takes longer than a second, or if it takes more memory than it may. The process writes each
message down before it reads it, so that one which kills or stops it is known as well.

`--guided` lets a coverage-guided fuzzer (atheris, the extra `fuzz`) choose what to change, and starts from the corpus.
"""

from __future__ import annotations

import argparse
import datetime
import faulthandler
import hashlib
import json
import mmap
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random

from tests.fuzz.mutation import Mutator, repeated
from tests.fuzz.targets import TARGETS, Target

MAX_SECONDS = 1.0
"""of processor time, for one message."""

MAX_GROWTH = 64 << 20
"""bytes by which one message may raise the process's high-water mark: messages have 128 KiB at most."""

MAX_ADDRESS_SPACE = 4 << 30
"""bytes beyond what the process has when it starts; the frames under way on a link may reserve 2 GiB, which nothing
touches before they come. What asks for more gets a MemoryError."""

QUIET_SECONDS = 20.0
"""after which a process that says nothing is taken to hang."""

TELL_EVERY = 2000
_SLOT = 1 << 20
_HEAD = 8


@dataclass(slots=True)
class Seen:
    """What a process has seen. Times in seconds, growth in bytes."""

    messages: int = 0
    total_bytes: int = 0
    seconds: float = 0.0
    slowest: float = 0.0
    growth: int = 0


@dataclass(frozen=True, slots=True)
class Remarkable:
    """A message to keep. `failure`: how it failed; empty if it did not, and was only the slowest."""

    target: str
    case: int
    message: bytes
    failure: str

    def keep(self, folder: Path) -> Path:
        """Write it to a file, as the corpus has it: two bytes for the case, and the message."""
        folder.mkdir(parents=True, exist_ok=True)
        name = hashlib.sha256(self.message).hexdigest()[:12] if self.failure else "slowest"
        file = folder / f"{self.target}-{name}"
        file.write_bytes(self.case.to_bytes(2, "little") + self.message)
        return file


class TooSlow(Exception):
    """A message took longer than a second."""


class TooLarge(Exception):
    """A message took more memory than it may."""


class Watch:
    """Runs a target's messages and measures each."""

    def __init__(self, target: Target, slot: mmap.mmap | None = None) -> None:
        self.seen = Seen()
        self.slowest: tuple[int, bytes] = 0, b""
        self._run = target.run
        self._slot = slot

    def __call__(self, case: int, message: bytes) -> None:
        """Run one message.

        Raises:
            Exception: it has failed.
        """
        if self._slot is not None:
            self._slot[: _HEAD + len(message)] = (
                case.to_bytes(4, "little") + len(message).to_bytes(4, "little") + message
            )
        peak, started = _peak(), time.process_time()
        self._run(case, message)
        took, growth = time.process_time() - started, _peak() - peak
        seen = self.seen
        seen.messages += 1
        seen.total_bytes += len(message)
        seen.growth = max(seen.growth, growth)
        if took > seen.slowest:
            seen.slowest, self.slowest = took, (case, message)
        if took > MAX_SECONDS:
            raise TooSlow(f"{took:.2f} s for {len(message)} bytes")
        if growth > MAX_GROWTH:
            raise TooLarge(f"{growth >> 20} MiB for {len(message)} bytes")


def _peak() -> int:
    """Return the most memory that this process has had at any time, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def on_purpose() -> Iterator[bytes]:
    """Long messages of very many small things, at each place that can hold them."""
    size = 120_000
    for field in (b"\x0a\x00", b"\x12\x00", b"\x22\x00", b"\x9a\x01\x00", b"\x1a\x00", b"\x5a\x00", b"\x08\x01"):
        yield repeated(field, size)
        yield repeated(field, size, 2)
        yield repeated(field, size, 4, 2)
        yield repeated(field, size, 2, 5)
        yield repeated(field, size, 4, 2, 5)
        yield repeated(field, size, 2, 19, 1)
    shape = repeated(b"\x10\xff\xff\xff\xff\x0f", size)
    for around in ((2, 19, 1, 20), (6, 19, 1, 20), (2, 20)):
        yield repeated(shape, len(shape), *around)


def run_messages(target: Target, watch: Watch, *, seed: int, messages: int, seconds: float) -> Iterator[None]:
    """Run a target's messages, and yield now and then. Ends after so many messages or so long, if that is not 0."""
    mutator = Mutator(Random(f"{target.name} {seed}"), list(target.seeds()))
    for case, message in target.seeds():
        watch(case, message)
    for message in on_purpose():
        for case in range(0, 40, 7):
            watch(case, message)
    started = time.perf_counter()
    while (not messages or watch.seen.messages < messages) and (not seconds or time.perf_counter() - started < seconds):
        for _ in range(min(TELL_EVERY, messages - watch.seen.messages) if messages else TELL_EVERY):
            watch(*mutator.message())
        watch.seen.seconds = time.perf_counter() - started
        yield


def _child(name: str, slot_path: str, seed: int, messages: int, seconds: float) -> None:
    """Run one target in this process, and say on stdout how far it is, in lines of JSON."""
    faulthandler.enable()
    target = next(target for target in TARGETS if target.name == name)
    with open(slot_path, "r+b") as file:
        watch = Watch(target, mmap.mmap(file.fileno(), _SLOT))
    here = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (here + MAX_ADDRESS_SPACE, resource.RLIM_INFINITY))
    try:
        for _ in run_messages(target, watch, seed=seed, messages=messages, seconds=seconds):
            print(json.dumps(asdict(watch.seen)), flush=True)
    except BaseException as exc:
        frames = "".join(traceback.format_exception(exc, limit=-6, chain=False))
        print(json.dumps(asdict(watch.seen) | {"failure": frames}), flush=True)
        sys.exit(1)
    case, message = watch.slowest
    print(json.dumps(asdict(watch.seen) | {"slowest_message": f"{case} {message.hex()}"}), flush=True)


def run_target(target: Target, *, seed: int, messages: int, seconds: float) -> tuple[Seen, Remarkable]:
    """Run one target in a process of its own; return the message that failed, or else the slowest one."""
    seen = Seen()
    with tempfile.NamedTemporaryFile() as slot:
        slot.truncate(_SLOT)
        command = [sys.executable, "-m", "tests.fuzz.campaign", "--child", target.name, slot.name]
        command += [str(seed), str(messages), str(seconds)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        reason = slowest = ""
        watchdog = _Watchdog(process)
        for line in process.stdout:
            watchdog.heard()
            told = json.loads(line)
            reason = told.pop("failure", "")
            slowest = told.pop("slowest_message", "")
            seen = Seen(**told)
        watchdog.stop()
        code = process.wait()
        process.stdout.close()
        if watchdog.barked:
            reason = f"nothing was heard for {QUIET_SECONDS:g} s: it hangs"
        elif code and not reason:
            reason = f"the process ended with {code}"
        if not reason:
            case_of_slowest, _, text = slowest.partition(" ")
            return seen, Remarkable(target.name, int(case_of_slowest), bytes.fromhex(text), "")
        raw = Path(slot.name).read_bytes()
    case, size = (int.from_bytes(raw[start : start + 4], "little") for start in (0, 4))
    return seen, Remarkable(target.name, case, raw[_HEAD : _HEAD + size], reason)


class _Watchdog:
    """Kills a process that has said nothing for too long."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        import threading

        self.barked = False
        self._process = process
        self._heard = threading.Event()
        self._over = False
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()

    def heard(self) -> None:
        self._heard.set()

    def stop(self) -> None:
        self._over = True
        self._heard.set()
        self._thread.join()

    def _watch(self) -> None:
        while self._heard.wait(QUIET_SECONDS):
            self._heard.clear()
            if self._over:
                return
        self.barked = True
        self._process.kill()


def machine() -> str:
    """Return one line about where and when this was run."""
    cpuinfo = Path("/proc/cpuinfo")
    models = [line.partition(":")[2].strip() for line in cpuinfo.read_text().splitlines() if "model name" in line]
    name = models[0] if models else platform.machine()
    return f"{name}, {os.cpu_count()} cores; Python {platform.python_version()}; {datetime.date.today()}"


def report(rows: Sequence[tuple[Target, Seen]]) -> str:
    """Return a Markdown table."""
    lines = [
        "| target | messages | mean bytes | µs each | slowest | most memory for one |",
        "| --- " + "| ---: " * 5 + "|",
    ]
    for target, seen in rows:
        count = max(seen.messages, 1)
        lines.append(
            f"| {target.name} | {seen.messages:,} | {seen.total_bytes / count:,.0f} | {seen.seconds / count * 1e6:.0f} "
            f"| {seen.slowest * 1e3:.1f} ms | {seen.growth / 2**20:.1f} MiB |"
        )
    return "\n".join(lines)


def main() -> int:
    """Run what the command line says; return the exit code."""
    if sys.argv[1:2] == ["--child"]:
        name, slot, seed, messages, seconds = sys.argv[2:]
        _child(name, slot, int(seed), int(messages), float(seconds))
        return 0
    parser = argparse.ArgumentParser(
        prog="scripts/fuzz", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = [target.name for target in TARGETS]
    parser.add_argument("--messages", type=int, default=0, help="messages for each target (default 20,000)")
    parser.add_argument("--seconds", type=float, default=0.0, help="seconds for each target, instead")
    parser.add_argument("--targets", default=",".join(names), help=f"some of {', '.join(names)}")
    parser.add_argument("--seed", type=int, default=0, help="another one gives other messages")
    parser.add_argument("--guided", action="store_true", help="let coverage guide; needs atheris")
    parser.add_argument("--keep", type=Path, default=Path("build/fuzz"), help="where failing and slow messages go")
    options = parser.parse_args()
    wanted = options.targets.split(",")
    if unknown := [name for name in wanted if name not in names]:
        parser.error(f"there is no target {unknown[0]!r}")
    messages = options.messages or (0 if options.seconds else 20_000)
    chosen = [target for target in TARGETS if target.name in wanted]
    if options.guided:
        from tests.fuzz.guided import run_guided

        return run_guided([target.name for target in chosen], seconds=options.seconds or 30.0)
    rows: list[tuple[Target, Seen]] = []
    failures = 0
    for target in chosen:
        seen, remarkable = run_target(target, seed=options.seed, messages=messages, seconds=options.seconds)
        rows.append((target, seen))
        file = remarkable.keep(options.keep)
        if remarkable.failure:
            failures += 1
            print(f"{target.name}, in {file}:\n{remarkable.message[:200].hex()}\n{remarkable.failure}\n", flush=True)
    total = sum(seen.messages for _, seen in rows)
    print(f"{total:,} messages, {failures} failures; {machine()}\n\n{report(rows)}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
