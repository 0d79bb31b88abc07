"""What a batch is made of: a row for each input, and the jobs that bring rows and want the results of theirs."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from runner.batch import Stacking
from runner.batching.coalescer import Job
from runner.batching.key import array_key, shared_key
from runner.batching.staging import check_padding
from runner.context import CallContext
from runner.execution import failure
from runner.execution.method import BatchPlan, LoadedMethod


class Row(NamedTuple):
    """One input in a batch."""

    job: BatchedJob
    context: CallContext
    arguments: Mapping[str, Any]


class BatchedJob(Job):
    """A job whose inputs run in one batch; the result it is given is a list of theirs if it has several."""

    __slots__ = ()

    @property
    def call_id(self) -> int:
        """The number of the call that it belongs to."""
        raise NotImplementedError

    @property
    def rows(self) -> Sequence[Row]:
        """Its inputs. Made when they are asked for: a row that a job kept would keep the job."""
        raise NotImplementedError


def rows_of(jobs: Sequence[BatchedJob]) -> list[Row]:
    """Return the rows of a batch, in order."""
    return [row for job in jobs for row in job.rows]


def calls_of(rows: Iterable[Row]) -> list[int]:
    """Return the calls that rows belong to, each once."""
    return list(dict.fromkeys([row.job.call_id for row in rows]))


def per_job(results: Sequence[Any], jobs: Sequence[BatchedJob]) -> list[Any]:
    """Return the results of each job's rows, from those of all rows."""
    if len(results) == len(jobs):
        return list(results)
    found: list[Any] = []
    position = 0
    for job in jobs:
        end = position + len(job.rows)
        found.append(results[position] if end - position == 1 else results[position:end])
        position = end
    return found


def key_of(plan: BatchPlan, arguments: Mapping[str, Any]) -> Hashable:
    """Return what inputs have to agree on to share a batch.

    Raises:
        InvalidInput: an array cannot be filled up as the method wants it.
    """
    shared = tuple(shared_key(arguments[name]) for name in arguments if name not in plan.names)
    if all(stacking is Stacking.LIST for stacking in plan.stackings):
        return shared
    pairs = [(arguments[name], stacking) for name, stacking in zip(plan.names, plan.stackings, strict=True)]
    if plan.padding is not None:
        for name, (value, stacking) in zip(plan.names, pairs, strict=True):
            check_padding(name, value, stacking, plan.padding)
    return (shared, tuple(array_key(value, stacking, padded=plan.padding is not None) for value, stacking in pairs))


def cost_of(method: LoadedMethod, arguments: Mapping[str, Any]) -> float:
    """Return what an input costs, as the method's author counts it.

    Raises:
        CallError: the author's function raised.
    """
    plan = method.plan
    if plan is None or plan.cost is None:
        return 1.0
    try:
        return float(plan.cost(*(arguments[name] for name in plan.names)))
    except BaseException as exc:
        raise failure.of_model(exc, method.name, cancelled=False) from exc
