"""A method as the executor runs it: the function, its codec, and how it wants to be called."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from runner.model import ModelClass
from runner.signature.method import MethodSignature
from runner.signature.publish import publish
from runner.signature.published import Lane, Published
from runner.wire.call import CallCodec


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
    """

    name: str
    codec: CallCodec
    lane: Lane
    function: Callable[..., Any]
    awaited: bool
    streamed: str | None
    streams_output: bool


def load_methods(model: ModelClass) -> tuple[tuple[LoadedMethod, ...], tuple[Published, ...]]:
    """Read and compile every method of a model, once.

    Raises:
        SignatureError: a method cannot be published.
    """
    signatures, published = publish(type(model))
    return tuple(_loaded(model, signatures[method.name], method.lane) for method in published), published


def _loaded(model: ModelClass, signature: MethodSignature, lane: Lane) -> LoadedMethod:
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
    )
