"""A process that a model has forked ends where it would say something for its parent."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

import pytest

from runner.execution.forked import ParentsCalls, leave

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="forks")


@pytest.mark.parametrize(
    "touch",
    [
        leave,
        lambda: ParentsCalls[str]().get(1),
        lambda: ParentsCalls[str]().pop(1, None),
        lambda: 1 in ParentsCalls[str](),
        lambda: ParentsCalls[str]().update({1: "a"}),
        lambda: ParentsCalls[str]().__setitem__(1, "a"),
        lambda: ParentsCalls[str]().__delitem__(1),
    ],
)
def test_whoever_has_something_to_say_of_a_call_leaves(touch: Callable[[], object], capfd):
    child = os.fork()
    if not child:
        try:
            touch()
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 1
    assert "came back from the model's code" in capfd.readouterr().err
