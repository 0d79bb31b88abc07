"""The judge sees what is wrong: each test breaks the promise in one way."""

from __future__ import annotations

from typing import Any

from tests.chaos.verdict import Called, End, Kill, Verdict, judge


def called(end: End = End.RIGHT, **changes: Any) -> Called:
    return Called(**{"id": "1", "method": "once", "repeatable": False, "end": end, "at": 5.0} | changes)


def of(*calls: Called, runs: dict[str, list[int]] | None = None, sent: int | None = None, kills=()) -> Verdict:
    ran = {call.id: [7] for call in calls} if runs is None else runs
    return judge(calls, ran, kills, sent=len(calls) if sent is None else sent)


def faults(verdict: Verdict) -> dict[str, int]:
    return {name: count for name, count in verdict.bad.items() if count}


def test_a_call_that_ran_once_and_was_answered():
    verdict = of(called())
    assert verdict.kept
    assert "1 right" in verdict.text()


def test_calls_that_may_fail():
    assert of(called(End.WORKER_LOST)).kept
    assert of(called(End.REFUSED), runs={}).kept
    assert of(called(End.EXPECTED)).kept


def test_calls_that_nobody_answered():
    assert faults(of(called(), sent=3)) == {"lost": 2}
    assert faults(of(called(End.HANGING))) == {"hanging": 1}
    assert faults(of(called(End.LOST))) == {"lost": 1}


def test_calls_that_were_answered_wrongly():
    assert faults(of(called(End.WRONG))) == {"wrong": 1}
    assert faults(of(called(End.OTHER))) == {"unexpected errors": 1}
    assert faults(of(called(), runs={})) == {"wrong": 1}
    assert faults(of(called(End.REFUSED))) == {"wrong": 1}


def test_calls_that_ran_too_often():
    assert faults(of(called(), runs={"1": [7, 8]})) == {"duplicates": 1}
    assert of(called(repeatable=True), runs={"1": [7, 8]}).kept
    assert faults(of(called(repeatable=True), runs={"1": [7, 8, 9, 10]})) == {"duplicates": 1}
    assert faults(of(called(), called(), sent=1)) == {"duplicates": 1}


def test_an_idempotent_call_must_not_see_a_death():
    assert faults(of(called(End.WORKER_LOST, repeatable=True))) == {"idempotent failed": 1}
    assert of(called(End.WORKER_LOST, repeatable=True, begun=True)).kept


def test_time_counts_from_the_kill_to_the_answer_of_each_call_that_it_hit():
    before, hit, late, elsewhere = (called(id=str(number), at=at) for number, at in enumerate((1.0, 2.5, 3.0, 9.0)))
    runs = {"0": [7], "1": [7], "2": [7, 8], "3": [8]}
    verdict = of(before, hit, late, elsewhere, runs=runs, kills=[Kill(7, 2.0)])
    assert sorted(verdict.after_kill) == [0.5, 1.0]
    assert list(verdict.all_answered) == [1.0]
    assert "1 workers killed, 2 calls hit" in verdict.text()
