"""Was the promise kept? Every call that was accepted is answered exactly once, in bounded time, with a result or a
typed reason, whatever dies. Pure: records of what was called, what ran and what was killed go in.
"""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

MAX_RUNS = 3
"""of an idempotent call: it runs again after a crash, alone after a second one, and is given up then."""


class End(enum.Enum):
    """How a call ended, as its caller saw it."""

    RIGHT = "right"
    WRONG = "wrong"
    """With a result that is not the call's."""
    LOST = "lost"
    """Without a result and without a reason: a stream that is shorter than it should be."""
    HANGING = "hanging"
    """Not at all, within a time that nothing here takes."""
    WORKER_LOST = "worker lost"
    REFUSED = "refused"
    """Nothing has run."""
    EXPECTED = "failed as it should"
    """With the error that the method is there to cause."""
    OTHER = "other"
    """With an error that nothing here should cause."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Called:
    """One call as its caller saw it.

    Attributes:
        id: unique.
        method: its name.
        repeatable: the method is idempotent, so that the death of a worker must not be seen.
        end: how it ended.
        at: the instant of its end, monotonic seconds.
        told: the error's text.
        begun: an item of its stream had come: it cannot run again unseen.
    """

    id: str
    method: str
    repeatable: bool
    end: End
    at: float
    told: str = ""
    begun: bool = False


@dataclass(frozen=True, slots=True)
class Kill:
    """A worker was killed: its process, and the instant."""

    pid: int
    at: float


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of it all. `bad`: what must be zero, by name."""

    calls: int
    ends: Mapping[str, int]
    kills: int
    bad: Mapping[str, int]
    after_kill: Sequence[float] = field(default=())
    """For each call that a kill hit: seconds until its caller was answered, or its second run was."""
    all_answered: Sequence[float] = field(default=())
    """For each kill: seconds until the last of them was."""
    examples: Sequence[str] = field(default=())

    @property
    def kept(self) -> bool:
        """True if nothing is bad."""
        return not any(self.bad.values())

    def text(self) -> str:
        """Return the verdict for people."""
        ends = ", ".join(f"{count:,} {name}" for name, count in sorted(self.ends.items(), key=lambda pair: -pair[1]))
        lines = [f"{self.calls:,} calls: {ends}", f"{self.kills} workers killed, {len(self.after_kill):,} calls hit"]
        lines.append(", ".join(f"{count} {name}" for name, count in self.bad.items()))
        for name, seconds in (("a call that was hit", self.after_kill), ("all calls of a kill", self.all_answered)):
            if seconds:
                p50, p99 = percentile(seconds, 0.5) * 1e3, percentile(seconds, 0.99) * 1e3
                longest = max(seconds) * 1e3
                figures = f"p50 {p50:.0f} ms, p99 {p99:.0f} ms, {longest:.0f} ms at most"
                lines.append(f"from SIGKILL to the answer of {name}: {figures}")
        return "\n".join([*lines, *self.examples])


def percentile(values: Sequence[float], share: float) -> float:
    """Return a percentile, of values in any order."""
    ordered = sorted(values)
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)]


def judge(calls: Sequence[Called], runs: Mapping[str, Sequence[int]], kills: Sequence[Kill], *, sent: int) -> Verdict:
    """Return what is to be said.

    Args:
        calls: those that ended for their callers.
        runs: by the call's id, the processes that ran it, in no order.
        kills: what was done.
        sent: how many calls were begun.
    """
    bad: Counter[str] = Counter()
    examples: list[str] = []

    def blame(name: str, call: Called, words: str) -> None:
        bad[name] += 1
        if bad[name] <= 3:
            examples.append(f"  {name}: {call.method} {call.id}: {words} {call.told}")

    seen: set[str] = set()
    for call in calls:
        ran = runs.get(call.id, ())
        if call.id in seen:
            blame("duplicates", call, "was answered twice")
        seen.add(call.id)
        if call.end in (End.LOST, End.HANGING, End.WRONG):
            blame(call.end.value, call, "")
        elif call.end is End.OTHER:
            blame("unexpected errors", call, "")
        elif call.end is End.RIGHT and not ran:
            blame("wrong", call, "was answered and has not run")
        elif call.end is End.REFUSED and ran:
            blame("wrong", call, "was refused and has run")
        elif call.repeatable and not call.begun and call.end is End.WORKER_LOST:
            blame("idempotent failed", call, f"ran {len(ran)} times")
        if len(ran) > (MAX_RUNS if call.repeatable else 1):
            blame("duplicates", call, f"ran {len(ran)} times")
    if missing := sent - len(seen):
        bad["lost"] += missing
    died = {kill.pid: kill.at for kill in kills}
    hit: dict[int, list[float]] = {}
    for call in calls:
        for pid in runs.get(call.id, ()):
            if pid in died and call.at > died[pid]:
                hit.setdefault(pid, []).append(call.at - died[pid])
    names = ("lost", "hanging", "duplicates", "wrong", "idempotent failed", "unexpected errors")
    return Verdict(
        calls=sent,
        ends=dict(Counter(call.end.value for call in calls)),
        kills=len(kills),
        bad={name: bad[name] for name in names},
        after_kill=[seconds for each in hit.values() for seconds in each],
        all_answered=[max(each) for each in hit.values()],
        examples=examples,
    )
