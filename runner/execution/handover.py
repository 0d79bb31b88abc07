"""How soon a thread hands the interpreter over to another that waits for it.

Soon is better where the loop and the device's thread want it: at each operation of torch the latter lets go of the
interpreter, and the batch stands still until it has it again. Where plain functions run, it is the other way around:
they and the loop would hand it over more often than they get anything done.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

SOON: Final = 10e-6
"""seconds that a thread keeps the interpreter which others want, while batches run and no plain function does."""

LATER: Final = 100e-6
"""seconds otherwise. Python's own 5 ms let the loop wait for up to a second beside a model that runs Python between
small operations of torch, which let go of the interpreter for moments only."""


class Handover:
    """Hears what runs, and sets the interval. Used on the loop's thread alone.

    Args:
        set_interval: told at once and at each change how long a thread keeps the interpreter from now on, in seconds;
            None: that stays as it is.
    """

    def __init__(self, set_interval: Callable[[float], object] | None = None) -> None:
        self._set = set_interval or _keep
        self._functions = 0
        self._soon = False
        self._set(LATER)

    def function_begun(self) -> None:
        """One more plain function is to run."""
        self._functions += 1
        if self._soon:
            self._soon = False
            self._set(LATER)

    def function_ended(self) -> None:
        """One of them is over. The interval stays until there is a batch: its thread is not at rest yet."""
        self._functions -= 1

    def batch_ran(self) -> None:
        """A batch has run, and the next may be running."""
        if not self._soon and not self._functions:
            self._soon = True
            self._set(SOON)

    def __repr__(self) -> str:
        return f"<Handover {'soon' if self._soon else 'later'}, {self._functions} plain functions>"


def _keep(interval: float) -> None:
    """Set nothing."""
