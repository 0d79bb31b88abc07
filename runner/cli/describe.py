"""`runner methods`, `runner signature` and `runner client-script`: what a server says about its model."""

from __future__ import annotations

import argparse

from runner.cli.connection import connect, connection_options
from runner.cli.usage import Subcommands

__all__ = ["add"]


def add(subcommands: Subcommands) -> None:
    """Add the three subcommands."""
    options = connection_options()
    methods = subcommands.add_parser(
        "methods", parents=[options], help="list the methods of a served model", allow_abbrev=False
    )
    methods.set_defaults(run=_methods)
    signature = subcommands.add_parser(
        "signature", parents=[options], help="print the signature and the docstring of a method", allow_abbrev=False
    )
    signature.add_argument("method", metavar="METHOD")
    signature.set_defaults(run=_signature)
    script = subcommands.add_parser(
        "client-script", parents=[options], help="print a Python program that calls each method", allow_abbrev=False
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
