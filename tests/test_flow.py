"""Credits are neither lost nor invented."""

from collections import deque
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from runner.flow import STREAM_WINDOW, STREAM_WINDOW_BYTES, TOGETHER_BYTES, Consumption, Window, take_together

sizes = st.lists(st.one_of(st.integers(0, 100), st.integers(0, 3 * STREAM_WINDOW_BYTES)), max_size=300)


def test_a_window_shuts_after_its_items_and_opens_with_a_grant() -> None:
    window = Window(2, 100)
    window.spend(0)
    assert window.open
    window.spend(0)
    assert not window.open
    window.grant(1, 0)
    assert window.open


def test_a_window_shuts_after_its_bytes_and_the_last_item_may_be_larger_than_what_is_left() -> None:
    window = Window(10, 100)
    window.spend(99)
    assert window.open
    window.spend(1000)
    assert not window.open
    window.grant(1, 999)
    assert not window.open
    window.grant(1, 1)
    assert window.open
    assert repr(window) == "<Window 10 items and 1 bytes left, 2 sent>"


def test_credit_comes_back_when_it_is_half_of_the_items_or_of_the_bytes() -> None:
    consumption = Consumption(6, 100)
    assert [consumption.consume(1) for _ in range(4)] == [None, None, (3, 3), None]
    assert consumption.consume(48) is None
    assert consumption.consume(1) == (3, 50)
    assert consumption.consume(2000) == (1, 2000)


@given(sizes)
def test_credit_given_back_is_what_was_consumed_but_for_a_part_of_a_window(sizes: list[int]) -> None:
    consumption = Consumption()
    returned = [credit for size in sizes if (credit := consumption.consume(size))]
    assert 0 <= len(sizes) - sum(items for items, _ in returned) < STREAM_WINDOW // 2
    assert 0 <= sum(sizes) - sum(size for _, size in returned) < STREAM_WINDOW_BYTES // 2


@given(sizes, st.randoms(use_true_random=False))
def test_a_stream_never_stops_for_good_and_never_has_more_under_way_than_its_window(
    sizes: list[int], random: Random
) -> None:
    window, consumption, under_way, left = Window(), Consumption(), deque[int](), deque(sizes)
    while left or under_way:
        if left and window.open and (not under_way or random.random() < 0.6):
            window.spend(left[0])
            under_way.append(left.popleft())
            assert len(under_way) <= STREAM_WINDOW
            assert sum(under_way) - under_way[-1] < STREAM_WINDOW_BYTES
        else:
            assert under_way, "shut, and nothing is under way that could open it"
            if credit := consumption.consume(under_way.popleft()):
                window.grant(*credit)


def test_of_items_taken_together_the_first_counts_at_once_and_the_others_when_more_is_asked_for() -> None:
    consumption = Consumption(2, 100)  # credit for each item at once
    assert consumption.ask() is None
    assert consumption.take([b"a", b"bc", b"def"]) == (1, 1)
    assert consumption.ask() == (2, 5)
    assert consumption.ask() is None
    assert consumption.take([b"a"]) == (1, 1)
    assert consumption.ask() is None


@given(sizes, st.randoms(use_true_random=False))
def test_a_stream_whose_items_are_taken_together_never_stops_for_good(sizes: list[int], random: Random) -> None:
    window, consumption, under_way, left = Window(), Consumption(), deque[bytes](), deque(sizes)
    while left or under_way:
        if left and window.open and (not under_way or random.random() < 0.8):
            window.spend(left[0])
            under_way.append(bytes(left.popleft()))
            assert len(under_way) <= STREAM_WINDOW
        else:
            if credit := consumption.ask():
                window.grant(*credit)
            assert under_way or window.open, "shut, and nothing is under way that could open it"
            if under_way and (credit := consumption.take(take_together(under_way, STREAM_WINDOW // 2))):
                window.grant(*credit)


def test_a_reader_at_full_speed_never_shuts_the_window() -> None:
    window, consumption = Window(), Consumption()
    for _ in range(10 * STREAM_WINDOW):
        assert window.open
        window.spend(100)
        if credit := consumption.consume(100):
            window.grant(*credit)


def test_what_fills_a_frame_is_taken_together() -> None:
    third = bytes(TOGETHER_BYTES // 3)
    long = bytes(STREAM_WINDOW_BYTES)
    arrived = deque([long, long, third, third, third, b"", third, long, b"a", b"b", b"c"])
    taken = [take_together(arrived, 10) for _ in range(6)]
    assert taken == [[long], [long], [third, third, third, b""], [third], [long], [b"a", b"b", b"c"]]
    assert not arrived


def test_no_more_than_so_many_are_taken_together() -> None:
    arrived = deque([b"a", b"b", b"c"])
    assert [take_together(arrived, 2), take_together(arrived, 2)] == [[b"a", b"b"], [b"c"]]
