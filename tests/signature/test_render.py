"""One line of Python, and an `inspect.Signature`."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
import pytest

from runner import Image, ModelClass, NamedFields, Param, Text
from runner.signature.dialect import Dialect
from runner.signature.method import OpaqueDefault
from runner.signature.publish import from_proto, publish, to_proto
from runner.signature.render import python_signature, render
from runner.signature.tree import Array, ArrayType


class Model(ModelClass):
    @ModelClass.method
    def predict(
        self, prompt: str, image: Image | None = None, top_k: int = Param(5), p: float = 1, name: str = "it's"
    ) -> dict[str, float]: ...

    @ModelClass.method
    def stream(self, items: Iterator[str], mode: Literal["a", "b"] = "a") -> Iterator[Text]: ...

    @ModelClass.method
    def gaps(self, items: Iterator[str | None]) -> Iterator[str]: ...

    @ModelClass.method
    def odd(self, a: Text | None, b: list[tuple[str, np.ndarray]], *, c: bool = True, d: int) -> list[int] | None: ...

    @ModelClass.method
    def opaque(self, a: np.ndarray = np.zeros(3), b: float = float("inf"), c: bytes = b"x" * 500) -> np.ndarray: ...  # noqa: B008

    @ModelClass.method
    def fields(self, a: NamedFields(x=str, y=int) = None, t: tuple[str, int] = ("a", 1)) -> NamedFields(z=str): ...


PUBLISHED = {
    name: from_proto(to_proto(signature, dialect=Dialect.NATIVE)) for name, signature in publish(Model)[0].items()
}

LINES = {
    "predict": "def predict(prompt: str, image: Image | None = None, top_k: int = 5, p: float = 1.0, "
    'name: str = "it\'s") -> dict:',
    "stream": "def stream(items: Iterator[str], mode: Literal['a', 'b'] = 'a') -> Iterator[Text]:",
    "gaps": "def gaps(items: Iterator[str | None]) -> Iterator[str]:",
    "odd": "def odd(a: Text | None = None, *, b: list[tuple[str, np.ndarray]], c: bool = True, d: int) "
    "-> list[int] | None:",
    "opaque": "def opaque(a: np.ndarray = ..., b: float = float('inf'), c: bytes = ...) -> np.ndarray:",
    "fields": "def fields(a: NamedFields(x=str, y=int) | None = None, t: tuple[str, int] = ('a', 1)) "
    "-> NamedFields(z=str):",
}


@pytest.mark.parametrize("name", LINES)
def test_one_line_of_python(name):
    line = render(PUBLISHED[name])
    assert line == LINES[name]
    ast.parse(f"{line} ...")


def test_as_the_class_declares_it():
    assert render(publish(Model)[0]["predict"]) == LINES["predict"].replace("= 1.0", "= 1")


def test_real_types_for_tools():
    assert python_signature(PUBLISHED["predict"]) == inspect.Signature(
        [
            inspect.Parameter("prompt", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=str),
            inspect.Parameter("image", inspect.Parameter.POSITIONAL_OR_KEYWORD, default=None, annotation=Image | None),
            inspect.Parameter("top_k", inspect.Parameter.POSITIONAL_OR_KEYWORD, default=5, annotation=int),
            inspect.Parameter("p", inspect.Parameter.POSITIONAL_OR_KEYWORD, default=1.0, annotation=float),
            inspect.Parameter("name", inspect.Parameter.POSITIONAL_OR_KEYWORD, default="it's", annotation=str),
        ],
        return_annotation=dict[str, Any],
    )


def test_streams_are_iterators():
    signature = python_signature(PUBLISHED["stream"])
    assert signature.parameters["items"].annotation == Iterator[str]
    assert signature.parameters["mode"].annotation == Literal["a", "b"]
    assert signature.return_annotation == Iterator[Text]


def test_a_required_argument_behind_an_optional_one_is_keyword_only():
    parameters = python_signature(PUBLISHED["odd"]).parameters
    assert [name for name, parameter in parameters.items() if parameter.kind is parameter.KEYWORD_ONLY] == list("bcd")
    assert parameters["a"].default is None


def test_a_default_that_only_the_server_knows():
    assert python_signature(PUBLISHED["opaque"]).parameters["a"].default == OpaqueDefault("[0. 0. 0.]")


def test_a_torch_tensor_is_named_without_torch():
    signature = publish(Model)[0]["opaque"]
    argument = type(signature.arguments[0])(name="x", node=Array(library=ArrayType.TORCH))
    signature = type(signature)(
        name="m", cardinality=signature.cardinality, arguments=(argument,), result=signature.result
    )
    assert render(signature) == "def m(x: torch.Tensor) -> np.ndarray:"
    assert python_signature(signature).parameters["x"].annotation == "torch.Tensor"
