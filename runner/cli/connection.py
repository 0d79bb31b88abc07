"""The options of every subcommand that talks to a server, and the client they make."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, cast

from runner.cli.usage import Parser, UsageError

if TYPE_CHECKING:
    from runner.client import Model

__all__ = ["connect", "connection_options"]


def connection_options() -> Parser:
    """Return a parser that holds the options, for use as a parent."""
    options = Parser(add_help=False, allow_abbrev=False)
    group = options.add_argument_group("which model")
    group.add_argument(
        "--url",
        metavar="URL",
        help="the server, http://HOST:PORT, or a model URL, https://HOST/USER/APP/models/MODEL; "
        "a server runs one model, so its address is enough",
    )
    group.add_argument(
        "--base-url",
        metavar="URL",
        help="the server, where --url is a model URL; default RUNNER_API_BASE, or http://127.0.0.1:8000",
    )
    group.add_argument("--pat", metavar="KEY", help="the key, if the server wants one; default RUNNER_PAT")
    group.add_argument(
        "--root-certificates",
        metavar="FILE",
        help="trust these certificates of an https:// server, not the well-known ones; default "
        "RUNNER_ROOT_CERTIFICATES_PATH",
    )
    group.add_argument(
        "--client-certificate",
        metavar="FILE",
        help="who we are, if the server wants certificates; default RUNNER_CLIENT_CERTIFICATE_PATH",
    )
    group.add_argument("--client-key", metavar="FILE", help="its key; default RUNNER_CLIENT_KEY_PATH")
    group.add_argument("--deployment-id", metavar="ID", default="", help="which deployment shall answer")
    group.add_argument("--timeout", metavar="SECONDS", type=float, help="give up after this time; default never")
    return options


def connect(arguments: argparse.Namespace) -> Model:
    """Return the client that the options describe; nothing is sent yet.

    Raises:
        UsageError: a URL of another shape, or a time that is none.
    """
    from runner.client import Model

    try:
        return Model(
            cast("str | None", arguments.url),
            base_url=cast("str | None", arguments.base_url),
            pat=cast("str | None", arguments.pat),
            deployment_id=cast(str, arguments.deployment_id),
            timeout=cast("float | None", arguments.timeout),
            root_certificates_path=cast("str | None", arguments.root_certificates),
            client_certificate_path=cast("str | None", arguments.client_certificate),
            client_key_path=cast("str | None", arguments.client_key),
        )
    except ValueError as error:
        raise UsageError(str(error)) from None
