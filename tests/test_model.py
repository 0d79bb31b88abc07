"""Decorating a method publishes it and changes nothing about calling it."""

from __future__ import annotations

import contextvars
import dataclasses
import functools
import inspect
import typing

import pytest

from runner import ModelClass, Param
from runner.context import CallContext, current
from runner.model import instantiate, methods_of, parameters_of
from runner.options import MethodOptions


class Greeter(ModelClass):
    def load_model(self) -> None:
        self.greeting = "Hello"

    @ModelClass.method
    def greet(self, name: str, times: int = Param(1, min_value=1), *, mark: str = Param("!", "at the end")) -> str:
        return ", ".join([f"{self.greeting} {name}"] * times) + mark

    @ModelClass.method(idempotent=True)
    def count(self, text: str = "") -> int:
        return len(text)

    def helper(self) -> str:
        return "not published"


def test_methods_are_called_like_any_other():
    model = Greeter()
    model.load_model()
    assert model.greet("Ada") == "Hello Ada!"
    assert model.greet("Ada", 2, mark=".") == "Hello Ada, Hello Ada."
    assert model.count("abc") == 3


def test_the_decorator_returns_the_function_itself():
    def predict(self) -> str:
        return ""

    assert ModelClass.method(predict) is predict
    assert ModelClass.method(idempotent=True)(predict) is predict


def test_what_param_said_is_kept():
    parameters = parameters_of(Greeter.greet)
    assert list(parameters) == ["times", "mark"]
    assert parameters["mark"].description == "at the end"


def test_methods_come_in_the_order_of_their_definition():
    assert methods_of(Greeter) == {"greet": MethodOptions(), "count": MethodOptions(idempotent=True)}


def test_inherited_methods_come_first_and_overrides_keep_their_place():
    class Louder(Greeter):
        @ModelClass.method
        def shout(self) -> str:
            return "HELLO"

        def count(self, text: str = Param("abc")) -> int:
            return 2 * super().count(text)

    assert methods_of(Louder) == {
        "greet": MethodOptions(),
        "count": MethodOptions(idempotent=True),
        "shout": MethodOptions(),
    }
    assert Louder().count() == 6  # an override without decorator may use Param as well


def test_an_override_that_is_no_function_withdraws_the_method():
    class Quiet(Greeter):
        greet = None

    assert list(methods_of(Quiet)) == ["count"]


def test_mixins_publish_too():
    class Mixin:
        @ModelClass.method
        def ping(self) -> str:
            return "pong"

    class Both(Mixin, ModelClass):
        pass

    assert list(methods_of(Both)) == ["ping"]


def test_an_unknown_option_is_refused_by_name():
    with pytest.raises(TypeError, match=r"no option 'idempotnt'; it takes .*idempotent"):
        ModelClass.method(idempotnt=True)


@pytest.mark.parametrize("wrap", [staticmethod, classmethod, property])
def test_only_plain_functions_are_published(wrap):
    with pytest.raises(TypeError, match="goes on a function defined in the class"):
        ModelClass.method(wrap(lambda self: ""))


def test_defaults_are_replaced_under_a_wrapper():
    def logged(function):
        @functools.wraps(function)
        def wrapper(*args, **kwargs):
            return function(*args, **kwargs)

        return wrapper

    class Wrapped(ModelClass):
        @ModelClass.method
        @logged
        def outer(self, n: int = Param(1)) -> int:
            return n + 1

        @logged
        @ModelClass.method
        def inner(self, n: int = Param(2)) -> int:
            return n + 1

    assert list(methods_of(Wrapped)) == ["outer", "inner"]
    assert Wrapped().outer() == 2
    assert Wrapped().inner() == 3
    assert list(parameters_of(Wrapped.outer)) == list(parameters_of(Wrapped.inner)) == ["n"]


def test_a_subclass_may_forget_super_init():
    class Own(ModelClass):
        def __init__(self) -> None:
            self.where = self.device

    assert Own().where == "cpu"
    assert instantiate(Own, "cuda:1").where == "cuda:1"


def test_context_and_usage_are_those_of_the_current_call():
    def body():
        context = CallContext(request_id="r1")
        current.set(context)
        model = Greeter()
        model.set_output_context(prompt_tokens=3, completion_tokens=4)
        assert model.context is context
        assert context.take_usage() == (3, 4, 0)

    contextvars.copy_context().run(body)


def test_editors_are_told_of_every_option():
    written = inspect.signature(typing.get_overloads(ModelClass.method)[-1]).parameters
    assert {name: parameter.default for name, parameter in written.items()} == {
        field.name: field.default for field in dataclasses.fields(MethodOptions)
    }
