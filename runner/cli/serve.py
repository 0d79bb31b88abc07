"""`runner serve`: flags become the configuration, and the server's life begins."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import cast

from runner.cli.usage import Subcommands
from runner.logs import FORMATS, LEVELS

__all__ = ["add"]

_DESCRIPTION = """\
Publish the methods of the model in MODEL_DIR over gRPC.

The directory holds model.py (or 1/model.py) with one subclass of ModelClass, and may hold a config.yaml. A key of the
file given with --config wins over the directory's, and a flag over both. Once every replica is ready, the line
`serving MODEL on HOST:PORT` is printed.

SIGHUP and `runner swap` load the model again, or another version of it, and lose no call. SIGTERM and Ctrl-C finish
the calls in flight, then exit with 0. Other exit codes: 1 something else failed, 2 wrong command line or
configuration, 3 the model cannot be loaded, 4 the port cannot be had, 130 a second signal ended it at once.
"""

_KEYS = (
    *(
        "host",
        "port",
        "transport",
        "ingress",
        "replicas",
        "devices",
        "keys_file",
        "allow_private_urls",
        "strict_ids",
        "hide_model_errors",
    ),
    "debug",
    "http_port",
)
"""Flags that are keys of the configuration under the same name."""


def add(subcommands: Subcommands) -> None:
    """Add the subcommand."""
    command = subcommands.add_parser(
        "serve",
        help="publish a model directory",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    command.add_argument("model_dir", metavar="MODEL_DIR", type=Path, help="the directory that holds model.py")
    command.add_argument("--host", help="the address to listen on; default 127.0.0.1, this machine only")
    command.add_argument("--port", type=int, help="default 8000; 0 takes a free one")
    command.add_argument(
        "--http-port", metavar="PORT", type=int, help="answer /livez, /readyz, /startupz and /metrics there"
    )
    command.add_argument(
        "--transport",
        choices=("native", "grpcio"),
        help="what carries calls: our own HTTP/2 (native), or grpcio at several times the CPU; default native",
    )
    command.add_argument(
        "--ingress",
        metavar="N",
        type=int,
        help="processes that own the connections, for nodes where one core is not enough for them; default 0: none",
    )
    command.add_argument(
        "--config", metavar="FILE", type=Path, help="a YAML file; config.yaml beside the README has all keys"
    )
    command.add_argument("--replicas", metavar="N", type=int, help="how many copies of the model; default 1")
    command.add_argument(
        "--devices",
        metavar="LIST",
        help="auto, cpu, or names such as cuda:0,cuda:1; default auto: GPUs if there are any",
    )
    command.add_argument(
        "--keys-file",
        metavar="FILE",
        type=Path,
        help="the keys that callers may use, one a line; read again when it changes; default none: anybody may call",
    )
    command.add_argument(
        "--tls-certificate",
        metavar="FILE",
        type=Path,
        help="the server's certificate as PEM; with it and --tls-key the port is encrypted; read again when it changes",
    )
    command.add_argument("--tls-key", metavar="FILE", type=Path, help="the key of that certificate")
    command.add_argument(
        "--tls-client-ca",
        metavar="FILE",
        type=Path,
        help="callers must have a certificate that one of these authorities has signed",
    )
    command.add_argument(
        "--allow-private-urls",
        action="store_true",
        default=None,
        help="fetch inputs from private and loopback addresses too; only where every caller is trusted",
    )
    command.add_argument(
        "--strict-ids",
        action="store_true",
        default=None,
        help="refuse calls for other model ids than the configured ones",
    )
    command.add_argument(
        "--hide-model-errors",
        action="store_true",
        default=None,
        help="tell callers that the model raised, but not what",
    )
    command.add_argument(
        "--debug",
        action="store_true",
        default=None,
        help="tell callers the traceback of an error too, with paths and lines of code; for development only",
    )
    command.add_argument("--log-level", choices=LEVELS, help="the least that is logged, to stderr; default info")
    command.add_argument(
        "--log-format", choices=FORMATS, help="text, or json: an object a line, for what collects logs; default text"
    )
    command.add_argument(
        "--reload",
        action="store_true",
        help="load the model again when a *.py or *.yaml of its directory changes; for development",
    )
    command.add_argument("--inline", action="store_true", help="run the model in this process, where breakpoints work")
    command.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    # Read when grpcio is imported. Workers are spawned by fork and exec, so its handlers for forks that go on would
    # only log that they were skipped.
    os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
    # Its own lines about a taken port or a client that hung up would stand beside ours, which say what to do.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    # Imported here: the other subcommands do not need a server.
    from runner.config import ServerConfig, load_server_config
    from runner.server.lifecycle import run

    overrides: dict[str, object] = {key: getattr(arguments, key) for key in _KEYS}
    overrides["log"] = {"level": arguments.log_level, "format": arguments.log_format}
    overrides["tls"] = {key: getattr(arguments, f"tls_{key}") for key in ("certificate", "key", "client_ca")}
    model_dir = cast(Path, arguments.model_dir)
    file = cast("Path | None", arguments.config)

    def configure(model_dir: Path) -> ServerConfig:
        return load_server_config(file, overrides, model_dir=model_dir)

    return run(model_dir, configure, inline=cast(bool, arguments.inline), reload=cast(bool, arguments.reload))
