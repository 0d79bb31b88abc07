from __future__ import annotations

from runner.http2.frames import MAX_STREAM_ID
from runner.http2.numbers import RESETS_KEPT, Late, Numbers


def opened_until(number: int) -> Numbers:
    numbers = Numbers()
    numbers.last = number
    return numbers


def test_numbers_above_the_highest_were_never_opened_nor_was_the_connection():
    numbers = opened_until(7)
    assert [number for number in range(10) if numbers.never_opened(number)] == [0, 8, 9]


def test_what_comes_for_a_stream_that_we_have_reset_was_under_way():
    numbers = opened_until(7)
    numbers.reset(5)
    assert numbers.late(5) is Late.UNDER_WAY
    assert numbers.late(3) is Late.ENDED


def test_of_so_many_resets_the_oldest_is_forgotten_and_all_below_it_with_it():
    numbers = opened_until(2 * RESETS_KEPT + 3)
    for number in range(3, 2 * RESETS_KEPT + 4, 2):
        numbers.reset(number)
    assert numbers.late(3) is numbers.late(1) is Late.FORGOTTEN
    assert numbers.late(5) is Late.UNDER_WAY


def test_that_a_late_reset_is_forgotten_does_not_bring_back_what_is_known_of_higher_ones():
    numbers = opened_until(4 * RESETS_KEPT)
    for number in (2 * RESETS_KEPT + 1, *range(1, 2 * RESETS_KEPT, 2), 2 * RESETS_KEPT + 3):
        numbers.reset(number)
    assert numbers.late(2 * RESETS_KEPT + 1) is Late.FORGOTTEN
    assert numbers.late(2 * RESETS_KEPT + 5) is Late.ENDED


def test_after_the_end_was_announced_higher_streams_are_refused_and_their_frames_were_under_way():
    numbers = opened_until(7)
    assert not numbers.closing
    assert numbers.taken_until == MAX_STREAM_ID
    numbers.close()
    numbers.last = 11
    assert numbers.closing
    assert numbers.taken_until == 7
    assert numbers.late(9) is Late.UNDER_WAY
    assert numbers.late(7) is Late.ENDED
    numbers.close()
    assert numbers.taken_until == 7
