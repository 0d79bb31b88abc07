"""`runner swap`: have a server on this machine serve another version of its model, without losing a call."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import cast

from runner.cli.usage import Subcommands

__all__ = ["add"]

_DESCRIPTION = """\
Load MODEL_DIR beside the model that a server on this machine serves, and let it take over once it is ready.

Calls that have started end where they are; all later ones meet the new version. If it cannot be loaded or warmed up,
the old one is served as before, the reason is printed, and the exit code is 1. The new directory's config.yaml counts
for what workers do; the port, the number of replicas and their devices stay. Without MODEL_DIR the directory that is
served is loaded again.

The server is reached by a Unix socket that only its user can open.
"""


def add(subcommands: Subcommands) -> None:
    """Add the subcommand."""
    command = subcommands.add_parser(
        "swap",
        help="have a running server serve another version of its model",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    command.add_argument(
        "model_dir", metavar="MODEL_DIR", type=Path, nargs="?", help="the directory with the new version"
    )
    command.add_argument("--version-id", metavar="ID", help="what to call it; default what its config.yaml says")
    command.add_argument("--host", default="127.0.0.1", help="what the server was told to listen on; default 127.0.0.1")
    command.add_argument("--port", type=int, default=8000, help="the server's port; default 8000")
    command.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    from runner.server.control import ask, socket_path

    model_dir = cast("Path | None", arguments.model_dir)
    request = {
        "swap": {
            "model_dir": None if model_dir is None else str(model_dir.resolve()),
            "version_id": cast("str | None", arguments.version_id),
        }
    }
    host, port = cast(str, arguments.host), cast(int, arguments.port)
    done = ask(socket_path(host, port), request)
    print(f"{done['model_dir']}, version {done['version_id']}, serves on {host}:{port} after {done['seconds']:.1f} s")
    return 0
