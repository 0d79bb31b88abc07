"""A function becomes a `MethodSignature`: its arguments with defaults and limits, its result, what is streamed.

Runs once, when the class is loaded. Everything that could make a published method fail later because of how it was
declared is refused here, with a text that names class, method, argument and hint, and says what would work.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from types import FunctionType
from typing import NoReturn, cast

from runner.errors import SignatureError
from runner.model import ModelClass, parameters_of
from runner.options import NO_OPTIONS, MethodOptions
from runner.params import Parameter
from runner.signature.fit import SCALARS, fits
from runner.signature.method import NO_LIMITS, REQUIRED, Argument, Cardinality, Limits, MethodSignature
from runner.signature.nodes import StreamHint, Unpublishable, describe, read_batch, read_node, read_stream
from runner.signature.tree import Array, Kind, Leaf, LiteralOf, Node, OptionalOf

__all__ = ["is_asynchronous", "read_method"]

_RESERVED_ARGUMENT = "with_proto"  # the Clarifai clients take it for themselves


def is_asynchronous(function: Callable[..., object]) -> bool:
    """Return True for `async def`, with or without `yield`."""
    return inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function)


def read_method(
    owner: type, name: str, function: Callable[..., object], options: MethodOptions = NO_OPTIONS
) -> MethodSignature:
    """Read a method's hints, defaults and docstring.

    Args:
        owner: the class that publishes the method; it need not be the one that defines it.
        name: the name under which it is published.
        function: the function as it stands in the class, `self` included.
        options: what its decorator was told.

    Raises:
        SignatureError: the method cannot be published.
    """
    return _Reader(owner, name, function, options).read()


class _Reader:
    """Reads one method. Exists so that every refusal can say where it happened."""

    def __init__(self, owner: type, name: str, function: Callable[..., object], options: MethodOptions) -> None:
        self._owner = owner
        self._options = options
        self._name = name
        self._function = function
        self._asynchronous = is_asynchronous(function)
        self._limits = parameters_of(function)

    def read(self) -> MethodSignature:
        if self._name.startswith("_"):
            self._refuse("a published name does not begin with an underscore; rename it or do not decorate it")
        if self._name in vars(ModelClass):
            self._refuse(f"the name belongs to ModelClass; call it predict_{self._name} or the like")
        if not isinstance(self._function, FunctionType):
            kind = type(self._function).__name__
            self._refuse(f"it is a {kind}, and only a plain `def` can be published; write one that calls it")
        inner = inspect.unwrap(self._function)
        if is_asynchronous(inner) and not self._asynchronous:
            self._refuse("it is `async def`, but a plain function is wrapped around it; make the wrapper `async` too")
        signature = inspect.signature(self._function)
        parameters = list(signature.parameters.values())
        if not parameters or parameters[0].kind not in (
            inspect.Parameter.POSITIONAL_ONLY,
            inspect.Parameter.POSITIONAL_OR_KEYWORD,
        ):
            self._refuse("it takes no `self`; a published method is an ordinary method of the class")
        first = parameters[0]
        if first.name != "self" and first.annotation is not inspect.Parameter.empty:
            self._refuse(f"its first argument is {first.name!r}, which would be the model; write `self` before it")
        mask = self._mask([parameter.name for parameter in parameters])
        arguments = tuple(self._argument(parameter) for parameter in parameters[1:] if parameter.name != mask)
        streamed = [argument.name for argument in arguments if argument.streamed]
        if len(streamed) > 1:
            self._refuse(f"only one argument can be a stream, not {' and '.join(streamed)}; make the others lists")
        result, streams_output, in_batches = self._result(signature.return_annotation)
        names = [argument.name for argument in arguments]
        if unknown := next((name for name in self._options.example or () if name not in names), None):
            self._refuse(f"example= names {unknown!r}, and its arguments are {', '.join(names) or 'none'}")
        self._check_batching(arguments, streamed, in_batches, streams_output, signature.return_annotation)
        return MethodSignature(
            name=self._name,
            cardinality=_CARDINALITIES[bool(streamed), streams_output],
            arguments=arguments,
            result=result,
            description=self._docstring(),
            mask=mask,
        )

    def _mask(self, names: list[str]) -> str | None:
        padding = self._options.padding
        if padding is None or padding.mask is None:
            return None
        if padding.mask not in names[1:]:
            self._refuse(f"it has no argument {padding.mask!r} for the mask; add one, or leave mask= out of Pad(...)")
        return padding.mask

    def _check_batching(
        self,
        arguments: tuple[Argument, ...],
        streamed: list[str],
        in_batches: bool,
        streams_output: bool,
        result_hint: object,
    ) -> None:
        batched = [argument.name for argument in arguments if argument.batched]
        result = describe(result_hint)
        if batched and streamed:
            self._refuse(
                f"{streamed[0]!r} is a stream, and streams do not begin or end together; make the step a helper with "
                "@ModelClass.batched and call it with one item"
            )
        if batched and not in_batches:
            self._refuse("it gets a batch and has to return one; write -> Batch[...]", "the result", result_hint)
        if in_batches and not batched:
            self._refuse(f"it returns {result} and takes no batch; write Batch[...] for what differs between calls")
        arrays = [argument for argument in arguments if argument.batched and isinstance(argument.node, Array)]
        if self._options.pad is not None and not arrays:
            self._refuse("pad= is for a Batch of arrays, and it takes none; leave it out")
        if self._options.pad is not None and len(arrays) > 1 and self._options.padding.mask:  # pyright: ignore[reportOptionalMemberAccess]: there is a pad
            self._refuse(f"a mask tells of one array, and it takes {len(arrays)}; leave mask= out of Pad(...)")
        if batched and streams_output and self._options.max_batch_size == "auto":
            self._refuse("max_batch_size='auto' is for methods that return one value; give a number")
        if batched and streams_output and self._options.batch_sizes:
            self._refuse("batch_sizes= is for methods that return one value; leave it out")
        # Both run the function before anybody calls it, while the loop that a coroutine would need waits for them.
        if batched and is_asynchronous(self._function) and self._options.max_batch_size == "auto":
            self._refuse("max_batch_size='auto' is for plain functions; give a number, or write it as a plain `def`")
        if batched and is_asynchronous(self._function) and self._options.batch_sizes:
            self._refuse("batch_sizes= is for plain functions; leave it out, or write it as a plain `def`")
        if streamed and self._options.max_run_seconds is not None:
            self._refuse("max_run_seconds= cannot tell a stuck method from one that waits for its input; leave it out")
        if not batched and (unused := self._options.needs_batch):
            self._refuse(f"{unused}= is for a method with a Batch[...] argument, and it has none; leave it out")

    def _argument(self, parameter: inspect.Parameter) -> Argument:
        name, hint = parameter.name, cast(object, parameter.annotation)
        if parameter.kind in (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD):
            self._refuse("callers pass arguments by name, so each needs one; write them out", name)
        if parameter.kind is inspect.Parameter.POSITIONAL_ONLY:
            self._refuse("callers pass arguments by name; move it behind the `/`", name)
        if name == _RESERVED_ARGUMENT:
            self._refuse("Clarifai clients keep this name for themselves; rename the argument", name)
        if hint is inspect.Parameter.empty:
            self._refuse(f"it has no type; write `{name}: str` or the like", name)
        default, limits = self._default(parameter)
        try:
            inner, batched = read_batch(hint, self._resolve)
            stream = None if batched else read_stream(inner, self._resolve)
            node = read_node(stream.item if stream else inner, self._resolve)
        except Unpublishable as exc:
            self._refuse(str(exc), name, hint)
        if batched and default is not REQUIRED:
            self._refuse("each caller of a batch brings a value of its own; take the default away", name, hint)
        if stream is not None:
            self._check_streamed_argument(name, hint, stream, default)
        elif default is None and not isinstance(node, OptionalOf):
            node = OptionalOf(node)  # `image: Image = None`, as many people write it
        self._check_default(name, hint, node, default)
        self._check_limits(name, hint, node, limits)
        return Argument(
            name=name, node=node, streamed=stream is not None, batched=batched, default=default, limits=limits
        )

    def _result(self, hint: object) -> tuple[Node, bool, bool]:
        """Return the type of one result, whether there is a stream of them, and whether they come in batches."""
        if hint is inspect.Signature.empty:
            self._refuse("it does not say what it returns; write `-> str` or the like")
        try:
            stream = read_stream(hint, self._resolve)
            inner, in_batches = read_batch(stream.item if stream else hint, self._resolve)
            node = read_node(inner, self._resolve)
        except Unpublishable as exc:
            self._refuse(str(exc), "the result", hint)
        yields = inspect.isgeneratorfunction(self._function) or inspect.isasyncgenfunction(self._function)
        if stream is None and yields:
            word = "AsyncIterator" if self._asynchronous else "Iterator"
            self._refuse(f"the method yields; write `-> {word}[{describe(hint)}]`", "the result", hint)
        if stream is None:
            return node, False, in_batches
        item = describe(stream.item)
        if stream.asynchronous and not self._asynchronous:
            self._refuse(f"a plain `def` yields Iterator[{item}]; or make it `async def`", "the result", hint)
        if self._asynchronous and not stream.asynchronous:
            self._refuse(f"an `async def` yields AsyncIterator[{item}]; or make it a plain `def`", "the result", hint)
        if self._asynchronous and not yields:
            advice = "an `async def` that streams has to yield; write `async for item in ...: yield item`"
            self._refuse(advice, "the result", hint)
        return node, True, in_batches

    def _default(self, parameter: inspect.Parameter) -> tuple[object, Limits]:
        default = cast(object, parameter.default)
        if default is inspect.Parameter.empty:
            return REQUIRED, NO_LIMITS
        said = default if isinstance(default, Parameter) else self._limits.get(parameter.name)
        if said is None:
            return default, NO_LIMITS
        return said.default, Limits(
            description=said.description,
            min_value=said.min_value,
            max_value=said.max_value,
            choices=said.choices,
            is_param=True,
        )

    def _check_streamed_argument(self, name: str, hint: object, stream: StreamHint, default: object) -> None:
        item = describe(stream.item)
        if stream.asynchronous and not self._asynchronous:
            self._refuse(f"a plain `def` is given Iterator[{item}]; or make it `async def`", name, hint)
        if self._asynchronous and not stream.asynchronous:
            self._refuse(f"an `async def` is given AsyncIterator[{item}]; or make it a plain `def`", name, hint)
        if default is not REQUIRED:
            self._refuse("a streamed argument is always there, so it has no default; take the default away", name, hint)

    def _check_default(self, name: str, hint: object, node: Node, default: object) -> None:
        bare = node.item if isinstance(node, OptionalOf) else node
        if default is REQUIRED or default is None or fits(bare, default):
            return
        if isinstance(bare, LiteralOf):
            self._refuse(f"its default {default!r} is not among the choices", name, hint)
        self._refuse(f"its default {default!r} is of another type; change one of the two", name, hint)

    def _check_limits(self, name: str, hint: object, node: Node, limits: Limits) -> None:
        bare = node.item if isinstance(node, OptionalOf) else node
        kind = bare.kind if isinstance(bare, Leaf) else None
        if (limits.min_value is not None or limits.max_value is not None) and kind not in (Kind.INT, Kind.FLOAT):
            self._refuse("min_value and max_value are for int and float; leave them out", name, hint)
        if limits.choices and isinstance(bare, LiteralOf):
            self._refuse("a Literal names its choices already; leave them out of Param(...)", name, hint)
        for choice in limits.choices or ():
            if kind not in SCALARS or not fits(bare, choice):
                self._refuse(f"choices are for str, int, float and bool, and {choice!r} does not fit", name, hint)

    def _resolve(self, text: str) -> object:
        """Evaluate an annotation given as text, where the function was written, then among the class's own names."""
        scope = getattr(inspect.unwrap(self._function), "__globals__", {})
        try:
            try:
                return cast(object, eval(text, scope))
            except NameError:
                module = vars(sys.modules.get(self._owner.__module__, inspect))
                return cast(object, eval(text, {**module, **scope}, dict(vars(self._owner))))
        except Exception as exc:
            reason = f"{text!r} cannot be evaluated ({type(exc).__name__}: {exc})"
            raise Unpublishable(f"{reason}; import it at the top of the module, not only for the type checker") from exc

    def _docstring(self) -> str:
        """Return the method's docstring, or that of the method it overrides."""
        for owner in self._owner.__mro__:
            if self._name not in vars(owner):
                continue
            text = cast(object, getattr(vars(owner)[self._name], "__doc__", None))
            if isinstance(text, str) and text:
                return inspect.cleandoc(text)
        return inspect.cleandoc(self._function.__doc__ or "")

    def _refuse(self, advice: str, what: str = "", hint: object = None) -> NoReturn:
        place = f"{self._owner.__name__}.{self._name}"
        subject = ""
        if what:
            subject = f"{what} " if what == "the result" else f"argument {what!r} "
        if hint is not None or what == "the result":
            subject += f"of type {describe(hint)} "
        message = f"{place} cannot be published: {subject.rstrip()}{': ' if subject else ''}{advice}"
        raise SignatureError(message)


_CARDINALITIES: dict[tuple[bool, bool], Cardinality] = {
    (False, False): Cardinality.UNARY,
    (False, True): Cardinality.SERVER_STREAM,
    (True, False): Cardinality.CLIENT_STREAM,
    (True, True): Cardinality.BIDI,
}
