"""What becomes of calls whose worker is gone, or for whom none is left.

`dispatch.retry` decides by what is known of a call; here is where that is known from, and what its caller is told.
"""

from __future__ import annotations

from typing import NamedTuple

from runner.dispatch.retry import Course, course_after_death
from runner.engine.calls import EngineCall
from runner.engine.replica import Replica
from runner.errors import CallError, ModelFailing, PoisonCall, WorkerLost
from runner.execution.journal import Mark

_LOST = "the worker that ran the call is gone; whether the method finished is not known"
_REPLACED = "its worker was replaced, and the call did not end in the time that calls had for it"


class Again(NamedTuple):
    """The call runs once more, from its beginning."""

    alone: bool
    """With nothing beside it: it may be what kills workers."""


def fate_of(call: EngineCall, replica: Replica, *, died: bool, refusal: ModelFailing | None) -> Again | CallError:
    """Decide what becomes of a call whose worker is gone, and note the death in the call.

    Args:
        call: one that somebody still waits for.
        replica: where it was.
        died: the worker was not ended on purpose.
        refusal: what `Fleet.refusal` says of the call's group.
    """
    mark = replica.mark_of(call)
    stuck = call.wire_id in replica.stuck
    present = died and mark is not Mark.NONE
    call.deaths += present
    course = course_after_death(
        present=present, ran=mark is Mark.RUNS, repeatable=call.repeatable and not stuck, deaths=call.deaths
    )
    match course:
        case Course.AGAIN | Course.ALONE:
            call.rewind()
            return Again(course is Course.ALONE) if refusal is None else without_worker(call, refusal)
        case Course.POISON:
            return PoisonCall(f"{call.deaths} workers died while they ran the call; it is not run again")
        case Course.LOST if stuck:
            limit = call.request.method.max_run
            return WorkerLost(f"the call ran for longer than {limit:g} s, and its worker was ended")
        case Course.LOST:
            return WorkerLost(_LOST if died else _REPLACED)


def lost_with(call: EngineCall, replica: Replica) -> WorkerLost | None:
    """Return what a call ends with when the worker that has it is replaced; None if it is going to run elsewhere."""
    ran = replica.mark_of(call) is Mark.RUNS
    course = course_after_death(present=False, ran=ran, repeatable=call.repeatable, deaths=call.deaths)
    return WorkerLost(_REPLACED) if course is Course.LOST else None


def without_worker(call: EngineCall, refusal: ModelFailing) -> CallError:
    """Return what a waiting call ends with when nothing can run it: it may have been refused, or have run once."""
    return WorkerLost(_LOST) if call.deaths else refusal
