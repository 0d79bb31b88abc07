"""What a request asks for. Most of it is in test_service.py, by what clients see."""

from __future__ import annotations

import pytest

from runner.server.requests import deadline_of
from tests.engine.scripted import METHODS


def test_a_call_ends_a_little_before_its_caller_gives_up():
    """Else the caller would hear from its own gRPC that time is up, and never from us where it went."""
    (method,) = (each for each in METHODS if each.name == "predict")
    assert deadline_of(1000.5, method, now=1000.0) == pytest.approx(1000.49)
    assert deadline_of(1060.0, method, now=1000.0) == pytest.approx(1059.98)
    assert deadline_of(999.0, method, now=1000.0) == 999.0
    assert deadline_of(None, method, now=1000.0) is None
