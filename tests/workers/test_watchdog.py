"""The thread that shows that a worker lives, and names what holds up its loop."""

from __future__ import annotations

import asyncio
import logging
import threading

import pytest

from runner.execution.journal import Journal
from runner.workers import watchdog as module
from runner.workers.watchdog import Watchdog
from tests.running import TOO_LONG, on_loop


class Beats(Journal):
    """A journal that can be waited for."""

    def __init__(self) -> None:
        super().__init__()
        self.changed = threading.Condition()

    def beat(self, turns: int) -> None:
        with self.changed:
            super().beat(turns)
            self.changed.notify_all()

    def wait(self, more: int = 1) -> None:
        """Wait, in any thread, for so many more beats."""
        with self.changed:
            wanted = self.pulse().beats + more
            assert self.changed.wait_for(lambda: self.pulse().beats >= wanted, TOO_LONG)


@pytest.fixture(autouse=True)
def quick(monkeypatch) -> None:
    monkeypatch.setattr(module, "_BEAT_EVERY", 0.001)
    monkeypatch.setattr(module, "LAG", 0.002)


@on_loop
async def test_it_beats_while_the_loop_stands_and_counts_its_turns_while_it_does_not(caplog):
    journal = Beats()
    under_test = Watchdog(asyncio.get_running_loop(), journal)
    try:
        journal.wait(20)  # holds up the loop
        assert journal.pulse().turns == 0
        await asyncio.to_thread(journal.wait, 20)
        assert journal.pulse().turns > 0
        assert not caplog.records  # a model that loads may hold it up
    finally:
        under_test.close()


@on_loop
async def test_what_holds_up_the_loop_is_named_once_in_a_while(caplog):
    journal = Beats()
    under_test = Watchdog(asyncio.get_running_loop(), journal)
    under_test.watch()

    async def method() -> None:
        for _ in range(3):
            journal.wait(20)
            await asyncio.to_thread(journal.wait, 3)

    try:
        with caplog.at_level(logging.WARNING, "runner.worker"):
            await asyncio.get_running_loop().create_task(method(), name="predict")
        (record,) = caplog.records
        assert "the worker's loop has not turned for" in record.message
        assert "it runs predict at " in record.message
    finally:
        under_test.close()
