"""The class that authors derive their models from, and the decorator that publishes its methods.

Decorating changes nothing about calling: the function object stays the same, and a `Param` default is replaced by the
value it stands for. What was said is kept in two attributes of the function, which `methods_of` and
`signature/hints.py` read. Knows nothing of types, signatures or the wire.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from types import FunctionType
from typing import Final, ParamSpec, TypeVar, cast, overload

from runner.context import CallContext, current_context
from runner.params import Parameter

__all__ = ["MethodOptions", "ModelClass", "instantiate", "methods_of", "parameters_of"]

P = ParamSpec("P")
R = TypeVar("R")
M = TypeVar("M", bound="ModelClass")

_OPTIONS: Final = "__runner_options__"
_PARAMETERS: Final = "__runner_parameters__"


@dataclass(frozen=True, slots=True, kw_only=True)
class MethodOptions:
    """What `@ModelClass.method(...)` was told.

    Args:
        idempotent: running the method twice on the same input does no harm, so that a call whose worker died may be
            run again elsewhere.
    """

    idempotent: bool = False


class ModelClass:
    """Base of every model.

    Derive from it, load what the model needs in `load_model`, and decorate the methods to publish. A subclass with an
    `__init__` of its own need not call this class's: there is none.
    """

    device: str = "cpu"
    """Where this replica was placed, as torch spells it: `cpu`, `cuda:0`. Set by the worker before `__init__` runs."""

    def load_model(self) -> None:
        """Load weights and warm up. Runs once in each worker, before the first call."""

    @property
    def context(self) -> CallContext:
        """The call being served: its request id, deadline and metadata, and whether it was cancelled."""
        return current_context()

    def set_output_context(
        self, prompt_tokens: int | None = None, completion_tokens: int | None = None, cached_tokens: int | None = None
    ) -> None:
        """Report how many tokens this call used, before its result is returned or the next item is yielded.

        Raises:
            TypeError: a count is not a whole number.
            ValueError: a count is negative or beyond 32 bits.
        """
        current_context().report_usage(
            prompt_tokens=prompt_tokens or 0, completion_tokens=completion_tokens or 0, cached_tokens=cached_tokens or 0
        )

    @overload
    @staticmethod
    def method(function: Callable[P, R], /) -> Callable[P, R]: ...

    @overload
    @staticmethod
    def method(*, idempotent: bool = False) -> Callable[[Callable[P, R]], Callable[P, R]]: ...

    @staticmethod
    def method(function: Callable[..., object] | None = None, /, **options: bool) -> object:
        """Publish a method as a remote function; bare, or with the options of `MethodOptions`.

        Raises:
            TypeError: an unknown option, or something else than a function is decorated.
        """
        if function is None:
            return functools.partial(_mark, options=_options(options))
        return _mark(function, options=_options(options))

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
    something that cannot be called, such as `predict = None`, withdraws the method.
    """
    published: dict[str, MethodOptions] = {}
    for owner in reversed(model_class.__mro__):
        for name, member in cast(Mapping[str, object], vars(owner)).items():
            if isinstance(member, FunctionType) and hasattr(member, _OPTIONS):
                published[name] = cast(MethodOptions, getattr(member, _OPTIONS))
            elif name in published and not callable(member):
                del published[name]
    return published


def parameters_of(function: Callable[..., object]) -> Mapping[str, Parameter]:
    """Return what was said with `Param`, by argument name."""
    return cast(Mapping[str, Parameter], getattr(function, _PARAMETERS, {}))


def instantiate(model_class: type[M], device: str) -> M:
    """Create a model that knows its device from the first line of its `__init__` on."""
    model = model_class.__new__(model_class)
    model.device = device
    model.__init__()
    return model


def _options(given: Mapping[str, bool]) -> MethodOptions:
    known = [option.name for option in fields(MethodOptions)]
    unknown = [name for name in given if name not in known]
    if unknown:
        raise TypeError(f"@ModelClass.method has no option {unknown[0]!r}; it takes {', '.join(known)}")
    return MethodOptions(**given)


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
