"""`runner check`: load a model in a child process, run each of its methods, and report.

The child may crash or hang in somebody's native code; the report is written out here, where neither can hurt it.
"""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, cast

from runner.cli.usage import Subcommands

__all__ = ["add"]

_DESCRIPTION = """\
Load the model in MODEL_DIR in a child process, call each of its methods once on generated inputs of its types,
through the whole service but without a port, and report.

  ok        the method answered, and the answer has the declared type
  refused   the method said that the generated input is wrong: nothing is known about it
  failed    the method raised something else, or answered with another type than declared

Exit code: 0 if nothing failed, 1 otherwise.
"""


def add(subcommands: Subcommands) -> None:
    """Add the subcommand."""
    command = subcommands.add_parser(
        "check",
        help="load a model and run each method on generated inputs",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    command.add_argument("model_dir", metavar="MODEL_DIR", type=Path, help="the directory that holds model.py")
    command.add_argument(
        "--timeout", metavar="SECONDS", type=float, default=300.0, help="for loading, and for each method; default 300"
    )
    command.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    child = subprocess.Popen(
        [sys.executable, "-m", "runner.cli.check_child", str(arguments.model_dir)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    )
    report = _Report(cast(Path, arguments.model_dir))
    timeout = cast(float, arguments.timeout)
    try:
        assert child.stdout is not None
        for event in _events(child.stdout, child, timeout):
            report.tell(event)
        code = child.wait()
    finally:
        child.kill()
        child.wait()
    return report.end(code, timeout)


def _events(lines: IO[str], child: subprocess.Popen[str], timeout: float) -> Iterator[dict[str, Any]]:
    """Yield what the child reports; kill it when it has been silent for `timeout` seconds."""
    with lines:
        while True:
            silence = threading.Timer(timeout, child.kill)
            silence.start()
            line = lines.readline()
            silence.cancel()
            if not line:
                return
            yield cast(dict[str, Any], json.loads(line))


class _Report:
    """Prints events as they come, and remembers what was under way, in case the child does not say how it ended."""

    def __init__(self, model_dir: Path) -> None:
        self._model_dir = model_dir
        self._doing = "loading the model"
        self._signature = ""
        self._failed = False
        self._done = False

    def tell(self, event: dict[str, Any]) -> None:
        """Print one event."""
        match event["event"]:
            case "cannot load":
                self._failed = self._done = True
                print(f"runner: {event['text']}", file=sys.stderr)
                if event["details"]:
                    print(event["details"], file=sys.stderr)
            case "loaded":
                print(f"{self._model_dir} loaded in {event['seconds']:.2f} s", flush=True)
            case "calling":
                self._signature = event["signature"]
                self._doing = f"running {self._signature}"
            case "called":
                milliseconds = event["seconds"] * 1000
                print(f"  {event['outcome']:<8}{milliseconds:>9.1f} ms  {self._signature}", flush=True)
                if event["outcome"] != "ok":
                    print(f"{'':>23}{event['text']}", flush=True)
                self._failed = self._failed or event["outcome"] == "failed"
            case _:
                self._done = True

    def end(self, code: int, timeout: float) -> int:
        """Say what a child did not say itself; return the exit code of the whole."""
        if not self._done:
            if code == -signal.SIGKILL:
                how = f"was killed: no answer for {timeout:g} s, or out of memory,"
            elif code < 0:
                how = f"was ended by {signal.Signals(-code).name}"
            else:
                how = f"exited with code {code}"
            print(f"runner: the process {how} while {self._doing}", file=sys.stderr)
        return 1 if self._failed or not self._done else 0
