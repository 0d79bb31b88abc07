"""A function becomes a signature, or is refused with a text that says what would work."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING, Literal

import pytest

from runner import Image, ModelClass, Param, Text
from runner.errors import SignatureError
from runner.params import Parameter
from runner.signature.hints import read_method
from runner.signature.method import REQUIRED, Argument, Cardinality, Limits, MethodSignature
from runner.signature.publish import publish
from runner.signature.tree import Json, JsonShape, Kind, Leaf, ListOf, OptionalOf

if TYPE_CHECKING:
    from decimal import Decimal

STR, INT = Leaf(Kind.STR), Leaf(Kind.INT)


def read(function, owner=None):
    """Read a function as a method of a class called Model."""
    owner = owner or type("Model", (ModelClass,), {"__module__": __name__, function.__name__: function})
    return read_method(owner, function.__name__, function)


def test_a_unary_method():
    def predict(self, prompt: str, image: Image = None, *, top_k: int = 5) -> dict[str, float]:
        """Say what it is.

        At length.
        """

    signature = read(predict)
    assert signature == MethodSignature(
        name="predict",
        cardinality=Cardinality.UNARY,
        arguments=(
            Argument(name="prompt", node=STR),
            Argument(name="image", node=OptionalOf(Leaf(Kind.IMAGE)), default=None),
            Argument(name="top_k", node=INT, default=5),
        ),
        result=Json(JsonShape.OBJECT),
    )
    assert signature.description == "Say what it is.\n\nAt length."
    assert signature.arguments[0].default is REQUIRED


def test_what_param_says_becomes_limits():
    @ModelClass.method
    def decorated(self, n: int = Param(5, "how many", min_value=1, max_value=9, choices=[1, 5])) -> str: ...

    def plain(self, n: int = Param(5, "how many", min_value=1, max_value=9, choices=[1, 5])) -> str: ...

    limits = Limits(description="how many", min_value=1, max_value=9, choices=(1, 5), is_param=True)
    expected = (Argument(name="n", node=INT, default=5, limits=limits),)
    assert read(decorated).arguments == read(plain).arguments == expected


def unary(self, x: str) -> str: ...
def server_stream(self, x: str) -> Iterator[str]: ...
def client_stream(self, x: Iterator[str]) -> str: ...
def bidi(self, x: Iterator[str]) -> Iterator[str]: ...
async def unary_async(self, x: str) -> str: ...
async def server_stream_async(self, x: str) -> AsyncIterator[str]:
    yield x


async def client_stream_async(self, x: AsyncIterator[str]) -> str: ...
async def bidi_async(self, x: AsyncIterator[str]) -> AsyncIterator[str]:
    async for item in x:
        yield item


@pytest.mark.parametrize(
    "function",
    [
        unary,
        server_stream,
        client_stream,
        bidi,
        unary_async,
        server_stream_async,
        client_stream_async,
        bidi_async,
    ],
    ids=lambda function: function.__name__,
)
def test_which_sides_are_streams(function):
    signature = read(function)
    assert signature.cardinality is Cardinality(function.__name__.removesuffix("_async"))
    assert signature.result == STR
    assert signature.arguments[0].streamed == signature.cardinality.streams_input


def test_hints_are_evaluated_where_they_were_written():
    class Owner(ModelClass):
        Size = Literal["small", "large"]

        def predict(self, size: Size = "small", images: list["Image"] = ()) -> "Text": ...  # noqa: UP037

    arguments = read(Owner.predict, Owner).arguments
    assert arguments[1].node == ListOf(Leaf(Kind.IMAGE))


def test_an_override_without_docstring_has_the_inherited_one():
    class Base(ModelClass):
        def predict(self) -> str:
            """Answer."""

    class Derived(Base):
        def predict(self) -> str: ...

    class Heir(Base):
        pass

    assert read(Derived.predict, Derived).description == "Answer."
    assert read(Heir.predict, Heir).description == "Answer."


class Refused:
    """Methods that cannot be published, each with what its error says."""

    def no_hint(self, x) -> str:
        """argument 'x': it has no type; write `x: str`"""

    def no_result(self, x: str):
        """it does not say what it returns; write `-> str`"""

    def a_set(self, x: set[str]) -> str:
        """argument 'x' of type set[str]: use list[str]"""

    def nothing(self, x: str) -> None:
        """the result of type None: a method has to return something"""

    def any_name(self, **x: str) -> str:
        """argument 'x': callers pass arguments by name, so each needs one"""

    def any_number(self, *x: str) -> str:
        """argument 'x': callers pass arguments by name, so each needs one"""

    def positional(self, x: str, /) -> str:
        """argument 'x': callers pass arguments by name; move it behind the `/`"""

    def reserved(self, with_proto: bool) -> str:
        """argument 'with_proto': Clarifai clients keep this name"""

    def unknown_name(self, x: Decimal) -> str:
        """'Decimal' cannot be evaluated (NameError: name 'Decimal' is not defined); import it at the top"""

    def two_streams(self, x: Iterator[str], y: Iterator[str]) -> Iterator[str]:
        """only one argument can be a stream, not x and y"""

    def stream_default(self, x: Iterator[str] = ()) -> Iterator[str]:
        """argument 'x' of type Iterator[str]: a streamed argument is always there, so it has no default"""

    def async_input(self, x: AsyncIterator[str]) -> str:
        """a plain `def` is given Iterator[str]; or make it `async def`"""

    def async_output(self, x: str) -> AsyncIterator[str]:
        """a plain `def` yields Iterator[str]; or make it `async def`"""

    async def plain_input(self, x: Iterator[str]) -> str:
        """an `async def` is given AsyncIterator[str]; or make it a plain `def`"""

    async def plain_output(self, x: str) -> Iterator[str]:
        """an `async def` yields AsyncIterator[str]; or make it a plain `def`"""

    async def no_yield(self, x: str) -> AsyncIterator[str]:
        """an `async def` that streams has to yield; write `async for item in ...: yield item`"""

    def undeclared_stream(self, x: str) -> str:
        """the result of type str: the method yields; write `-> Iterator[str]`"""
        yield x

    def wrong_default(self, x: int = "3") -> str:
        """argument 'x' of type int: its default '3' is of another type"""

    def bool_default(self, x: int = True) -> str:
        """its default True is of another type"""

    def list_default(self, x: list[str] = [1]) -> str:  # noqa: B006 - it is refused
        """its default [1] is of another type"""

    def text_default(self, x: Text = "Hello") -> str:
        """its default 'Hello' is of another type"""

    def large_default(self, x: int = 2**63) -> str:
        """its default 9223372036854775808 is of another type"""

    def literal_with_choices(self, x: Literal["a"] = Parameter(default="a", choices=("a",))) -> str:
        """a Literal names its choices already"""

    def wrong_literal(self, x: Literal["a", "b"] = "c") -> str:
        """its default 'c' is not among the choices"""

    def wrong_choice(self, x: str = Parameter(default=None, choices=(1,))) -> str:
        """choices are for str, int, float and bool, and 1 does not fit"""

    def range_of_text(self, x: str = Parameter(default=None, min_value=1)) -> str:
        """min_value and max_value are for int and float"""

    def device(self) -> str:
        """the name belongs to ModelClass; call it predict_device"""

    def _hidden(self) -> str:
        """a published name does not begin with an underscore"""

    def no_self() -> str:
        """it takes no `self`"""

    def self_forgotten(text: str) -> str:
        """its first argument is 'text', which would be the model; write `self` before it"""


@pytest.mark.parametrize("name", [name for name, member in vars(Refused).items() if callable(member)])
def test_a_refusal_names_the_method_and_what_would_work(name):
    with pytest.raises(SignatureError) as caught:
        read_method(Refused, name, vars(Refused)[name])
    text = str(caught.value)
    assert text.startswith(f"Refused.{name} cannot be published: ")
    assert vars(Refused)[name].__doc__ in text


@pytest.mark.parametrize(
    ("wrap", "kind"),
    [
        (classmethod, "classmethod"),
        (staticmethod, "staticmethod"),
        (property, "property"),
        (functools.cached_property, "cached_property"),
        (functools.cache, "_lru_cache_wrapper"),
    ],
)
def test_what_was_put_around_a_decorated_method_is_refused(wrap, kind):
    def predict(self) -> str: ...

    model = type("Model", (ModelClass,), {"predict": wrap(ModelClass.method(predict))})
    with pytest.raises(SignatureError, match=rf"Model.predict cannot be published: it is a {kind}, and only a plain"):
        publish(model)


@pytest.mark.parametrize(
    "override",
    [
        classmethod(lambda cls: ""),
        staticmethod(lambda: ""),
        functools.partialmethod(unary, x=""),
        functools.partial(str),
    ],
    ids=lambda override: type(override).__name__,
)
def test_an_override_that_is_no_plain_function_is_refused(override):
    base = type("Base", (ModelClass,), {"unary": ModelClass.method(unary)})
    model = type("Model", (base,), {"unary": override})
    with pytest.raises(SignatureError, match=r"Model\.unary cannot be published: it is a "):
        publish(model)


def test_a_plain_wrapper_around_async_is_refused():
    async def predict(self) -> str: ...

    @functools.wraps(predict)
    def wrapper(*args, **kwargs):
        return predict(*args, **kwargs)

    with pytest.raises(SignatureError, match="a plain function is wrapped around it"):
        read(wrapper)
