"""Credits are neither lost nor invented."""

from hypothesis import given
from hypothesis import strategies as st

from runner.flow import STREAM_WINDOW, Consumption, Window


def test_a_window_shuts_after_its_size_and_opens_with_a_grant() -> None:
    window = Window(2)
    window.spend()
    assert window.open
    window.spend()
    assert not window.open
    window.grant(1)
    assert window.open


@given(consumed=st.integers(0, 1000), size=st.integers(1, 100))
def test_credits_given_back_are_the_items_consumed_but_for_a_part_of_a_window(consumed: int, size: int) -> None:
    consumption = Consumption(size)
    returned = sum(consumption.consume() for _ in range(consumed))
    assert 0 <= consumed - returned < max(size // 2, 1)


def test_a_reader_at_full_speed_never_shuts_the_window() -> None:
    window, consumption = Window(), Consumption()
    for _ in range(10 * STREAM_WINDOW):
        assert window.open
        window.spend()
        window.grant(consumption.consume())
