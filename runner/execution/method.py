"""A method as the executor runs it: the function, its codec, and how it wants to be called."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

from runner.batch import Stacking
from runner.batching.entries import Limits
from runner.errors import SignatureError
from runner.model import ModelClass
from runner.options import MethodOptions, Pad, PointOptions
from runner.signature.hints import is_asynchronous
from runner.signature.method import Argument, MethodSignature
from runner.signature.publish import NO_OVERRIDES, batch_size_of, options_of, publish
from runner.signature.published import Lane, Published
from runner.signature.tree import Array, ArrayType, Node
from runner.wire.call import CallCodec


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchPlan:
    """How the calls of a method come together.

    Attributes:
        names: the batched arguments, in order.
        stackings: how the values of each come together.
        padding: how arrays of different lengths become one; None: they do not share a batch.
        cost: of one call's batched values, in order; None if each call costs 1.
        limits: what bounds a batch.
        priority: higher ones go first.
        repeatable: a batch that raised may be run again.
        sizes: the only sizes in which the function is called, smallest first; empty: any.
        automatic: the largest batch is still to be found out, and `limits` has the largest that is tried.
        example: arguments to find it out with, by name.
    """

    names: tuple[str, ...]
    stackings: tuple[Stacking, ...]
    padding: Pad | None
    cost: Callable[..., float] | None
    limits: Limits
    priority: int
    repeatable: bool
    sizes: tuple[int, ...] = ()
    automatic: bool = False
    example: Mapping[str, object] | None = None

    @property
    def columns(self) -> list[tuple[str, Stacking, Pad | None]]:
        """Of each batched argument: its name, and how its values come together and are filled up."""
        pairs = zip(self.names, self.stackings, strict=True)
        return [(name, stacking, None if stacking is Stacking.LIST else self.padding) for name, stacking in pairs]

    def filled(self, size: int) -> int:
        """Return the size in which a batch of so many entries is run."""
        return next((allowed for allowed in self.sizes if allowed >= size), size) if self.sizes else size


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedMethod:
    """One method of a loaded model.

    Attributes:
        name: the published name.
        codec: decodes its arguments and encodes its results.
        lane: the calls it competes with.
        function: the method, bound to the model.
        awaited: calling it gives a coroutine, as opposed to a value or a generator.
        streamed: name of the argument that is an iterator of inputs; None if there is none.
        streams_output: it gives an iterator of outputs.
        asynchronous: it runs on the loop.
        arguments: what it takes.
        plan: how its calls run together; None if each runs by itself.
        limited: a run may take only so long, so that each is noted.
    """

    name: str
    codec: CallCodec
    lane: Lane
    function: Callable[..., Any]
    awaited: bool
    streamed: str | None
    streams_output: bool
    asynchronous: bool
    arguments: tuple[Argument, ...]
    plan: BatchPlan | None
    limited: bool


def load_methods(
    model: ModelClass, overrides: Mapping[str, Mapping[str, object]] = NO_OVERRIDES
) -> tuple[tuple[LoadedMethod, ...], tuple[Published, ...]]:
    """Read and compile every method of a model, once.

    Args:
        model: the loaded model.
        overrides: what the configuration says of options, by method.

    Raises:
        SignatureError: a method cannot be published.
    """
    signatures, published = publish(type(model), overrides)
    options = options_of(type(model), overrides)
    loaded = (_loaded(model, signatures[each.name], each.lane, options[each.name]) for each in published)
    return tuple(loaded), published


def limits_of(options: MethodOptions | PointOptions, *, holds: bool) -> Limits:
    """Return what bounds the batches of a method, or of a coalescing point, which `holds` for its members."""
    slo_ms = options.slo_ms if isinstance(options, MethodOptions) else None
    return Limits(
        max_size=batch_size_of(options),
        max_cost=math.inf if options.max_batch_cost is None else options.max_batch_cost,
        max_delay=options.max_queue_delay_ms / 1000,
        holds=holds,
        slo=None if slo_ms is None else slo_ms / 1000,
    )


def cost_function(model: ModelClass, options: MethodOptions | PointOptions, name: str) -> Callable[..., float] | None:
    """Return the function that says what an entry costs, None if each costs 1.

    Raises:
        SignatureError: the options name a method that there is not.
    """
    cost = options.cost
    if not isinstance(cost, str):
        return cost
    found = getattr(model, cost, None)
    if not callable(found):
        raise SignatureError(f"{type(model).__name__}.{name}: cost={cost!r}, but the class has no such method")
    return cast(Callable[..., float], found)


def _plan(model: ModelClass, signature: MethodSignature, options: MethodOptions) -> BatchPlan:
    batched = [argument for argument in signature.arguments if argument.batched]
    return BatchPlan(
        names=tuple(argument.name for argument in batched),
        stackings=tuple(_stacking(argument.node) for argument in batched),
        padding=options.padding,
        cost=cost_function(model, options, signature.name),
        limits=limits_of(options, holds=False),
        priority=options.priority,
        repeatable=options.idempotent,
        sizes=options.batch_sizes,
        automatic=options.max_batch_size == "auto",
        example=options.example,
    )


def _stacking(node: Node) -> Stacking:
    if not isinstance(node, Array):
        return Stacking.LIST
    return Stacking.TORCH if node.library is ArrayType.TORCH else Stacking.NUMPY


def _loaded(model: ModelClass, signature: MethodSignature, lane: Lane, options: MethodOptions) -> LoadedMethod:
    function = getattr(model, signature.name)
    streamed = signature.streamed_argument
    return LoadedMethod(
        name=signature.name,
        codec=CallCodec(signature),
        lane=lane,
        function=function,
        awaited=inspect.iscoroutinefunction(function),
        streamed=None if streamed is None else streamed.name,
        streams_output=signature.cardinality.streams_output,
        asynchronous=is_asynchronous(function),
        arguments=signature.arguments,
        plan=_plan(model, signature, options) if signature.batched else None,
        limited=options.max_run_seconds is not None,
    )
