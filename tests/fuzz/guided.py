"""Fuzzing that follows coverage: atheris changes what reached new code before, our mutator proposes half the changes.

Needs the extra `fuzz`. What a run finds replaces the corpus, after everything that reaches no other code was left out.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from random import Random
from types import FrameType
from typing import Any

from tests.fuzz import corpus

CASE_BYTES = 2
LIMITS = ("-timeout=5", "-rss_limit_mb=3072", "-max_len=4096", "-print_final_stats=0", "-verbosity=0")


def _child(name: str, arguments: list[str]) -> None:
    import atheris  # pyright: ignore[reportMissingImports]

    # What is imported in here tells which of its branches were taken.
    with atheris.instrument_imports(
        include=[
            "runner.wire",
            "runner.signature",
            "runner.workers",
            "runner.client",
            "runner.http2",
            "runner.server.ingress",
        ]
    ):
        from tests.fuzz.mutation import Mutator
        from tests.fuzz.targets import TARGETS
    target = next(target for target in TARGETS if target.name == name)
    seeds = list(target.seeds())

    def run(data: bytes) -> None:
        target.run(int.from_bytes(data[:CASE_BYTES], "little") % 200, data[CASE_BYTES:])

    def mutate(data: bytes, max_size: int, seed: int) -> bytes:
        random = Random(seed)
        if random.random() < 0.5 or len(data) < CASE_BYTES:
            return atheris.Mutate(data, max_size)
        mutator = Mutator(random, seeds)
        return (data[:CASE_BYTES] + mutator.changed(data[CASE_BYTES:]))[:max_size]

    cases = max(case for case, _ in seeds) + 1

    def guarded(data: bytes) -> None:
        if len(data) >= CASE_BYTES and int.from_bytes(data[:CASE_BYTES], "little") < cases:
            run(data)

    atheris.Setup([sys.argv[0], *arguments], guarded, custom_mutator=mutate)
    atheris.Fuzz()


def _reaching(run: Callable[[int, bytes], None], messages: Iterable[tuple[int, bytes]]) -> list[tuple[int, bytes]]:
    """Return messages that go every way which any of these goes, the shortest for each."""
    here: set[tuple[str, int, int]] = set()
    last: dict[FrameType, int] = {}

    def trace(frame: FrameType, event: str, _: object) -> Any:
        if event == "call":
            if "/runner/" not in frame.f_code.co_filename:
                return None
        elif event == "line":
            here.add((frame.f_code.co_filename, last.get(frame, 0), frame.f_lineno))
            last[frame] = frame.f_lineno
        return trace

    reached: set[tuple[str, int, int]] = set()
    chosen: list[tuple[int, bytes]] = []
    for case, message in sorted(messages, key=lambda pair: len(pair[1])):
        here.clear()
        last.clear()
        sys.settrace(trace)
        try:
            run(case, message)
        finally:
            sys.settrace(None)
        if not here <= reached:
            reached |= here
            chosen.append((case, message))
    return chosen


def run_guided(names: list[str], *, seconds: float) -> int:
    """Run targets one after the other; return the exit code."""
    from tests.fuzz.targets import TARGETS

    failed = 0
    keep = Path("build/fuzz")
    keep.mkdir(parents=True, exist_ok=True)
    for target in TARGETS:
        if target.name not in names:
            continue
        with tempfile.TemporaryDirectory() as found:
            for number, (case, message) in enumerate([*target.seeds(), *corpus.read(target.name)]):
                Path(found, f"seed-{number}").write_bytes(case.to_bytes(CASE_BYTES, "little") + message)
            command = [sys.executable, "-m", "tests.fuzz.guided", target.name, *LIMITS]
            command += [f"-artifact_prefix={keep}/{target.name}-"]
            code = subprocess.run([*command, f"-max_total_time={int(seconds)}", found], check=False).returncode
            if code:
                failed += 1
                print(f"{target.name}: a message failed; it is in {keep}", flush=True)
                continue
            blobs = [path.read_bytes() for path in Path(found).iterdir()]
        messages = [(int.from_bytes(blob[:CASE_BYTES], "little"), blob[CASE_BYTES:]) for blob in blobs]
        kept = corpus.replace_found(target.name, _reaching(target.run, messages))
        print(f"{target.name}: {kept} of {len(messages)} messages kept", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    arguments: Any = sys.argv
    _child(arguments[1], arguments[2:])
