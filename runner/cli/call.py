"""`runner call METHOD`: a method's arguments become options, with the types and texts of its signature."""

from __future__ import annotations

import argparse
import difflib
import sys
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, cast

from runner.cli.connection import connect, connection_options
from runner.cli.show import numbered, save, show
from runner.cli.usage import Parser, Subcommands, UsageError
from runner.errors import CallError
from runner.signature.tree import Array, Json, JsonShape, Kind, Leaf, ListOf, Node, OptionalOf, TupleOf

if TYPE_CHECKING:
    from runner.client.stream import Stream
    from runner.signature.method import Argument, MethodSignature

__all__ = ["add"]

_DESCRIPTION = """\
Call a method of a served model and print its result; a stream is printed as it comes.

The method's arguments are options of the command: `runner call predict --help` lists them.

  runner call predict --prompt "What is photosynthesis?"
  runner call predict_image --image cat.jpg
  runner call predict_image --image https://samples.clarifai.com/cat1.jpeg
  runner call chat --messages '[{"role": "user", "content": "Hi"}]'
  runner call summarize --text @report.txt          @FILE: what is in the file (@@ begins a text with @)
  runner call embed --vector '[0.5, 1]'             lists, arrays and the like are JSON, and arrays @FILE.npy too
  runner call stream --input_iterator a --input_iterator b
  runner call stream --input_iterator -             each line that you type, as you type it
"""


def add(subcommands: Subcommands) -> None:
    """Add the subcommand."""
    command = subcommands.add_parser(
        "call",
        parents=[connection_options(), _output_options()],
        help="call a method and print its result",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        usage="runner call [OPTIONS] METHOD [--ARGUMENT VALUE ...]",
        allow_abbrev=False,
    )
    command.add_argument("method", metavar="METHOD", help="see `runner methods`")
    rest = command.add_argument("rest", nargs=argparse.REMAINDER, metavar="...", help=argparse.SUPPRESS)
    rest.required = False  # otherwise a command line without METHOD is told that `...` is missing too
    command.set_defaults(run=_run)


def _output_options() -> Parser:
    options = Parser(add_help=False, allow_abbrev=False)
    group = options.add_argument_group("output")
    group.add_argument("--join", action="store_true", help="print the pieces of a stream one behind the other")
    group.add_argument("--timing", action="store_true", help="say on stderr where the time of the call went")
    group.add_argument(
        "--save",
        metavar="FILE",
        help="write the result to a file: media and bytes as they are, an array as .npy, all else as text; items "
        "of a stream are numbered, such as x-1.png",
    )
    return options


def _run(arguments: argparse.Namespace) -> int:
    own = Parser(parents=[connection_options(), _output_options()], add_help=False, allow_abbrev=False)
    # Our own options may stand on either side of METHOD; what is left belongs to the method.
    arguments, rest = own.parse_known_args(cast(list[str], arguments.rest), arguments)
    with connect(arguments) as model:
        method = model.method(cast(str, arguments.method))
        call = _parse(method.signature, rest)
        times: Mapping[str, float] = {}
        try:
            if method.signature.cardinality.streams_output:
                stream = cast("Stream", method(**call))
                _print_stream(stream, arguments)
                times = stream.times
            else:
                result, times = method.timed(**call)
                _print(result, arguments)
        except CallError as error:
            times = error.times
            raise
        finally:
            if arguments.timing and times:
                print("  ".join(f"{name} {_time(name, value)}" for name, value in times.items()), file=sys.stderr)
    return 0


def _time(name: str, value: float) -> str:
    return f"{value:.0f}" if name == "batch" else f"{value:.3f} ms"


def _print_stream(stream: Iterator[object], arguments: argparse.Namespace) -> None:
    for number, item in enumerate(stream, 1):
        if arguments.save is not None:
            _save(item, numbered(cast(str, arguments.save), number))
        else:
            print(show(item), end="" if arguments.join else "\n", flush=True)
    if arguments.join:
        print()


def _print(result: object, arguments: argparse.Namespace) -> None:
    if arguments.save is not None:
        _save(result, cast(str, arguments.save))
    else:
        print(show(result), flush=True)


def _save(result: object, path: str) -> None:
    print(f"{path}: {save(result, path):,} bytes", file=sys.stderr)


