"""`runner top`: what a served model does, live: rates, batches and why they left, queues, replicas."""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Sequence
from typing import cast

from runner.cli.connection import connect, connection_options
from runner.cli.usage import Subcommands
from runner.statistics import BOUNDS, EngineStatistics, MethodStatistics, PointStatistics

__all__ = ["add", "render"]

_DESCRIPTION = """\
Show what a served model does, live, until Ctrl-C. Rates and means are of the time between two looks.

  waiting      calls in the server, by lane, and how old the oldest is
  METHOD       calls that have ended, those that failed (an error, a dead worker, a deadline, a caller that left), and
               calls that were refused; and how long half of them, and all but a hundredth, took at most
  BATCHES OF   batched methods and coalescing points: how many batches, how large, how long they ran, and why they left:
               idle (the device was free), full, delay (they had waited for company as long as they may), deadline,
               turn (it was theirs, before full batches of others), step (the next one of streams that run together)
  REPLICA      workers, and the share of the time in which a batch ran
"""

_CLEAR = "\x1b[H\x1b[J"

_NO_METHOD = MethodStatistics(name="", ended=0, failed=0)


def add(subcommands: Subcommands) -> None:
    """Add the subcommand."""
    parser = subcommands.add_parser(
        "top",
        parents=[connection_options()],
        help="show what a served model does, live",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "--interval", metavar="SECONDS", type=float, default=1.0, help="between two looks; default 1, at least 0.1"
    )
    parser.add_argument("--once", action="store_true", help="look twice, print the difference, and leave")
    parser.set_defaults(run=_top)


def _top(arguments: argparse.Namespace) -> int:
    interval = max(cast(float, arguments.interval), 0.1)
    with connect(arguments) as model:
        before = model.statistics()
        while True:
            time.sleep(interval)
            now = model.statistics()
            lines = render(before, now)
            if sys.stdout.isatty() and not arguments.once:
                print(_CLEAR, end="")
            print("\n".join(lines), flush=True)
            if arguments.once:
                return 0
            before = now


def render(before: EngineStatistics, now: EngineStatistics) -> list[str]:
    """Return what to show of two looks at a server: rates are of the time between them."""
    seconds = now.at - before.at
    lines = [f"{now.waiting_calls} calls wait in the server ({now.waiting_bytes:,} bytes)"]
    lines += [f"  {lane.lane}: {lane.waiting}, the oldest for {lane.oldest:.2f} s" for lane in now.lanes]
    if (stops := now.cancel_latency_seconds).count:
        took = f"{stops.p50 * 1000:.1f} ms (p50), {stops.p99 * 1000:.1f} ms (p99)"
        lines.append(f"{stops.count} running calls were told to stop, and had after {took}")
    if any(totals := (now.restarts_total, now.retries_total, now.poison_total, now.cancellations_total)):
        restarts, retries, poison, cancelled = totals
        lines.append(f"{cancelled} calls cancelled, {retries} run again, {poison} poison; {restarts} workers restarted")
    lines += ["", *_methods(before, now, seconds), *_points(before, now, seconds), "", *_replicas(before, now, seconds)]
    return lines


def _methods(before: EngineStatistics, now: EngineStatistics, seconds: float) -> list[str]:
    known = {method.name: method for method in before.methods}
    rows = [("METHOD", "CALLS/S", "FAILED/S", "P50 MS", "P99 MS", "CALLS", "FAILED", "REFUSED")]
    for method in now.methods:
        old = known.get(method.name, _NO_METHOD)
        ended, failed = _rate(method.ended - old.ended, seconds), _rate(method.failed - old.failed, seconds)
        took = method.took.since(old.took)
        p50, p99 = _bound(took.at_most(0.5)), _bound(took.at_most(0.99))
        totals = str(method.ended), str(method.failed), str(method.refused)
        rows.append((method.name, ended, failed, p50, p99, *totals))
    return _table(rows)


def _bound(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    return f">{BOUNDS[-1] * 1000:g}" if math.isinf(seconds) else f"≤{seconds * 1000:g}"


def _points(before: EngineStatistics, now: EngineStatistics, seconds: float) -> list[str]:
    if not now.points:
        return []
    known = {point.name: point for point in before.points}
    rows = [("BATCHES OF", "BATCHES/S", "MEAN SIZE", "MEAN MS", "LEFT BECAUSE", "SIZES SO FAR")]
    for point in now.points:
        batches, entries, took = point.batches, point.entries, point.seconds
        reasons = dict(point.reasons)
        if (old := known.get(point.name)) is not None:
            batches, entries, took = batches - old.batches, entries - old.entries, took - old.seconds
            reasons = {reason: count - old.reasons.get(reason, 0) for reason, count in reasons.items()}
        rows.append(
            (
                point.name,
                _rate(batches, seconds),
                f"{entries / batches:.1f}" if batches else "-",
                f"{took / batches * 1000:.1f}" if batches else "-",
                " ".join(f"{reason} {count}" for reason, count in reasons.items() if count) or "-",
                _sizes(point),
            )
        )
    return ["", *_table(rows)]


def _sizes(point: PointStatistics) -> str:
    return " ".join(f"≤{size}:{count}" for size, count in sorted(point.sizes.items()))


def _replicas(before: EngineStatistics, now: EngineStatistics, seconds: float) -> list[str]:
    known = {replica.name: replica.busy_seconds for replica in before.replicas}
    rows = [("REPLICA", "DEVICE", "STATE", "CALLS", "DEVICE USE")]
    for replica in now.replicas:
        busy = (replica.busy_seconds - known.get(replica.name, 0.0)) / seconds if seconds > 0 else 0.0
        rows.append((str(replica.name), replica.label, replica.state, str(replica.running), f"{min(busy, 1):.0%}"))
    return _table(rows)


def _rate(count: int, seconds: float) -> str:
    return f"{count / seconds:,.1f}" if seconds > 0 else "-"


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
