"""Coalescing points: a helper that works on lists, called with one item.

Whenever the device is free, all calls of a point that wait run as one batch, whatever requests, methods or streams
they come from. So ordinary code gets continuous batching: each stream is a coroutine with its own state, and they join
and leave at every step.

    @ModelClass.batched(max_batch_size=64)
    def step(self, states: list[State]) -> list[int]: ...

    token = await self.step(state)          # in an `async def`
    token = self.step(state)                # in a plain function's thread
    tokens = await self.step.many(states)   # several at once

Positional parameters are batched; keyword-only ones are shared, and only calls that agree on them run together. A
parameter annotated `np.ndarray` or `torch.Tensor` (or `Batch` of one) gets its items stacked, any other one a list.

A worker installs a `PointRunner` on the model. Without one, as in a plain unit test, a call is a batch of one.
"""

from __future__ import annotations

import inspect
import sys
import typing
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol, cast

from runner import context
from runner.batch import Batch, Stacking, gather, scatter
from runner.context import BatchContext, current_context
from runner.options import PointOptions

__all__ = ["BoundPoint", "Point", "PointRunner"]


class PointRunner(Protocol):
    """Runs the points of one model."""

    def run(self, point: Point, entries: Sequence[tuple[Any, ...]], shared: dict[str, Any]) -> Any:
        """Have entries run, each a tuple of positional arguments.

        Returns:
            Their results in order, an exception in the place of each that failed: an awaitable of that under a running
            loop, and otherwise the list itself, after waiting for it.

        Raises:
            RuntimeError: this is the device's own thread, which would wait for itself; or the class did not have this
                point when the model was loaded.
        """


class Point:
    """A coalescing point as the class holds it. The model's instance gives a `BoundPoint`.

    Attributes:
        defaults: of its shared parameters.
    """

    def __init__(self, function: Callable[..., object], options: PointOptions) -> None:
        """Make a point of a function.

        Raises:
            TypeError: it cannot be one.
        """
        if not inspect.isfunction(function):
            raise TypeError(f"@ModelClass.batched goes on a function defined in the class, not on {function!r}")
        if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
            raise TypeError(f"{function.__qualname__}: a batch runs on the device's thread; write it as a plain `def`")
        if inspect.isgeneratorfunction(function):
            raise TypeError(f"{function.__qualname__}: a batched helper returns a list; it cannot yield")
        parameters = list(inspect.signature(function).parameters.values())[1:]
        if options.max_batch_size == "auto":
            raise TypeError(
                f"{function.__qualname__}: max_batch_size='auto' needs inputs to measure, and only methods have those; "
                "give a number"
            )
        self.function = function
        self.options = options
        self.name = function.__name__
        self.batched = tuple(p.name for p in parameters if p.kind is not inspect.Parameter.KEYWORD_ONLY)
        if not self.batched or any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters):
            raise TypeError(f"{function.__qualname__}: it needs a list to work on: `def step(self, items: list[str])`")
        self.defaults: Mapping[str, Any] = {
            p.name: p.default
            for p in parameters
            if p.kind is inspect.Parameter.KEYWORD_ONLY and p.default is not inspect.Parameter.empty
        }
        self._stackings: tuple[Stacking, ...] | None = None
        self.__doc__ = function.__doc__
        self.__wrapped__ = function

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, model: Any, owner: type | None = None) -> Any:
        return self if model is None else BoundPoint(self, model)

    @property
    def stackings(self) -> tuple[Stacking, ...]:
        """How each batched parameter wants its items. Read late, when every name in the hints is defined."""
        if self._stackings is None:
            try:
                hints = typing.get_type_hints(self.function)
            except Exception as exc:
                raise TypeError(f"{self.function.__qualname__}: its hints cannot be read: {exc}") from exc
            self._stackings = tuple(_stacking(hints.get(name)) for name in self.batched)
        return self._stackings

    def call(self, model: Any, entries: Sequence[tuple[Any, ...]], shared: dict[str, Any]) -> list[Any]:
        """Run entries here and now, in few batches; return their results, an exception in the place of each failed one.

        Raises:
            ModelError: the function returned something else than one result for each.
        """
        most, results = cast(int, self.options.max_batch_size), list[Any]()
        for first in range(0, len(entries), most):
            results.extend(self._run(model, entries[first : first + most], shared))
        return results

    def _run(self, model: Any, entries: Sequence[tuple[Any, ...]], shared: dict[str, Any]) -> Sequence[Any]:
        columns = [gather(column, how) for column, how in zip(zip(*entries, strict=True), self.stackings, strict=True)]
        token = context.current.set(BatchContext([current_context()] * len(entries)))
        try:
            return scatter(self.function(model, *columns, **shared), len(entries), self.name)
        finally:
            context.current.reset(token)

    def __repr__(self) -> str:
        return f"<Point {self.function.__qualname__}>"


