"""What is left of a server when ten times as many calls come as it can answer: a Markdown table.

Capacity is set by a model that takes 20 ms for a batch of two: 100 calls a second, a tenth of what the callers' side
and the server's transport can do on two cores. Calls are offered in an open loop at rates up to ten times the capacity,
one after the other against one server. Goodput is what was answered with a result, without the first second of a step;
refused calls have to hear so at once, and accepted ones may wait for the configured queue and no longer.

    python benchmarks/overload.py [--seconds 8] [--batch 2] [--queue 20] [--transport grpcio]

Exits with 1 if goodput at ten times the capacity is under 90% of the best step's, a refusal took longer than 50 ms (the
99th percentile), an accepted call longer than the queue explains, or memory grew.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench import machine, request
from open_loop import Generator, Offered
from processes import Server, running

from runner.wire.pb import inference_pb2 as pb

HERE = Path(__file__).parent
PATH = "/runner.v1.Inference/PostModelOutputs"
BATCH_SECONDS = 0.02
STEPS = (0.5, 1.0, 1.5, 3.0, 10.0)
"""Multiples of the capacity."""

SETTLING = 1.0
"""seconds at the beginning of a step that do not count."""

REFUSAL_SECONDS = 0.05
LEAST_GOODPUT = 0.9
MEMORY_SLACK = 8 << 20
"""bytes: what a process may grow by while nothing grows, in its allocator's arenas."""


@dataclass(frozen=True, slots=True)
class Step:
    """One rate.

    Attributes:
        offered: calls a second.
        seen: what the callers saw.
        seconds: how long.
        early_memory: bytes of the server's process, early in the step.
        late_memory: and at its end.
        cpu: of a processor, what the server and its worker used.
    """

    offered: float
    seen: Offered
    seconds: float
    early_memory: int
    late_memory: int
    cpu: float

    @property
    def goodput(self) -> float:
        """Results a second, between the settling and the end of the offer."""
        return sum(SETTLING <= at <= self.seconds for at, _ in self.seen.accepted) / (self.seconds - SETTLING)

    def accepted(self, share: float) -> float:
        """Return a percentile of what accepted calls took."""
        return _percentile([took for at, took in self.seen.accepted if at >= SETTLING], share)

    def refused(self, share: float) -> float:
        """Return a percentile of what refusals took."""
        return _percentile([took for at, took in self.seen.refused if at >= SETTLING], share)


def _percentile(values: Sequence[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)] if ordered else 0.0


def run_step(server: Server, body: Path, rate: float, seconds: float) -> Step:
    """Offer one rate."""
    generator = Generator(server.port, PATH, body, rate=rate, seconds=seconds)
    time.sleep(1.0 + seconds / 4)  # the generator's own start takes about a second
    early, used, since = server.resident_bytes(), server.cpu_seconds(), time.perf_counter()
    seen = generator.finish()
    cpu = (server.cpu_seconds() - used) / (time.perf_counter() - since)
    return Step(rate, seen, seconds, early, server.resident_bytes(), cpu)


def line(step: Step, peak: float) -> str:
    """Return a step as a row of the table."""
    refused = f"{step.refused(0.5) * 1e3:.1f} | {step.refused(0.99) * 1e3:.1f}" if step.seen.refused else "– | –"
    refusals = len(step.seen.refused) / step.seconds
    return (
        f"| {step.offered:,.0f} | {step.goodput:,.0f} | {step.goodput / peak:.0%} | {refusals:,.0f} | {refused} "
        f"| {step.accepted(0.5) * 1e3:.0f} | {step.accepted(0.99) * 1e3:.0f} "
        f"| {step.late_memory / 2**20:.1f} | {step.cpu:.0%} | {step.seen.cpu:.0%} | {step.seen.behind * 1e3:.1f} |"
    )


def main() -> int:
    """Measure, print and judge."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=8.0, help="length of each step (default 8)")
    parser.add_argument("--batch", type=int, default=2, help="calls in a batch, which takes 20 ms (default 2)")
    parser.add_argument("--queue", type=int, default=20, help="calls that may wait (default 20)")
    parser.add_argument("--transport", default="native", help="native (default) or grpcio")
    options = parser.parse_args()
    capacity = options.batch / BATCH_SECONDS
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder, "config.yaml")
        settings = {"max_queued_calls": options.queue, "methods": {"predict": {"max_batch_size": options.batch}}}
        settings["transport"] = options.transport
        config.write_text(json.dumps(settings))
        body = Path(folder, "body")
        body.write_bytes(request("predict", text=pb.Data(string_value="hello")))
        command = [sys.executable, "-m", "runner", "serve", str(HERE / "models" / "sleep"), "--port", "0"]
        with running([*command, "--config", str(config)]) as server:
            run_step(server, body, capacity, 2.0)  # warms up
            steps = [run_step(server, body, capacity * multiple, options.seconds) for multiple in STEPS]
    peak = max(step.goodput for step in steps)
    worst = steps[-1]
    # What waits, what is decoded beside the running batch, and that batch, at the rate that was seen; then the call's
    # own batch, and one for the way there and back.
    longest = (options.queue + 2 * options.batch) / peak + 2 * BATCH_SECONDS
    setting = f"{capacity:.0f} calls/s at most, {options.queue} may wait; {options.transport} transport"
    print(f"{machine()}; {setting}; {options.seconds:g} s each\n")
    print(
        "| offered/s | goodput/s | of peak | refused/s | refusal p50 ms | p99 | accepted p50 ms | p99 | server MB "
        "| server CPU | callers CPU | callers late ms |"
    )
    print("| ---: " * 12 + "|")
    for step in steps:
        print(line(step, peak))
    print()
    growth = worst.late_memory - worst.early_memory
    waited = f"{worst.accepted(0.99) * 1e3:.0f} ms at most, the queue explains {longest * 1e3:.0f} ms"
    judged = [
        (worst.goodput >= LEAST_GOODPUT * peak, f"goodput at 10x is {worst.goodput / peak:.0%} of the peak"),
        (worst.refused(0.99) <= REFUSAL_SECONDS, f"99% of refusals came within {worst.refused(0.99) * 1e3:.1f} ms"),
        (worst.accepted(0.99) <= longest, f"99% of accepted calls took {waited}"),
        (growth <= MEMORY_SLACK, f"memory grew by {growth / 2**20:.1f} MB under overload"),
        (not any(step.seen.others for step in steps), f"other failures: {[step.seen.others for step in steps]}"),
    ]
    for met, words in judged:
        print(f"{'met' if met else 'MISSED'}: {words}")
    return 0 if all(met for met, _ in judged) else 1


if __name__ == "__main__":
    sys.exit(main())
