"""What becomes of a call whose worker died: the whole table."""

from __future__ import annotations

import itertools

import pytest

from runner.dispatch.retry import SUSPECTED_AFTER, Course, course_after_death

AGAIN, ALONE, LOST, POISON = Course.AGAIN, Course.ALONE, Course.LOST, Course.POISON


@pytest.mark.parametrize(
    ("present", "ran", "repeatable", "deaths", "course"),
    [
        # Nothing had begun: again, whatever the method, and however often.
        (False, False, False, 0, AGAIN),
        (False, False, True, 1, AGAIN),
        (False, False, False, 2, ALONE),  # suspected before, and no less so now
        (False, False, True, 7, ALONE),
        # Its inputs were being opened: the method has done nothing, but the call may be what kills.
        (True, False, False, 1, AGAIN),
        (True, False, False, 2, ALONE),
        (True, False, False, 3, POISON),
        # It ran, and may not run twice.
        (True, True, False, 1, LOST),
        (True, True, False, 3, LOST),
        # It ran, and may.
        (True, True, True, 1, AGAIN),
        (True, True, True, 2, ALONE),
        (True, True, True, 3, POISON),
        (True, True, True, 4, POISON),
        # Its worker was ended on purpose.
        (False, True, True, 0, AGAIN),
        (False, True, True, 2, ALONE),
        (False, True, False, 0, LOST),
    ],
)
def test_the_table(present: bool, ran: bool, repeatable: bool, deaths: int, course: Course) -> None:
    assert course_after_death(present=present, ran=ran, repeatable=repeatable, deaths=deaths) is course


def test_what_may_have_done_something_is_never_repeated_unasked() -> None:
    for present, deaths in itertools.product((False, True), range(5)):
        assert course_after_death(present=present, ran=True, repeatable=False, deaths=deaths) is LOST


def test_no_call_kills_more_than_three_workers() -> None:
    for ran, repeatable in itertools.product((False, True), repeat=2):
        courses = [
            course_after_death(present=True, ran=ran, repeatable=repeatable, deaths=deaths)
            for deaths in range(1, SUSPECTED_AFTER + 2)
        ]
        assert courses[-1] in (LOST, POISON)
