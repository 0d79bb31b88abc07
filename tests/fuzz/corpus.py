"""Messages worth keeping: one file for each target, a line for each message, `case hex`.

They are what a coverage-guided run left when everything that reaches no other code was taken out, and every message
that ever failed.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

FOLDER = Path(__file__).parent / "corpus"

MAX_MESSAGES = 250
"""of one target, so that all are replayed in a moment."""

MAX_BYTES = 600
"""of one message that a guided run found; those that failed are kept at any length."""

HEAD = "# Written by scripts/fuzz --guided; messages that failed once, by hand: above the line.\n"
LINE = "# ---"


def read(target: str) -> list[tuple[int, bytes]]:
    """Return the messages of a target with their cases."""
    file = FOLDER / f"{target}.txt"
    if not file.exists():
        return []
    lines = [line.split() for line in file.read_text().splitlines() if line and not line.startswith("#")]
    return [(int(case), bytes.fromhex(text[0]) if text else b"") for case, *text in lines]


def replace_found(target: str, messages: Iterable[tuple[int, bytes]]) -> int:
    """Keep what failed, and put these in the place of what a guided run found before. Return how many there are."""
    file = FOLDER / f"{target}.txt"
    failed = file.read_text().partition(LINE)[0] if file.exists() else HEAD
    kept = sorted((case, message) for case, message in messages if len(message) <= MAX_BYTES)[:MAX_MESSAGES]
    FOLDER.mkdir(exist_ok=True)
    file.write_text(f"{failed}{LINE}\n" + "".join(f"{case} {message.hex()}\n" for case, message in kept))
    return len(kept)
