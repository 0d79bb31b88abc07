"""Marks and pulses, in one process and across two."""

from __future__ import annotations

import mmap
import os
from collections.abc import Sequence

import pytest

from runner.execution.journal import JOURNAL_BYTES, Journal, Mark, create_shared, open_shared


@pytest.mark.parametrize("call", [0, 1, 65535, 65536, 85 * 65536 + 3, 2**40])
def test_a_call_is_marked_as_it_was_said_last(call: int) -> None:
    under_test = Journal()
    assert under_test.mark_of(call) is Mark.NONE
    for mark in (Mark.TOUCHED, Mark.RUNS, Mark.NONE, Mark.RUNS):
        under_test.mark(call, mark)
        assert under_test.mark_of(call) is mark
    assert under_test.mark_of(call + 1) is Mark.NONE


def test_a_mark_is_not_taken_for_that_of_a_later_call() -> None:
    under_test = Journal()
    under_test.mark(5, Mark.RUNS)
    assert all(under_test.mark_of(5 + turns * 65536) is Mark.NONE for turns in range(1, 85))
    under_test.mark(5 + 65536, Mark.TOUCHED)
    assert under_test.mark_of(5) is Mark.NONE


@pytest.mark.parametrize("calls", [range(3, 9), range(65530, 65542), range(2**40, 2**40 + 3), [4, 9, 70000], range(0)])
def test_calls_are_marked_together(calls: Sequence[int]) -> None:
    under_test, one_by_one = Journal(), Journal()
    under_test.mark_all(calls, Mark.TOUCHED)
    under_test.mark_all(calls, Mark.RUNS)
    for call in calls:
        one_by_one.mark(call, Mark.RUNS)
        assert under_test.mark_of(call) is Mark.RUNS
    assert under_test._memory == one_by_one._memory


def test_beats_are_counted() -> None:
    under_test = Journal()
    under_test.beat(3)
    under_test.beat(4)
    assert under_test.pulse() == (2, 4, {})


def test_limited_runs_are_seen_while_they_last() -> None:
    under_test = Journal()
    with under_test.running(7, 9):
        runs = under_test.pulse().runs
        assert set(runs) == {7, 9}
        assert runs[7] == runs[9] > 0
        with pytest.raises(ValueError, match="out"), under_test.running(8):
            assert 8 in under_test.pulse().runs
            raise ValueError("out")
        assert set(under_test.pulse().runs) == {7, 9}
    assert under_test.pulse().runs == {}


def test_more_runs_than_can_be_watched_are_run_all_the_same() -> None:
    under_test = Journal()
    slots = [under_test.run_begins(call, 1.0) for call in range(5000)]
    assert slots.count(-1) == 5000 - 4096
    for slot in slots:
        under_test.run_ends(slot)
    assert under_test.pulse().runs == {}
    assert under_test.run_begins(1, 1.0) >= 0


def test_what_a_process_marks_outlives_it() -> None:
    ours, descriptor = create_shared()
    child = os.fork()
    if child == 0:
        theirs = open_shared(descriptor)
        theirs.mark(12, Mark.RUNS)
        theirs.run_begins(12, 99.0)
        theirs.beat(1)
        os._exit(0)
    os.close(descriptor)
    os.waitpid(child, 0)
    assert ours.mark_of(12) is Mark.RUNS
    assert ours.pulse() == (1, 1, {12: 99.0})


def test_its_size_is_what_is_mapped() -> None:
    assert JOURNAL_BYTES % mmap.PAGESIZE == 0
    assert repr(Journal()) == "<Journal Pulse(beats=0, turns=0, runs={})>"
