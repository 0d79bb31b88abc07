"""A log for a worker's own words, which does not fail them: a model shares its process, and may have broken logging.

A model may close stderr, or bring handlers and filters that raise. What is to be said then goes to stderr as it is.
"""

from __future__ import annotations

import contextlib
import logging
import os
import traceback
from collections.abc import Mapping

_STDERR = 2


class SturdyLog:
    """Says things by a logger of the standard library, and never raises."""

    def __init__(self, name: str) -> None:
        """Use the logger of this name."""
        self._logger = logging.getLogger(name)

    def info(self, text: str, *args: object) -> None:
        """Say what happens."""
        self._say(logging.INFO, text, args)

    def warning(self, text: str, *args: object) -> None:
        """Say what may be wrong."""
        self._say(logging.WARNING, text, args)

    def error(
        self,
        text: str,
        *args: object,
        exc: BaseException | None = None,
        extra: Mapping[str, object] | None = None,
    ) -> None:
        """Say what went wrong.

        Args:
            text: what is said, with places for the arguments.
            args: the arguments.
            exc: its traceback is said too.
            extra: what is told apart, where the log is JSON.
        """
        self._say(logging.ERROR, text, args, exc, extra)

    def _say(
        self,
        level: int,
        text: str,
        args: tuple[object, ...],
        exc: BaseException | None = None,
        extra: Mapping[str, object] | None = None,
    ) -> None:
        try:
            self._logger.log(level, text, *args, exc_info=exc, extra=extra, stacklevel=3)
        except BaseException as broken:  # `sys.exit()` in a handler too: it is the model's
            _write(f"{text % args}\n{_traceback(exc)}(the log is broken: {type(broken).__name__})\n")

    def __repr__(self) -> str:
        return f"<SturdyLog {self._logger.name}>"


def _traceback(exc: BaseException | None) -> str:
    if exc is None:
        return ""
    try:
        return "".join(traceback.format_exception(exc))
    except BaseException as broken:  # a model's exception is the model's code
        return f"{type(exc).__name__}, of which there is no traceback: {type(broken).__name__}\n"


def _write(text: str) -> None:
    with contextlib.suppress(OSError):  # that is closed as well: there is nobody to tell
        os.write(_STDERR, text.encode(errors="replace"))
