"""What a batch is made of: a row for each input, and the jobs that bring rows and want the results of theirs."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

from runner.batch import Stacking
from runner.batching.entries import checked_cost
from runner.batching.jobs import Job
from runner.batching.key import array_key, shared_key
from runner.batching.padding import check_padding
from runner.batching.staging import Blocks
from runner.context import BatchContext, CallContext
from runner.execution import failure
from runner.execution.method import BatchPlan, LoadedMethod
from runner.wire.call import AlikeCalls


class Row(NamedTuple):
    """One input in a batch."""

    job: BatchedJob
    call_id: int
    context: CallContext
    arguments: Mapping[str, Any]


class BatchedJob(Job):
    """A job whose inputs run in one batch; the result it is given is a sequence of theirs if it has several."""

    __slots__ = ()

    @property
    def calls(self) -> Sequence[int]:
        """The numbers of the calls that it belongs to."""
        raise NotImplementedError

    @property
    def contexts(self) -> Collection[CallContext]:
        """Of each of these calls; of one that has several inputs, of its first."""
        raise NotImplementedError

    @property
    def arguments(self) -> Mapping[str, Any]:
        """Of its first input."""
        raise NotImplementedError

    @property
    def rows(self) -> Sequence[Row]:
        """Its inputs. Made when they are asked for: a row that a job kept would keep the job."""
        return (Row(self, self.calls[0], next(iter(self.contexts)), self.arguments),)

    def values(self, name: str) -> Sequence[Any]:
        """Return the values of an argument: a sequence, or an array of numpy's with a row for each, to be copied."""
        return (self.arguments[name],)


class Inputs:
    """The inputs of a batch, or some of them. Rows are made when somebody wants them: mostly nobody does."""

    def __init__(self, jobs: Sequence[BatchedJob], rows: Sequence[Row] | None = None) -> None:
        """Take the inputs of these jobs, or of them these rows alone."""
        self._jobs = jobs
        self._rows = rows

    def __len__(self) -> int:
        return sum([job.entry.size for job in self._jobs]) if self._rows is None else len(self._rows)

    @property
    def rows(self) -> Sequence[Row]:
        """All of them, in order."""
        if self._rows is None:
            self._rows = [row for job in self._jobs for row in job.rows]
        return self._rows

    @property
    def arguments(self) -> Mapping[str, Any]:
        """Of the first one; what is not batched is the same for all."""
        return self._jobs[0].arguments if self._rows is None else self._rows[0].arguments

    @property
    def calls(self) -> list[int]:
        """The calls that they belong to."""
        return [call for calls in self.calls_by_job for call in calls]

    @property
    def calls_by_job(self) -> list[Sequence[int]]:
        """The same, those of each job as it has them."""
        if self._rows is None:
            return [job.calls for job in self._jobs]
        return [list(dict.fromkeys([row.call_id for row in self._rows]))]

    def context(self, filled: int) -> BatchContext:
        """Return what the method sees as its context if it is given so many values."""
        if self._rows is None:
            groups = [job.contexts for job in self._jobs]
            several = len(self) > sum(map(len, groups))
            return BatchContext(partial(_joined, groups), self._contexts if several else None, filled)
        return BatchContext(self._contexts(), filled=filled)

    def _contexts(self) -> list[CallContext]:
        return [row.context for row in self.rows]

    def values(self, name: str, size: int) -> Sequence[Any] | Blocks:
        """Return the values of an argument, filled up to so many by repeating the last one."""
        if self._rows is not None:
            columns: list[Sequence[Any]] = [[row.arguments[name] for row in self._rows]]
        else:
            columns = [job.values(name) for job in self._jobs]
            if any(hasattr(column, "dtype") for column in columns):
                return Blocks([block for column in columns for block in _blocks(column)], size)
        values = [value for column in columns for value in column]
        return values + values[-1:] * (size - len(values))

    def halves(self) -> tuple[Inputs, Inputs]:
        """Return the first half and the second."""
        rows = self.rows
        middle = len(rows) // 2
        return Inputs(self._jobs, rows[:middle]), Inputs(self._jobs, rows[middle:])

    def per_job(self, results: Sequence[Any]) -> list[Any]:
        """Return the results of each job, from those of all inputs."""
        if len(results) == len(self._jobs):
            return list(results)
        found: list[Any] = []
        position = 0
        for job in self._jobs:
            end = position + job.entry.size
            found.append(results[position] if end - position == 1 else results[position:end])
            position = end
        return found


def _joined(groups: Sequence[Collection[CallContext]]) -> list[CallContext]:
    return [context for group in groups for context in group]


def _blocks(column: Any) -> Sequence[Any]:
    if hasattr(column, "dtype"):
        return (column,)
    # Of numpy, or tensors on the host, which share their memory.
    return [(value.numpy() if hasattr(value, "numpy") else value)[None] for value in column]


def key_of(plan: BatchPlan, arguments: Mapping[str, Any]) -> Hashable:
    """Return what inputs have to agree on to share a batch.

    Raises:
        InvalidInput: an array cannot be filled up as the method wants it.
    """
    shared = tuple([shared_key(arguments[name]) for name in arguments if name not in plan.names])
    if all(stacking is Stacking.LIST for stacking in plan.stackings):
        return shared
    pairs = [(arguments[name], stacking) for name, stacking in zip(plan.names, plan.stackings, strict=True)]
    if plan.padding is not None:
        for name, (value, stacking) in zip(plan.names, pairs, strict=True):
            check_padding(name, value, stacking, plan.padding)
    return (shared, tuple([array_key(value, stacking, padded=plan.padding is not None) for value, stacking in pairs]))


def key_of_alike(plan: BatchPlan, alike: AlikeCalls) -> Hashable:
    """Return the key of calls that differ in one batched argument alone: the same one for all calls like them."""
    key = alike.memo.get("key")
    if key is None:
        key = alike.memo["key"] = key_of(plan, alike.arguments)
    return key


def cost_of(method: LoadedMethod, arguments: Mapping[str, Any]) -> float:
    """Return what an input costs, as the method's author counts it.

    Raises:
        CallError: the author's function raised, or what it returned is no cost.
    """
    plan = method.plan
    if plan is None or plan.cost is None:
        return 1.0
    try:
        return checked_cost(plan.cost(*(arguments[name] for name in plan.names)))
    except BaseException as exc:
        raise failure.of_model(exc, method.name, cancelled=False) from exc
