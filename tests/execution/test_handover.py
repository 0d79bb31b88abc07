"""How soon the interpreter is handed over, by what runs."""

from __future__ import annotations

from runner.execution.handover import LATER, SOON, Handover


def test_soon_while_batches_run_and_no_plain_function_does() -> None:
    told: list[float] = []
    handover = Handover(told.append)
    assert told == [LATER]
    for _ in range(3):
        handover.batch_ran()
    assert told == [LATER, SOON]
    handover.function_begun()
    handover.function_begun()
    assert told == [LATER, SOON, LATER]
    handover.function_ended()
    handover.batch_ran()  # beside the other one
    handover.function_ended()
    assert told == [LATER, SOON, LATER]
    handover.batch_ran()
    assert told == [LATER, SOON, LATER, SOON]


def test_plain_functions_alone_change_nothing() -> None:
    told: list[float] = []
    handover = Handover(told.append)
    for _ in range(3):
        handover.function_begun()
        handover.function_ended()
    assert told == [LATER]


def test_without_a_way_to_set_it_nothing_happens() -> None:
    handover = Handover()
    handover.batch_ran()
    handover.function_begun()
    assert repr(handover) == "<Handover later, 1 plain functions>"
