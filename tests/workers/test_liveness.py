"""Which silent workers are given up, and which are not."""

from __future__ import annotations

from runner.execution.journal import Pulse
from runner.workers.liveness import SILENT_LOOKS, STOPPED_LOOKS, Liveness
from runner.workers.vitals import Vitals

SILENT = Pulse(beats=7, turns=0, runs={})
STOPPED = Vitals(stopped=True, cpu_seconds=1.0)
ASLEEP = Vitals(stopped=False, cpu_seconds=1.0)
UNKNOWN = Vitals(stopped=False, cpu_seconds=None)


def looks(under_test: Liveness, vitals: Vitals, *, most: int = 100, loading: bool = False) -> int | None:
    """Return after how many looks at a silent worker it is given up; None: it is not."""
    for number in range(1, most + 1):
        assert not under_test.beating(SILENT)
        if under_test.silent(vitals, loading=loading) is not None:
            return number
    return None


def begun() -> Liveness:
    under_test = Liveness()
    assert under_test.beating(SILENT)
    return under_test


def test_a_beating_worker_is_alive_however_long() -> None:
    under_test = Liveness()
    assert all(under_test.beating(Pulse(beats, 0, {})) for beats in range(1000))


def test_a_stopped_one_is_given_up_soon() -> None:
    assert looks(begun(), STOPPED) == STOPPED_LOOKS
    assert looks(begun(), STOPPED, loading=True) == STOPPED_LOOKS


def test_one_that_does_nothing_is_given_up_after_long() -> None:
    assert looks(begun(), ASLEEP) == SILENT_LOOKS
    assert looks(begun(), UNKNOWN) == SILENT_LOOKS


def test_one_that_loads_may_wait_for_its_disk() -> None:
    assert looks(begun(), ASLEEP, loading=True) is None


def test_one_that_holds_the_interpreter_s_lock_computes_and_is_alive() -> None:
    under_test = begun()
    for second in range(10 * SILENT_LOOKS):
        assert not under_test.beating(SILENT)
        assert under_test.silent(Vitals(stopped=False, cpu_seconds=float(second))) is None
    assert looks(under_test, Vitals(stopped=False, cpu_seconds=1e6)) == SILENT_LOOKS + 1


def test_a_beat_begins_the_count_anew() -> None:
    under_test = begun()
    assert looks(under_test, ASLEEP, most=SILENT_LOOKS - 1) is None
    assert under_test.beating(Pulse(8, 0, {}))
    assert under_test.beating(SILENT)  # another number is a beat, whichever
    assert looks(under_test, ASLEEP) == SILENT_LOOKS


def test_one_that_was_stopped_and_goes_on_is_alive() -> None:
    under_test = begun()
    assert looks(under_test, STOPPED, most=STOPPED_LOOKS - 1) is None
    assert looks(under_test, ASLEEP, most=5) is None
    assert under_test.beating(Pulse(9, 0, {}))
