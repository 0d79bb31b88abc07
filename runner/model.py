"""The class that authors derive their models from, and the decorator that publishes its methods.

Decorating changes nothing about calling: the function object stays the same, and a `Param` default is replaced by the
value it stands for. What was said is kept in two attributes of the function, which `methods_of` and
`signature/hints.py` read. Knows nothing of types, signatures or the wire.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import FunctionType
from typing import Any, Final, ParamSpec, TypeVar, cast, overload

from runner.context import CallContext, current_context
from runner.options import BatchSize, Cost, MethodOptions, Pad, PointOptions, read_options
from runner.params import Parameter
from runner.points import Point, PointRunner

__all__ = ["ModelClass", "instantiate", "methods_of", "parameters_of", "points_of"]

P = ParamSpec("P")
R = TypeVar("R")
M = TypeVar("M", bound="ModelClass")

_OPTIONS: Final = "__runner_options__"
_PARAMETERS: Final = "__runner_parameters__"
_DESCRIPTORS: Final = (classmethod, functools.partialmethod)
"""Not to be called themselves, but the attributes that they make are."""


class ModelClass:
    """Base of every model.

    Derive from it, load what the model needs in `load_model`, and decorate the methods to publish. A subclass with an
    `__init__` of its own need not call this class's: there is none.
    """

    device: str = "cpu"
    """Where this replica was placed, as torch spells it: `cpu`, `cuda:0`. Set by the worker before `__init__` runs."""

    _runner_points: PointRunner | None = None
    """What runs coalescing points; set by the worker after `load_model`. Without one, a call is a batch of one."""

    def load_model(self) -> None:
        """Load weights and warm up. Runs once in each worker, before the first call."""

    @property
    def context(self) -> CallContext:
        """The call being served: its request id, deadline and metadata, and whether it was cancelled."""
        return current_context()

    def set_output_context(
        self,
        prompt_tokens: int | Sequence[int] | None = None,
        completion_tokens: int | Sequence[int] | None = None,
        cached_tokens: int | Sequence[int] | None = None,
    ) -> None:
        """Report how many tokens this call used, before its result is returned or the next item is yielded.

        In a batch each of them is a sequence, with one count for each of `self.context.entries`.

        Raises:
            TypeError: a count is not a whole number, or one number was given for a whole batch.
            ValueError: a count is negative or beyond 32 bits, or their number is not the batch's.
        """
        current_context().report_usage(
            prompt_tokens=0 if prompt_tokens is None else prompt_tokens,
            completion_tokens=0 if completion_tokens is None else completion_tokens,
            cached_tokens=0 if cached_tokens is None else cached_tokens,
        )

    @overload
    @staticmethod
    def method(function: Callable[P, R], /) -> Callable[P, R]: ...

    @overload
    @staticmethod
    def method(
        *,
        max_batch_size: BatchSize = 32,
        max_queue_delay_ms: float = 0,
        cost: Cost | None = None,
        max_batch_cost: float | None = None,
        priority: int = 0,
        idempotent: bool = False,
        slo_ms: float | None = None,
        timeout_ms: float | None = None,
        max_timeout_ms: float | None = None,
        max_run_seconds: float | None = None,
        pad: Pad | float | None = None,
        batch_sizes: tuple[int, ...] = (),
        example: Mapping[str, object] | None = None,
    ) -> Callable[[Callable[P, R]], Callable[P, R]]: ...

    @staticmethod
    def method(function: Callable[..., object] | None = None, /, **options: Any) -> object:
        """Publish a method as a remote function; bare, or with the options of `options.MethodOptions`.

        Raises:
            TypeError: an unknown option, a value of another type, or something else than a function is decorated.
            ValueError: an option's value is out of range.
        """
        said = cast(MethodOptions, read_options(MethodOptions, "@ModelClass.method", options))
        if function is None:
            return functools.partial(_mark, options=said)
        return _mark(function, options=said)

    @overload
    @staticmethod
    def batched(function: Callable[..., object], /) -> Point: ...

    @overload
    @staticmethod
    def batched(
        *,
        max_batch_size: BatchSize = 32,
        max_queue_delay_ms: float = 0,
        cost: Cost | None = None,
        max_batch_cost: float | None = None,
        priority: int = 0,
    ) -> Callable[[Callable[..., object]], Point]: ...

    @staticmethod
    def batched(function: Callable[..., object] | None = None, /, **options: Any) -> object:
        """Make a helper that works on lists a coalescing point, bare or with the options of `options.PointOptions`.

        `@ModelClass.batched def encode(self, texts: list[str]) -> list[Vector]` is called with one item through the
        instance: `vector = await self.encode(text)` in an `async def`, `vector = self.encode(text)` in a plain one.
        Whenever the device is free, all waiting calls run as one batch, whatever requests they come from. See
        `points.py`.

        Raises:
            TypeError: an unknown option, a value of another type, or a function that cannot be one is decorated.
            ValueError: an option's value is out of range.
        """
        said = cast(PointOptions, read_options(PointOptions, "@ModelClass.batched", options))
        if function is None:
            return functools.partial(Point, options=said)
        return Point(function, options=said)

    def __init_subclass__(cls, **kwargs: object) -> None:
        """Let a plain override of a published method use `Param` as the decorated one may."""
        super().__init_subclass__(**kwargs)
        published = methods_of(cls)
        for name, member in vars(cls).items():
            if name in published and isinstance(member, FunctionType):
                _settle(member)


def methods_of(model_class: type[ModelClass]) -> dict[str, MethodOptions]:
    """Return the published methods by name: base classes first, each in the order of its definitions.

    An override stays published with the options of what it overrides unless it is decorated itself; an override by
    something that cannot be called, such as `predict = None`, withdraws the method. What was put around a decorated
    function (`@classmethod`, `@functools.cache`) is listed too, so that whoever reads its signature can refuse it.
    """
    published: dict[str, MethodOptions] = {}
    for owner in reversed(model_class.__mro__):
        for name, member in cast(Mapping[str, object], vars(owner)).items():
            function = member if isinstance(member, FunctionType) else _inside(member, name)
            if function is not None and hasattr(function, _OPTIONS):
                published[name] = cast(MethodOptions, getattr(function, _OPTIONS))
            elif name in published and not callable(member) and not isinstance(member, _DESCRIPTORS):
                del published[name]
    return published


def points_of(model_class: type[ModelClass]) -> list[Point]:
    """Return every coalescing point, also those that are overridden: `super()` may reach them."""
    members = [member for owner in model_class.__mro__ for member in cast(Mapping[str, object], vars(owner)).values()]
    return list(dict.fromkeys([member for member in members if isinstance(member, Point)]))


def parameters_of(function: Callable[..., object]) -> Mapping[str, Parameter]:
    """Return what was said with `Param`, by argument name."""
    return cast(Mapping[str, Parameter], getattr(function, _PARAMETERS, {}))


def instantiate(model_class: type[M], device: str) -> M:
    """Create a model that knows its device from the first line of its `__init__` on."""
    model = model_class.__new__(model_class)
    model.device = device
    model.__init__()
    return model


def _inside(member: object, name: str) -> FunctionType | None:
    """Return the method of this name that a decorator has made something else of, None if it is no such thing."""
    match member:
        case classmethod() | staticmethod():
            function = cast(object, member.__func__)
        case property():
            function = member.fget
        case functools.cached_property():
            function = cast(object, member.func)
        case _:
            function = cast(object, getattr(member, "__dict__", {}).get("__wrapped__"))
    return function if isinstance(function, FunctionType) and function.__name__ == name else None


def _mark(function: object, *, options: MethodOptions) -> Callable[..., object]:
    if not isinstance(function, FunctionType):
        raise TypeError(
            f"@ModelClass.method goes on a function defined in the class, not on {function!r}; "
            "a static method, class method or property cannot be published"
        )
    _settle(function)
    setattr(function, _OPTIONS, options)
    return function


def _settle(function: FunctionType) -> None:
    """Replace each `Param` among the defaults by its value, and keep it on the function for the signature.

    A wrapper made with `functools.wraps` has the signature of what it wraps, so the whole chain is treated.
    """
    found: dict[str, Parameter] = {}
    layer: object = function
    while isinstance(layer, FunctionType):
        code = layer.__code__
        named = code.co_varnames[: code.co_argcount]
        defaults = layer.__defaults__ or ()
        found |= _parameters(zip(named[len(named) - len(defaults) :], defaults, strict=True))
        found |= _parameters((layer.__kwdefaults__ or {}).items())
        if defaults:
            layer.__defaults__ = tuple(map(_plain, defaults))
        if layer.__kwdefaults__:
            layer.__kwdefaults__ = {name: _plain(default) for name, default in layer.__kwdefaults__.items()}
        layer = getattr(layer, "__wrapped__", None)
    if found:
        setattr(function, _PARAMETERS, found)


def _parameters(defaults: Iterable[tuple[str, object]]) -> dict[str, Parameter]:
    return {name: default for name, default in defaults if isinstance(default, Parameter)}


def _plain(default: object) -> object:
    return default.default if isinstance(default, Parameter) else default
