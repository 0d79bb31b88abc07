"""A language model with continuous batching: tokens per second of one chat, of many, and of a bare batched loop.

The loop has the example's model take steps with all sequences in step, in a process of its own: the same network, the
same cache, and on a GPU the same recorded graphs. Served, each chat is a stream of the example `chat`, read by our
asyncio client. All choose greedily, so that the work is the same, and all prompts come at once.

With `--random-weights` the network has the same sizes and says nonsense: it takes torch, and no package with weights.

    python benchmarks/chat.py [--streams 16] [--tokens 48] [--rounds 3] [--random-weights] [--devices auto]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from bench import machine
from processes import running

from runner.client import AsyncModel
from runner.workers.cores import usable_cores

HERE = Path(__file__).parent
CHAT = HERE.parent / "examples" / "models" / "chat"
RANDOM = HERE / "models" / "random-chat"
PROMPT = "Tell me a long story about a dog that goes to sea, number {}."
TELLING = 0.25  # seconds after which the server knows of the last batch: it is told ten times a second


class Loop:
    """The bare loop, in a process of its own that waits between two runs."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def rate(self, streams: int, tokens: int) -> float:
        """Run once; return tokens per second."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{streams} {tokens}\n")
        self._process.stdin.flush()
        return float(json.loads(self._process.stdout.readline()))


@contextmanager
def loop(directory: Path, device: str) -> Iterator[Loop]:
    """Load the model in a process of its own."""
    command = [sys.executable, __file__, "--loop", str(directory), "--devices", device]
    # As many threads as the worker has: one core is left to the server.
    environment = {"OMP_NUM_THREADS": str(max(usable_cores() - 1, 1)), **os.environ}
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        found = Loop(process)
        found.rate(2, 4)  # warm
        yield found
        assert process.stdin is not None
        process.stdin.close()


def _loop(directory: Path, device: str) -> None:
    """Serve runs until the input ends."""
    from runner.execution.loading import load_class, load_model

    chat: Any = load_model(load_class(directory), device)
    for line in sys.stdin:
        streams, tokens = map(int, line.split())
        print(json.dumps(_run(chat, streams, tokens)), flush=True)


def _run(chat: Any, streams: int, tokens: int) -> float:
    from model import GREEDY, Piece, Step  # of the example, whose directory is on the path now
    from template import conversation

    started = time.perf_counter()
    prompts = [chat.vocabulary.tokens(conversation(PROMPT.format(number), None)) for number in range(streams)]
    said: list[list[int]] = []
    group: list[Step] = []
    for slot, prompt in enumerate(prompts):
        if group and sum(len(step.piece.tokens) for step in group) + len(prompt) > chat.budget:
            said += chat._read(group)
            group = []
        group.append(Step(Piece(slot, 0, prompt), 1, GREEDY))
    said += chat._read(group)
    places = list(map(len, prompts))
    left = tokens - 1
    while left:
        steps = [
            Step(Piece(slot, places[slot], said[slot][-1:]), min(chat.ahead, left), GREEDY) for slot in range(streams)
        ]
        said = chat._read(steps)
        places = [place + len(said[0]) for place in places]
        left -= len(said[0])
    return streams * tokens / (time.perf_counter() - started)


@dataclass
class Served:
    """What callers saw. Times in seconds."""

    tokens: int = 0
    seconds: float = 0.0
    firsts: list[float] = field(default_factory=list[float])
    gaps: list[float] = field(default_factory=list[float])
    mean_batch: float = 0.0
    busy: float = 0.0
    """Share of the time in which a batch ran."""

    @property
    def rate(self) -> float:
        """Tokens per second, from the first question to the last word."""
        return self.tokens / self.seconds


async def served(port: int, streams: int, tokens: int) -> Served:
    """Have so many chats at once."""
    found = Served()

    async def chat(number: int) -> None:
        asked = time.perf_counter()
        pieces = model.generate(PROMPT.format(number), max_tokens=tokens, temperature=0.0)
        heard = [time.perf_counter() async for _ in pieces]
        found.firsts.append(heard[0] - asked)
        found.gaps += [later - earlier for earlier, later in pairwise(heard)]
        found.tokens += tokens

    async with AsyncModel(base_url=f"127.0.0.1:{port}") as model:
        await model.available_methods()
        before = await _batches(model)
        started = time.perf_counter()
        await asyncio.gather(*(chat(number) for number in range(streams)))
        found.seconds = time.perf_counter() - started
        after = await _batches(model)
    found.mean_batch = (after[1] - before[1]) / (after[0] - before[0])
    found.busy = (after[2] - before[2]) / found.seconds
    return found


async def _batches(model: AsyncModel) -> tuple[int, int, float]:
    """Return the batches so far, the steps in them, and the seconds that they took."""
    await asyncio.sleep(TELLING)
    (point,) = [point for point in (await model.statistics()).points if point.name == "read"] or [None]
    return (point.batches, point.entries, point.seconds) if point is not None else (0, 0, 0.0)


async def joining(port: int, streams: int) -> float:
    """Return the seconds to the first word of one more chat while so many run."""
    running_all = asyncio.Event()
    waiting = streams

    async def chat(number: int) -> None:
        nonlocal waiting
        pieces = aiter(model.generate(PROMPT.format(number), max_tokens=1000, temperature=0.0))
        await anext(pieces)
        waiting -= 1
        if not waiting:
            running_all.set()
        async for _ in pieces:
            pass

    async with AsyncModel(base_url=f"127.0.0.1:{port}") as model:
        await model.available_methods()
        tasks = [asyncio.create_task(chat(number)) for number in range(streams)]
        await running_all.wait()
        asked = time.perf_counter()
        await anext(aiter(model.generate(PROMPT.format(streams), max_tokens=2, temperature=0.0)))
        seconds = time.perf_counter() - asked
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return seconds


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--streams", type=int, default=16, help="chats at once (default 16)")
    parser.add_argument("--tokens", type=int, default=48, help="tokens of each answer (default 48)")
    parser.add_argument("--rounds", type=int, default=3, help="pairs of loop and server (default 3)")
    parser.add_argument("--random-weights", action="store_true", help="a network of the same sizes that knows nothing")
    parser.add_argument("--devices", default="auto", help="where: auto, cpu, cuda:0 (default auto)")
    parser.add_argument("--loop", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.loop is not None:
        _loop(options.loop, options.devices)
        return
    directory = RANDOM if options.random_weights else CHAT
    import torch  # late: the loop's process takes its threads from its environment

    on_gpu = options.devices != "cpu" and torch.cuda.is_available()
    device = "cpu" if not on_gpu else "cuda:0" if options.devices == "auto" else options.devices
    where = torch.cuda.get_device_name() if on_gpu else "on the CPU"
    ones: list[Served] = []
    many: list[Served] = []
    loops: list[float] = []
    joins: list[float] = []
    command = [sys.executable, "-m", "runner", "serve", str(directory), "--port", "0", "--devices", device]
    with running(command) as server, loop(directory, device) as bare:
        asyncio.run(served(server.port, options.streams, 10))
        for _ in range(options.rounds):
            loops.append(bare.rate(options.streams, options.tokens))
            ones.append(asyncio.run(served(server.port, 1, options.tokens)))
            many.append(asyncio.run(served(server.port, options.streams, options.tokens)))
            joins.append(asyncio.run(joining(server.port, options.streams - 1)))
    print(
        f"{machine()}; {where}; torch {torch.__version__}; {'random' if options.random_weights else 'its own'} weights;"
    )
    print(f"{options.tokens} tokens each; medians of {options.rounds} rounds\n")
    print(
        "| chats | loop, tokens/s | served, tokens/s | of the loop | of one chat | mean batch | busy "
        "| first word, p50 ms | p99 ms | between pieces, p50 ms | p99 ms | first word of one more, ms |"
    )
    print("| ---: " * 12 + "|")
    median = statistics.median
    print(f"| 1 | - | {median(run.rate for run in ones):.1f} | - | 1.0 | {_times(ones)} | - |")
    of_loop = median(run.rate / rate for run, rate in zip(many, loops, strict=True))
    of_one = median(run.rate / one.rate for run, one in zip(many, ones, strict=True))
    print(
        f"| {options.streams} | {median(loops):.1f} | {median(run.rate for run in many):.1f} | {of_loop:.2f} "
        f"| {of_one:.1f} | {_times(many)} | {median(joins) * 1e3:.0f} |"
    )


def _times(runs: list[Served]) -> str:
    """Return the cells from the mean batch to the gaps."""
    batch, busy = (statistics.median(getattr(run, name) for run in runs) for name in ("mean_batch", "busy"))
    firsts = sorted(first for run in runs for first in run.firsts)
    gaps = sorted(gap for run in runs for gap in run.gaps)
    cells = [f"{_share(times, share) * 1e3:.1f}" for times in (firsts, gaps) for share in (0.5, 0.99)]
    return " | ".join([f"{batch:.1f}", f"{busy:.2f}", *cells])


def _share(ordered: list[float], share: float) -> float:
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)]


if __name__ == "__main__":
    main()
