"""Answers that leave together: which ones do, and that none is lost or waits for long."""

from __future__ import annotations

import pytest

from runner.execution.answers import Answers
from runner.execution.times import Times
from runner.wire import run
from runner.wire.payload import VIEW_FROM, Payload


class Told:
    """Notes what is told: for each word the numbers, the outputs and the times in it."""

    def __init__(self) -> None:
        self.words: list[tuple[list[int], list[bytes], list[float]]] = []

    def ended(self, call_id: int, output: Payload, times: Times) -> None:
        self.words.append(([call_id], [bytes(output)], [times.run]))

    def ended_together(self, first_id: int, calls: int, outputs: Payload, times: tuple[Times, ...]) -> None:
        assert len(times) == calls
        numbers = list(range(first_id, first_id + calls))
        self.words.append((numbers, [bytes(each) for each in run.split(outputs, calls)], [each.run for each in times]))

    @property
    def numbers(self) -> list[list[int]]:
        return [numbers for numbers, _, _ in self.words]


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def answers(told: Told) -> Answers:
    return Answers(told)  # pyright: ignore[reportArgumentType]: it has what is used


def add(answers: Answers, *numbers: int, output: bytes | None = None) -> None:
    for number in numbers:
        answers.add(number, b"%d" % number if output is None else output, Times(run=float(number)))


def test_neighbours_share_a_word_in_whichever_order_they_ended(answers, told):
    add(answers, 5, 3, 4, 9, 11, 10, 7)
    assert told.words == []
    answers.tell()
    assert told.words == [
        ([3, 4, 5], [b"3", b"4", b"5"], [3.0, 4.0, 5.0]),
        ([7], [b"7"], [7.0]),
        ([9, 10, 11], [b"9", b"10", b"11"], [9.0, 10.0, 11.0]),
    ]
    answers.tell()
    assert len(told.words) == 3


def test_the_next_ones_do_not_wait_for_more_than_a_few(answers, told):
    add(answers, *range(80))
    assert [len(numbers) for numbers in told.numbers] == [32, 32]
    answers.tell()
    assert [number for numbers in told.numbers for number in numbers] == list(range(80))


def test_a_long_one_goes_at_once_by_itself(answers, told):
    add(answers, 1)
    add(answers, 2, output=bytes(VIEW_FROM))
    add(answers, 3)
    assert told.numbers == [[2]]
    answers.tell()
    assert told.numbers == [[2], [1], [3]]


def test_a_word_is_no_longer_than_a_piece(answers, told):
    add(answers, *range(1, 11), output=bytes(VIEW_FROM - 1))
    assert told.numbers == [list(range(1, 9))]
    answers.tell()
    assert told.numbers == [list(range(1, 9)), [9, 10]]