class BoundPoint:
    """A coalescing point of one model."""

    __slots__ = ("_model", "_point")

    def __init__(self, point: Point, model: Any) -> None:
        self._point = point
        self._model = model

    def __call__(self, *item: Any, **shared: Any) -> Any:
        """Run one item in the next batch; return its result, or an awaitable of it under a running loop."""
        runner = cast("PointRunner | None", self._model._runner_points)
        if runner is None:
            return _answer(self._locally, [self._checked(item)], shared)
        results = runner.run(self._point, [self._checked(item)], shared)
        return _only(cast(list[Any], results)) if isinstance(results, list) else _await_only(results)

    def many(self, items: Sequence[Any], **shared: Any) -> Any:
        """Run several items, which need not come to share one batch; return their results in order.

        An item is what one call takes; a tuple of several where the point has several batched parameters. The first
        failure is raised.
        """
        entries = [self._checked(item if len(self._point.batched) > 1 else (item,)) for item in items]
        runner = cast("PointRunner | None", self._model._runner_points)
        if not entries or runner is None:
            return _answer(self._locally_many, entries, shared)
        results = runner.run(self._point, entries, shared)
        return _all(cast(list[Any], results)) if isinstance(results, list) else _await_all(results)

    def _checked(self, item: tuple[Any, ...]) -> tuple[Any, ...]:
        wanted = self._point.batched
        if len(item) != len(wanted):
            raise TypeError(
                f"{self._point.name}() takes {', '.join(wanted)} of one item, and got {len(item)} arguments"
            )
        return item

    def _locally(self, entries: Sequence[tuple[Any, ...]], shared: dict[str, Any]) -> Any:
        return _only(self._point.call(self._model, entries, shared))

    def _locally_many(self, entries: Sequence[tuple[Any, ...]], shared: dict[str, Any]) -> list[Any]:
        return _all(self._point.call(self._model, entries, shared))

    def __repr__(self) -> str:
        return f"<BoundPoint {self._point.function.__qualname__}>"


def _stacking(hint: Any) -> Stacking:
    if typing.get_origin(hint) is Batch:
        hint = typing.get_args(hint)[0]
    hint = typing.get_origin(hint) or hint
    for stacking, module, name in ((Stacking.NUMPY, "numpy", "ndarray"), (Stacking.TORCH, "torch", "Tensor")):
        library = sys.modules.get(module)
        if library is not None and hint is getattr(library, name):
            return stacking
    return Stacking.LIST


def _answer(function: Callable[..., Any], *args: Any) -> Any:
    """Call a function, and wrap its result where the caller is going to await it."""
    asyncio: Any = sys.modules.get("asyncio")  # where nobody has imported it, no loop runs
    running = None if asyncio is None else asyncio._get_running_loop()
    return function(*args) if running is None else _awaitable(function, *args)


async def _awaitable(function: Callable[..., Any], *args: Any) -> Any:
    return function(*args)


def _only(results: Sequence[Any]) -> Any:
    (result,) = results
    if isinstance(result, BaseException):
        raise result
    return result


def _all(results: Sequence[Any]) -> list[Any]:
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return list(results)


async def _await_only(results: Awaitable[Sequence[Any]]) -> Any:
    return _only(await results)


async def _await_all(results: Awaitable[Sequence[Any]]) -> list[Any]:
    return _all(await results)
