"""Wrong command lines: the error for them, and the parser that raises it."""

from __future__ import annotations

import argparse
from typing import NoReturn, TypeAlias

__all__ = ["Parser", "Subcommands", "UsageError"]


class UsageError(Exception):
    """What was typed is wrong. The text is one line, which names the option, the value and what is needed."""


class Parser(argparse.ArgumentParser):
    """A parser whose errors are raised, in one line that says where to read on."""

    def error(self, message: str) -> NoReturn:
        """See `argparse`."""
        raise UsageError(f"{message}; see `{self.prog} --help`")


Subcommands: TypeAlias = "argparse._SubParsersAction[Parser]"  # pyright: ignore[reportPrivateUsage] - it has no public name
"""What a module adds its subcommand to."""
