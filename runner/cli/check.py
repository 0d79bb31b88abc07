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
Load the model in MODEL_DIR in a child process, call each of its methods once, through the whole service but without a
port, and report. Inputs are generated from their types, unless the method brings some:
@ModelClass.method(example={"text": "Hi"}).

  ok        the method answered, and the answer has the declared type
  refused   the method said that the input is wrong: nothing is known about it
  failed    the method raised something else, answered with another type than declared, did not answer in time, or took
            its process along; the others are then called in a new one

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
    report = _Report(cast(Path, arguments.model_dir))
    timeout = cast(float, arguments.timeout)
    while report.unfinished:
        child = subprocess.Popen(
            [sys.executable, "-m", "runner.cli.check_child", str(arguments.model_dir), *report.tried],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
        )
        silence = _Silence(child, timeout)
        try:
            assert child.stdout is not None
            for event in _events(child.stdout, silence):
                report.tell(event)
            code = child.wait()
        finally:
            child.kill()
            child.wait()
        report.end(f"was silent for {timeout:g} s" if silence.broken else _end(code))
    return 1 if report.failed else 0


class _Silence:
    """Kills a child that says nothing for a while."""

    def __init__(self, child: subprocess.Popen[str], timeout: float) -> None:
        self.broken = False  # it was
        self._child = child
        self._timeout = timeout

    def __enter__(self) -> None:
        self._timer = threading.Timer(self._timeout, self._break)
        self._timer.start()

    def __exit__(self, *exc_info: object) -> None:
        self._timer.cancel()

    def _break(self) -> None:
        self.broken = True
        self._child.kill()


def _events(lines: IO[str], silence: _Silence) -> Iterator[dict[str, Any]]:
    """Yield what the child reports, until it ends."""
    with lines:
        while True:
            with silence:
                line = lines.readline()
            if not line:
                return
            yield cast(dict[str, Any], json.loads(line))


def _end(code: int) -> str:
    """Return how a process ended, in words."""
    if code == -signal.SIGKILL:
        return "was killed, for want of memory perhaps"
    return f"was ended by {signal.Signals(-code).name}" if code < 0 else f"exited with code {code}"


class _Report:
    """Prints events as they come, and remembers what was under way, in case the child does not say how it ended.

    Attributes:
        tried: the methods that need no further try.
        failed: whether something did.
        unfinished: whether there is more to try.
    """

    def __init__(self, model_dir: Path) -> None:
        self.tried: list[str] = []
        self.failed = False
        self.unfinished = True
        self._model_dir = model_dir
        self._loaded = False
        self._signature = ""  # of the method that is running

    def tell(self, event: dict[str, Any]) -> None:
        """Print one event."""
        match event["event"]:
            case "cannot load":
                self.failed, self.unfinished = True, False
                print(f"runner: {event['text']}", file=sys.stderr)
                if event["details"]:
                    print(event["details"], file=sys.stderr)
            case "loaded":
                if not self._loaded:
                    print(f"{self._model_dir} loaded in {event['seconds']:.2f} s", flush=True)
                self._loaded = True
            case "calling":
                self.tried.append(event["method"])
                self._signature = event["signature"]
            case "called":
                milliseconds = event["seconds"] * 1000
                print(f"  {event['outcome']:<8}{milliseconds:>9.1f} ms  {self._signature}", flush=True)
                if event["outcome"] != "ok":
                    print(f"{'':>23}{event['text']}", flush=True)
                    if event["inputs"]:
                        print(f"{'':>23}called with {event['inputs']}", flush=True)
                self.failed = self.failed or event["outcome"] == "failed"
                self._signature = ""
            case _:
                self.unfinished = False

    def end(self, how: str) -> None:
        """The child has ended. Say what it did not say itself."""
        if not self.unfinished:
            return
        self.failed = True
        if self._signature:
            print(f"  {'failed':<20}  {self._signature}", flush=True)
            print(f"{'':>23}the process {how}", flush=True)
            self._signature = ""
        else:  # between two methods, or before the first: another child would not come further
            self.unfinished = False
            print(
                f"runner: the process {how} while {'it was idle' if self._loaded else 'loading the model'}",
                file=sys.stderr,
            )
