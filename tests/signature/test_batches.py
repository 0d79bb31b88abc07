"""Methods that get batches: what callers see of them, and what is refused."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import numpy as np
import pytest

from runner import Batch, ModelClass, Pad
from runner.errors import SignatureError
from runner.options import MethodOptions
from runner.signature.hints import read_method
from runner.signature.method import Cardinality
from runner.signature.publish import publish
from runner.signature.published import Lane
from runner.signature.render import render


class Model(ModelClass):
    @ModelClass.method(max_batch_size=8, priority=3, slo_ms=50)
    def predict(self, text: Batch[str], top_k: int = 5) -> Batch[dict[str, float]]: ...

    @ModelClass.method
    def generate(self, text: Batch[str]) -> Iterator[Batch[str]]: ...

    @ModelClass.method(pad=Pad(0, mask="real"), max_batch_size="auto")
    def embed(self, tokens: Batch[np.ndarray], real: np.ndarray | None = None) -> Batch[np.ndarray]: ...


def test_callers_see_one_item():
    signatures, published = publish(Model)
    assert [render(signature) for signature in signatures.values()] == [
        "def predict(text: str, top_k: int = 5) -> dict:",
        "def generate(text: str) -> Iterator[str]:",
        "def embed(tokens: np.ndarray) -> np.ndarray:",
    ]
    assert [signature.cardinality for signature in signatures.values()] == [
        Cardinality.UNARY,
        Cardinality.SERVER_STREAM,
        Cardinality.UNARY,
    ]
    predict, generate, embed = published
    assert (predict.lane, predict.max_batch_size, predict.priority, predict.slo) == (
        Lane.of_batches("predict"),
        8,
        3,
        0.05,
    )
    assert (generate.lane, generate.max_batch_size) == (Lane.of_batches("generate"), 32)
    assert embed.max_batch_size == 1024  # the largest that is tried


def test_the_configuration_has_the_last_word():
    _, published = publish(Model, {"predict": {"max_batch_size": 16, "priority": 0}})
    assert (published[0].max_batch_size, published[0].priority, published[0].slo) == (16, 0, 0.05)
    with pytest.raises(SignatureError, match=r"methods\.other: Model has no such method; it has predict, generate"):
        publish(Model, {"other": {}})
    with pytest.raises(SignatureError, match=r"methods\.predict\.max_batch_cost needs cost="):
        publish(Model, {"predict": {"max_batch_cost": 5}})


def no_batch_result(self, text: Batch[str]) -> str: ...
def no_batch_argument(self, text: str) -> Batch[str]: ...
def bare(self, text: Batch) -> Batch[str]: ...
def nested(self, text: list[Batch[str]]) -> str: ...
def default(self, text: Batch[str] = "x") -> Batch[str]: ...
def of_streams(self, text: Batch[Iterator[str]]) -> Batch[str]: ...
def streamed(self, text: Batch[str], more: Iterator[str]) -> Iterator[Batch[str]]: ...
def streamed_batches(self, more: Iterator[Batch[str]]) -> Iterator[str]: ...
async def bidi(self, more: AsyncIterator[str], text: Batch[str]) -> AsyncIterator[Batch[str]]:
    yield []


def plain(self, text: str) -> str: ...
def texts(self, text: Batch[str]) -> Batch[str]: ...
def tokens(self, tokens: Batch[np.ndarray], other: Batch[np.ndarray], real: np.ndarray) -> Batch[str]: ...
def streams(self, text: Batch[str]) -> Iterator[Batch[str]]: ...
async def awaited(self, text: Batch[str]) -> Batch[str]: ...


@pytest.mark.parametrize(
    ("function", "options", "message"),
    [
        (no_batch_result, {}, "the result of type str: it gets a batch and has to return one; write -> Batch"),
        (no_batch_argument, {}, "it returns Batch[str] and takes no batch"),
        (bare, {}, "argument 'text' of type Batch: it does not say what it holds; write Batch[str]"),
        (nested, {}, "only a whole argument or result can be a batch"),
        (default, {}, "each caller of a batch brings a value of its own; take the default away"),
        (of_streams, {}, "a batch holds no streams; write Iterator[Batch[...]]"),
        (streamed, {}, "'more' is a stream, and streams do not begin or end together"),
        (streamed_batches, {}, "only a whole argument or result can be a batch"),
        (bidi, {}, "'more' is a stream, and streams do not begin or end together"),
        (plain, {"max_batch_size": 8}, "max_batch_size= is for a method with a Batch[...] argument"),
        (plain, {"example": {"txt": "a"}}, "example= names 'txt', and its arguments are text"),
        (texts, {"pad": 0}, "pad= is for a Batch of arrays"),
        (tokens, {"pad": Pad(0, mask="mask")}, "it has no argument 'mask' for the mask"),
        (tokens, {"pad": Pad(0, mask="real")}, "a mask tells of one array, and it takes 2"),
        (streams, {"max_batch_size": "auto"}, "max_batch_size='auto' is for methods that return one value"),
        (streams, {"batch_sizes": (32,)}, "batch_sizes= is for methods that return one value"),
        (awaited, {"max_batch_size": "auto"}, "max_batch_size='auto' is for plain functions; give a number"),
        (awaited, {"batch_sizes": (32,)}, "batch_sizes= is for plain functions; leave it out"),
    ],
)
def test_what_cannot_be(function, options, message):
    owner = type("Model", (ModelClass,), {"__module__": __name__, function.__name__: function})
    with pytest.raises(SignatureError) as refused:
        read_method(owner, function.__name__, function, MethodOptions(**options))
    assert message in str(refused.value)
