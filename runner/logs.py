"""The log of a process of ours: what it, libraries and the model say by `logging` goes to its stderr.

And so do Python's warnings, and where in Python it was, should it crash.
"""

from __future__ import annotations

import faulthandler
import logging
import warnings
from dataclasses import dataclass

LEVELS = ("debug", "info", "warning", "error")
FORMATS = ("text", "json")


@dataclass(frozen=True, slots=True, kw_only=True)
class Log:
    """What the log says, and how.

    Args:
        level: the least that is said, one of `LEVELS`.
        format: `text` for people, or `json`, an object a line, for what collects logs.
    """

    level: str = "info"
    format: str = "text"


def start_log(log: Log, process: str = "") -> None:
    """Begin to log; again, once more is known.

    Args:
        log: as the configuration has it.
        process: which of several this is, such as `worker 2`; empty: the server itself.
    """
    handler = logging.StreamHandler()
    handler.setFormatter(_json(process) if log.format == "json" else _text(process))
    logging.basicConfig(level=log.level.upper(), handlers=[handler], force=True)
    logging.captureWarnings(True)
    warnings.formatwarning = _warning
    faulthandler.enable(all_threads=False)


def _warning(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, line: str | None = None
) -> str:
    """Say a warning in one line, where Python adds one of source."""
    return f"{filename}:{lineno}: {category.__name__}: {message}"


def _text(process: str) -> logging.Formatter:
    who = process.replace("%", "%%") + " " if process else ""
    return logging.Formatter(f"%(asctime)s %(levelname)s {who}%(name)s: %(message)s")


def _json(process: str) -> logging.Formatter:
    # Imported where it is wanted.
    from pythonjsonlogger.json import JsonFormatter

    return JsonFormatter(
        ["levelname", "name", "message"],
        rename_fields={"levelname": "level", "name": "logger", "exc_info": "exception"},
        static_fields={"process": process or "server"},
        timestamp="time",
    )
