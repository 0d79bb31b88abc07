"""A language model with continuous batching: tokens per second of one chat, of many, and of a bare batched loop.

The loop runs the example's network over its cache with all sequences in step, in a process of its own. Served, each
chat is a stream of the example `chat`, read by our asyncio client. All choose greedily, so that the work is the same.

    python benchmarks/chat.py [--streams 16] [--tokens 48] [--rounds 3]
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
from pathlib import Path

from bench import machine
from processes import running

from runner.client import AsyncModel
from runner.workers.cores import usable_cores

HERE = Path(__file__).parent
CHAT = HERE.parent / "examples" / "models" / "chat"
PROMPT = "Tell me a long story about a dog that goes to sea, number {}."


def offline(streams: int, tokens: int) -> float:
    """Return the tokens per second of the bare loop."""
    command = [sys.executable, __file__, "--offline", "--streams", str(streams), "--tokens", str(tokens)]
    # As many threads as the worker has: one core is left to the server.
    environment = {"OMP_NUM_THREADS": str(max(usable_cores() - 1, 1)), **os.environ}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    return float(json.loads(done.stdout))


def _offline(streams: int, tokens: int) -> float:
    sys.path.insert(0, str(CHAT))
    from model import Chat
    from network import Piece
    from template import conversation

    chat = Chat()
    chat.load_model()
    prompts = [
        chat.tokenizer.encode(conversation(PROMPT.format(number), None, None), add_special_tokens=False).ids
        for number in range(streams)
    ]
    started = time.perf_counter()
    said = [
        int(chat.net.forward([Piece(slot, 0, prompt)], chat.cache)[0].argmax()) for slot, prompt in enumerate(prompts)
    ]
    places = list(map(len, prompts))
    for _ in range(tokens - 1):
        pieces = [Piece(slot, places[slot], [said[slot]]) for slot in range(streams)]
        said = chat.net.forward(pieces, chat.cache).argmax(-1).tolist()
        places = [place + 1 for place in places]
    return streams * tokens / (time.perf_counter() - started)


async def served(port: int, streams: int, tokens: int) -> tuple[float, list[float]]:
    """Return the tokens per second of so many chats at once, and the seconds to the first word of each."""
    firsts: list[float] = []
    async with AsyncModel(base_url=f"127.0.0.1:{port}") as model:
        await model.available_methods()

        async def chat(number: int) -> int:
            started = time.perf_counter()
            pieces = 0
            async for _ in model.generate(PROMPT.format(number), max_tokens=tokens, temperature=0.0):
                if not pieces:
                    firsts.append(time.perf_counter() - started)
                pieces += 1
            return pieces

        started = time.perf_counter()
        counts = await asyncio.gather(*(chat(number) for number in range(streams)))
        return sum(counts) / (time.perf_counter() - started), firsts


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--streams", type=int, default=16, help="chats at once (default 16)")
    parser.add_argument("--tokens", type=int, default=48, help="tokens of each answer (default 48)")
    parser.add_argument("--rounds", type=int, default=3, help="pairs of loop and server (default 3)")
    parser.add_argument("--offline", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.offline:
        print(json.dumps(_offline(options.streams, options.tokens)))
        return
    ones: list[float] = []
    many: list[float] = []
    loops: list[float] = []
    firsts: list[float] = []
    with running([sys.executable, "-m", "runner", "serve", str(CHAT), "--port", "0"]) as server:
        asyncio.run(served(server.port, 2, 4))
        for _ in range(options.rounds):
            loops.append(offline(options.streams, options.tokens))
            ones.append(asyncio.run(served(server.port, 1, options.tokens))[0])
            rate, first = asyncio.run(served(server.port, options.streams, options.tokens))
            many.append(rate)
            firsts += first
    print(f"{machine()}; {options.tokens} tokens each; medians of {options.rounds} rounds\n")
    print(
        "| chats | tokens/s | of one chat | of the bare loop | first word, p50 s |\n"
        "| ---: | ---: | ---: | ---: | ---: |"
    )
    print(f"| 1 | {statistics.median(ones):.1f} | 1.0 | - | - |")
    of_one = statistics.median(a / b for a, b in zip(many, ones, strict=True))
    of_loop = statistics.median(a / b for a, b in zip(many, loops, strict=True))
    print(
        f"| {options.streams} | {statistics.median(many):.1f} | {of_one:.1f} | {of_loop:.2f} "
        f"| {statistics.median(firsts):.2f} |"
    )


if __name__ == "__main__":
    main()
