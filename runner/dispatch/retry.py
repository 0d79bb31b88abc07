"""What becomes of a call whose worker has died. Pure.

What has not begun to run goes to another worker, always. What has begun does so only where that does no harm: its
method is idempotent, and nothing of its answer has left the server. A call that was there when two workers died is
suspected of having killed them, so it runs once more by itself, where it can harm no other; after a third death it is
refused. It may be innocent the first two times, not the third.
"""

from __future__ import annotations

import enum
from typing import Final

SUSPECTED_AFTER: Final = 2
"""Deaths of workers at which a call was present, after which it runs alone."""


class Course(enum.Enum):
    """What happens to a call."""

    AGAIN = "again"
    """It waits for another worker, before the others of its caller."""
    ALONE = "alone"
    """It waits for a worker that has nothing else to do, and gets nothing else meanwhile."""
    LOST = "lost"
    """It ends: nobody can know what it has done."""
    POISON = "poison"
    """It ends: it is what kills workers."""


def course_after_death(*, present: bool, ran: bool, repeatable: bool, deaths: int) -> Course:
    """Decide.

    Args:
        present: the worker had begun something for the call, the method or the opening of its inputs.
        ran: its method had begun.
        repeatable: the method may run twice, and nothing of the answer has left the server.
        deaths: of workers at which the call was present, this one included.
    """
    if ran and not repeatable:
        return Course.LOST
    if deaths < SUSPECTED_AFTER:
        return Course.AGAIN
    # A suspect whose worker has died or left before it had begun is one still.
    return Course.ALONE if deaths == SUSPECTED_AFTER or not present else Course.POISON
