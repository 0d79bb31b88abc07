"""The one line of stdout: that the server serves, and where."""

from __future__ import annotations

import logging
import os
import sys

logger = logging.getLogger("runner.server")


def announce(line: str) -> None:
    """Print the line. Whoever has closed stdout wants no line, and a server all the same."""
    try:
        print(line, flush=True)
    except OSError as exc:
        logger.warning("stdout cannot be written to (%s); %s", exc.strerror, line)
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())  # or Python tries once more at its end
        os.close(nowhere)
