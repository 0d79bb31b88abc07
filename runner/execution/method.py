"""A method as the executor runs it: the function, its codec, and how it wants to be called."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from runner.model import ModelClass
from runner.signature.method import Cardinality, MethodSignature
from runner.signature.publish import publish
from runner.signature.published import Lane, Published
from runner.wire.call import CallCodec


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedMethod:
    """One method of a loaded model."""

    signature: MethodSignature
    codec: CallCodec
    lane: Lane
    function: Callable[..., Any]

    @property
    def name(self) -> str:
        """The published name."""
        return self.signature.name

    @property
    def cardinality(self) -> Cardinality:
        """Which sides are streams."""
        return self.signature.cardinality


def load_methods(model: ModelClass) -> tuple[tuple[LoadedMethod, ...], tuple[Published, ...]]:
    """Read and compile every method of a model, once.

    Raises:
        SignatureError: a method cannot be published.
    """
    signatures, published = publish(type(model))
    loaded = tuple(
        LoadedMethod(
            signature=signatures[method.name],
            codec=CallCodec(signatures[method.name]),
            lane=method.lane,
            function=getattr(model, method.name),
        )
        for method in published
    )
    return loaded, published
