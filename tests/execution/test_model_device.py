"""Where the batches of a model run."""

from __future__ import annotations

import threading

from runner.execution.model_device import ModelDevice
from tests.running import TOO_LONG


def test_there_is_a_thread_once_it_is_asked_for():
    before = set(threading.enumerate())
    device = ModelDevice("cpu", print)
    device.close()
    assert set(threading.enumerate()) <= before
    runs_there = device.thread.call(threading.current_thread)
    assert device.thread.call(threading.current_thread) is runs_there
    own = set(threading.enumerate()) - before
    assert {thread.name for thread in own} == {"device", "stager"}
    device.close()
    for thread in own:
        thread.join(TOO_LONG)
        assert not thread.is_alive()