def _parse(signature: MethodSignature, rest: list[str]) -> dict[str, Any]:
    """Return the method's arguments from its part of the command line."""
    from runner.cli.values import parse_value

    by_name = {argument.name: argument for argument in signature.arguments}
    given, unknown = _method_parser(signature).parse_known_args(_joined(signature, rest))
    if unknown:
        raise UsageError(_unknown(signature, unknown[0]))
    texts = {name: list(cast("list[str] | None", getattr(given, f"argument {name}", None)) or ()) for name in by_name}
    for pair in cast("list[str] | None", given.arg) or ():
        name, equals, text = pair.partition("=")
        if not equals or name not in texts:
            raise UsageError(f"--arg {pair}: needs NAME=VALUE, with a name among {', '.join(by_name) or 'none'}")
        texts[name].append(text)
    call: dict[str, Any] = {}
    for name, argument in by_name.items():
        if argument.streamed:
            call[name] = _items(argument, texts[name])
        elif len(texts[name]) > 1:
            raise UsageError(
                f"--{name}: given {len(texts[name])} times, and the method takes one value"
                + (f"; a list is one, in JSON: --{name} '[...]'" if _is_list(argument.node) else "")
            )
        elif texts[name]:
            call[name] = parse_value(argument.node, texts[name][0], f"--{name}")
        elif argument.required and not isinstance(argument.node, OptionalOf):
            raise UsageError(f"{signature.name} needs --{name} ({_describe(argument)})")
    return call


def _joined(signature: MethodSignature, rest: list[str]) -> list[str]:
    """Join values like `-1e3` to their options: argparse takes them for options themselves."""
    takes_value = {f"--{argument.name}" for argument in signature.arguments if not _is_flag(argument.node)}
    joined: list[str] = []
    for text in rest:
        if joined and joined[-1] in takes_value and text[:1] == "-" and text[:2] != "--" and text not in ("-", "-h"):
            joined[-1] += f"={text}"
        else:
            joined.append(text)
    return joined


def _unknown(signature: MethodSignature, text: str) -> str:
    """Return what is wrong with what is no option of the method."""
    names = [argument.name for argument in signature.arguments]
    has = f"it has {', '.join(f'--{name}' for name in names)}" if names else "it has none"
    if not text.startswith("-"):
        return f"{text}: {signature.name} takes its arguments by name; {has}"
    close = difflib.get_close_matches(text.lstrip("-").partition("=")[0].replace("-", "_"), names, 1)
    meant = f"did you mean --{close[0]}?" if close else has
    return f"{text.partition('=')[0]}: no such argument of {signature.name}; {meant}"


def _items(argument: Argument, texts: list[str]) -> Iterator[object]:
    from runner.cli.values import parse_value

    for text in texts:
        lines = (line.rstrip("\n") for line in sys.stdin) if text == "-" else [text]
        for line in lines:
            yield parse_value(argument.node, line, f"--{argument.name}")


def _method_parser(signature: MethodSignature) -> Parser:
    from runner.signature.render import render

    description = f"{render(signature)}\n\n{signature.description}"
    parser = Parser(
        prog=f"runner call {signature.name}",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="`runner call --help` lists the options that every call has.",
        allow_abbrev=False,
    )
    group = parser.add_argument_group("arguments of the method")
    for argument in signature.arguments:
        # An argument of the method may be called `help` or `arg` too: --arg NAME=VALUE reaches those.
        if argument.name not in ("help", "arg"):
            alone: dict[str, Any] = {"nargs": "?", "const": "true"} if _is_flag(argument.node) else {}
            group.add_argument(
                f"--{argument.name}",
                action="append",
                **alone,
                metavar="VALUE",
                dest=f"argument {argument.name}",
                help=_describe(argument).replace("%", "%%"),
            )
    parser.add_argument(
        "--arg",
        action="append",
        metavar="NAME=VALUE",
        help="gives an argument whose name is also an option of this command: --arg timeout=5",
    )
    return parser


def _is_list(node: Node) -> bool:
    match node:
        case OptionalOf(item):
            return _is_list(item)
        case ListOf() | TupleOf() | Array():
            return True
        case Json(shape):
            return shape is JsonShape.ARRAY
        case _:
            return False


def _is_flag(node: Node) -> bool:
    """Tell whether the option alone says enough: that of a bool."""
    return node == Leaf(Kind.BOOL) or (isinstance(node, OptionalOf) and node.item == Leaf(Kind.BOOL))


def _describe(argument: Argument) -> str:
    from runner.signature.source import type_source, value_source

    parts = [type_source(argument.node)]
    if argument.streamed:
        parts[0] = f"stream of {parts[0]}, repeat the option or give - to read lines"
    limits = argument.limits
    if limits.description:
        parts.append(limits.description)
    if limits.min_value is not None or limits.max_value is not None:
        low = "" if limits.min_value is None else f"from {limits.min_value:g} "
        high = "" if limits.max_value is None else f"to {limits.max_value:g}"
        parts.append(f"{low}{high}".strip())
    if limits.choices:
        parts.append(f"one of {', '.join(map(str, limits.choices))}")
    if argument.required:
        parts.append("required")
    elif argument.default is not None:
        parts.append(f"default {value_source(argument.default) or '...'}")
    return "; ".join(parts)
