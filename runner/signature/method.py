"""A published method: its arguments, its result, and which sides of it are streamed."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import Final

from runner.signature.tree import Node


class Cardinality(enum.Enum):
    """Which sides of a call are streams."""

    UNARY = "unary"
    SERVER_STREAM = "server_stream"
    CLIENT_STREAM = "client_stream"
    BIDI = "bidi"

    @property
    def streams_input(self) -> bool:
        """True if the caller sends many items."""
        return self in (Cardinality.CLIENT_STREAM, Cardinality.BIDI)

    @property
    def streams_output(self) -> bool:
        """True if the method answers with many items."""
        return self in (Cardinality.SERVER_STREAM, Cardinality.BIDI)


class Required(enum.Enum):
    """The type of `REQUIRED`, so that a checker tells it from any default."""

    REQUIRED = "required"

    def __repr__(self) -> str:
        return "REQUIRED"


REQUIRED: Final = Required.REQUIRED
"""The default of an argument that has none; None is a default like any other."""


@dataclass(frozen=True, slots=True)
class OpaqueDefault:
    """A default that a published signature can only print: the server knows the value, a client leaves it out."""

    text: str

    def __repr__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What `Param` says about an argument beside its default. Bounds are inclusive."""

    description: str = ""
    min_value: float | None = None
    max_value: float | None = None
    choices: tuple[object, ...] | None = None
    is_param: bool = False


NO_LIMITS: Final = Limits()


@dataclass(frozen=True, slots=True, kw_only=True)
class Argument:
    """One argument.

    Attributes:
        streamed: the method takes an iterator of `node`.
        batched: the method takes the `node`s of all calls that run together.
        default: a value, or `REQUIRED`.
    """

    name: str
    node: Node
    streamed: bool = False
    batched: bool = field(default=False, compare=False)
    default: object = REQUIRED
    limits: Limits = NO_LIMITS

    @property
    def required(self) -> bool:
        """True if a call without it is refused."""
        return self.default is REQUIRED


@dataclass(frozen=True, slots=True, kw_only=True)
class MethodSignature:
    """The typed description of a method. At most one argument is streamed.

    `mask`: the argument that is told what of a padded array is real; callers do not see it.
    """

    name: str
    cardinality: Cardinality
    arguments: tuple[Argument, ...]
    result: Node
    description: str = field(default="", compare=False)
    mask: str | None = field(default=None, compare=False)

    @property
    def batched(self) -> bool:
        """True if calls of it run together."""
        return any(argument.batched for argument in self.arguments)

    @property
    def streamed_argument(self) -> Argument | None:
        """The argument whose items arrive one by one, if there is one."""
        return next((argument for argument in self.arguments if argument.streamed), None)
