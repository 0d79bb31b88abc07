"""`runner methods`, `runner signature` and `runner client-script`: what a server says about its model."""

from __future__ import annotations

import argparse

from runner.cli.connection import connect, connection_options
from runner.cli.usage import Subcommands

__all__ = ["add"]

_METHODS = """\
List the methods of a served model, one signature a line, as Python would write it.

`runner signature METHOD` has a method's docstring too, and `runner call METHOD --help` its arguments with their bounds.
"""

_SIGNATURE = """\
Print the signature and the docstring of a method of a served model.

  runner signature predict
"""

_SCRIPT = """\
Print a Python program that calls each method of a served model once, with example values for its arguments.

  runner client-script > try.py; python try.py
"""


def add(subcommands: Subcommands) -> None:
    """Add the three subcommands."""
    options = connection_options()
    methods = subcommands.add_parser(
        "methods",
        parents=[options],
        help="list the methods of a served model",
        description=_METHODS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    methods.set_defaults(run=_methods)
    signature = subcommands.add_parser(
        "signature",
        parents=[options],
        help="print the signature and the docstring of a method",
        description=_SIGNATURE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    signature.add_argument("method", metavar="METHOD", help="see `runner methods`")
    signature.set_defaults(run=_signature)
    script = subcommands.add_parser(
        "client-script",
        parents=[options],
        help="print a Python program that calls each method",
        description=_SCRIPT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    script.set_defaults(run=_script)


def _methods(arguments: argparse.Namespace) -> int:
    with connect(arguments) as model:
        for name in model.available_methods():
            print(model.method_signature(name))
    return 0


def _signature(arguments: argparse.Namespace) -> int:
    with connect(arguments) as model:
        print(model.method_signature(arguments.method))
        description = model.method(arguments.method).__doc__
        if description:
            print(f"\n{description}")
    return 0


def _script(arguments: argparse.Namespace) -> int:
    with connect(arguments) as model:
        print(model.generate_client_script(), end="")
    return 0
