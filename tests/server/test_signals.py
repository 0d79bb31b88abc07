"""What signals mean, sent to this very process."""

from __future__ import annotations

import asyncio
import os
import signal

import pytest

from runner.server import signals
from runner.server.signals import Signals
from tests.running import Signal, on_loop


@pytest.fixture(autouse=True)
def as_before():
    """A loop takes its handlers along when it is closed, and SIGHUP would end the tests."""
    before = {number: signal.getsignal(number) for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@on_loop
async def test_the_first_asks_and_the_second_ends(number, monkeypatch):
    under_test = Signals()
    assert not under_test.asked
    os.kill(os.getpid(), number)
    await under_test.wait()
    assert under_test.asked
    ended = asyncio.Event()
    codes: list[int] = []
    monkeypatch.setattr(signals.os, "_exit", lambda code: (codes.append(code), ended.set()))
    os.kill(os.getpid(), number)
    await ended.wait()
    assert codes == [130]


@pytest.mark.parametrize("terminals", [(True, True), (False, False)], ids=["at a terminal", "a daemon"])
@on_loop
async def test_hangup_loads_the_model_again(terminals, monkeypatch):
    had, has = terminals
    monkeypatch.setattr(signals, "_has_terminal", lambda: had)
    under_test = Signals()
    monkeypatch.setattr(signals, "_has_terminal", lambda: has)
    os.kill(os.getpid(), signal.SIGHUP)  # nothing to do yet: the model is loading
    await asyncio.sleep(0)
    loaded = Signal()
    under_test.on_hangup(loaded.set)
    os.kill(os.getpid(), signal.SIGHUP)
    await loaded.wait()
    assert not under_test.asked


@on_loop
async def test_hangup_of_a_terminal_that_is_gone_is_a_drain(monkeypatch):
    monkeypatch.setattr(signals, "_has_terminal", lambda: True)
    under_test = Signals()
    under_test.on_hangup(lambda: pytest.fail("nobody is left to work with it"))
    monkeypatch.setattr(signals, "_has_terminal", lambda: False)
    os.kill(os.getpid(), signal.SIGHUP)
    await under_test.wait()


@on_loop
async def test_hangup_while_draining_does_nothing(monkeypatch):
    monkeypatch.setattr(signals, "_has_terminal", lambda: False)
    under_test = Signals()
    under_test.on_hangup(lambda: pytest.fail("it is going"))
    os.kill(os.getpid(), signal.SIGTERM)
    await under_test.wait()
    heard = Signal()
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, heard.set)
    os.kill(os.getpid(), signal.SIGHUP)
    os.kill(os.getpid(), signal.SIGUSR1)
    await heard.wait()


@on_loop
async def test_what_nohup_has_said_stays():
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    Signals()
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
