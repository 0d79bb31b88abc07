"""The command line: its subcommands, and how their errors are told: one line, and what to do about it."""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import cast

from runner.cli import call, check, describe, init, serve, swap, top
from runner.cli.usage import Parser, UsageError
from runner.errors import ConfigError, RunnerError, Unauthenticated

__all__ = ["main"]

_DESCRIPTION = """\
Serve the methods of a Python class as typed remote functions, and call them.

  runner init my-model               write a first model, with a test
  runner check my-model              load it, and run each method on generated inputs
  runner serve my-model              publish it on http://127.0.0.1:8000
  runner methods                     what is served there
  runner call predict --prompt Hi    call a method; --prompt is the method's own argument
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line, without the program's name.

    Returns:
        The exit code: 0 if all is well, 1 if what was asked for failed, 2 if the command line or a configuration was
        wrong, 130 on Ctrl-C. `serve` has codes of its own; see `runner serve --help`.
    """
    if hasattr(sys.stdout, "reconfigure"):  # what stands in for it in a test has no encoding
        cast(io.TextIOWrapper, sys.stdout).reconfigure(
            errors="backslashreplace"
        )  # a terminal may know less than Unicode
    try:
        arguments = _parser().parse_args(argv)
        return cast(Callable[[argparse.Namespace], int], arguments.run)(arguments)
    except (UsageError, ConfigError) as error:
        return _complain(error, 2)
    except BrokenPipeError:
        # Whoever read our output has seen enough. Python would complain once more while it closes stdout.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        if error.filename is None or error.strerror is None:
            return _complain(error, 1)
        return _complain(UsageError(f"{error.filename}: {error.strerror}"), 1)
    except Unauthenticated as error:
        return _complain(UsageError(f"{error}; --pat or RUNNER_PAT gives it one"), 1)
    except RunnerError as error:
        return _complain(error, 1)
    except KeyboardInterrupt:
        return 130


def _parser() -> Parser:
    parser = Parser(
        prog="runner",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="`runner COMMAND --help` says more about each.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"runner {_version()}")
    subcommands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for module in (init, check, serve, swap, describe, call, top):
        module.add(subcommands)
    return parser


def _version() -> str:
    try:
        return version("runner")
    except PackageNotFoundError:
        return "(not installed: running from a source tree)"


def _complain(error: Exception, code: int) -> int:
    text = " ".join(str(error).split())
    print(f"runner: {text or type(error).__name__}", file=sys.stderr)
    details = str(getattr(error, "details", ""))
    if details and details not in str(error):
        print(details, file=sys.stderr)
    return code
