from __future__ import annotations

import pytest

from runner.dispatch.backoff import restart_delay


def test_a_worker_that_has_answered_comes_back_at_once():
    assert restart_delay(0, 0.0) == 0.0
    assert restart_delay(0, 1.0) == 0.0


@pytest.mark.parametrize(("deaths", "delay"), [(1, 0.5), (2, 1.0), (3, 2.0), (4, 4.0), (7, 30.0), (100_000, 30.0)])
def test_each_death_in_a_row_doubles_the_wait_up_to_a_bound(deaths, delay):
    assert restart_delay(deaths, 0.5) == delay


def test_replicas_do_not_come_back_in_step():
    assert restart_delay(1, 0.0) == 0.375
    assert restart_delay(1, 1.0) == 0.625
