"""One argument of a method: its codec and everything that is asked of it during a call."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Final

from runner.errors import InvalidInput
from runner.signature.method import REQUIRED, Argument
from runner.signature.tree import Kind, Leaf, OptionalOf
from runner.types.media import set_path
from runner.wire.codec import compile_codec
from runner.wire.limits import checker
from runner.wire.mismatch import EncodeError
from runner.wire.old_style import fields_for
from runner.wire.payload import Payload
from runner.wire.pb import inference_pb2 as pb
from runner.wire.value import Filling, ValueCodec
from runner.wire.walk import Media, finisher, opens_images, visitor

IMMUTABLE: Final = (str, int, float, bool, bytes, type(None))


class CompiledArgument:
    """One argument: its codec and everything that is asked of it during a call."""

    def __init__(self, argument: Argument) -> None:
        node = argument.node
        self.name = argument.name
        self.streamed = argument.streamed
        self.loose_fields = fields_for(node)
        self.visit = visitor(node)
        self.finish = finisher(node)
        self.opens_images = opens_images(node)
        self.is_str = self.loose_fields == fields_for(Leaf(Kind.STR)) and self.visit is None
        optional = isinstance(node, OptionalOf)
        self.missing = argument.required and not optional and not argument.streamed
        # Elsewhere None is what a call without the argument gives the method, so it is not sent.
        self.sends_none = argument.streamed or not (argument.default is None or (argument.required and optional))
        self._codec = compile_codec(node)
        self._decode = self._codec.decode
        self.is_array = self._codec.apart is not None
        self.inner = None if self.visit is not None else self._codec.inner
        self._check = checker(argument.limits)
        self._default = argument.default

    def decode(self, data: pb.Data, numbers: memoryview | None = None) -> object:
        """Return the value of a part, checked and with its media told their paths.

        Args:
            data: the part's data.
            numbers: of an array whose message lacks them.
        """
        try:
            value = self._decode(data) if numbers is None else self._codec.read(data, numbers)
            if self._check is not None:
                self._check(value)
        except InvalidInput as error:
            error.path = self.name + error.path
            raise
        if self.visit is not None:
            self.visit(value, self.name, set_path)
        return value

    @property
    def is_limited(self) -> bool:
        """Whether its values have limits."""
        return self._check is not None

    def fill(self, filling: Filling, payload: Payload, start: int, end: int) -> object:
        """Return the value whose content is `payload[start:end]`, checked as `decode` does.

        Raises:
            InvalidInput: it is outside its limits.
            ValueError: the content is none of the type.
        """
        value = filling(payload, start, end)
        if self._check is not None:
            try:
                self._check(value)
            except InvalidInput as error:
                error.path = self.name + error.path
                raise
        return value

    def encode(self, value: object, message: pb.Input, apart: dict[int, memoryview] | None = None) -> None:
        """Add the part of a value to an input.

        Args:
            value: the argument.
            message: the input.
            apart: where the numbers of a large array go, by the index of the part; None if they go into the input.
        """
        parts = message.data.parts
        part = parts.add()
        part.id = self.name
        try:
            encode_value(self._codec, value, part.data, apart, len(parts) - 1)
        except EncodeError as error:
            raise InvalidInput(error.message, path=self.name + error.path) from None

    def default(self, method: str) -> object:
        """Return the value of an argument that was left out.

        Raises:
            InvalidInput: it has none.
        """
        if isinstance(self._default, IMMUTABLE):
            return self._default
        if self._default is REQUIRED:
            if self.missing:
                raise InvalidInput(f"{method}() needs this argument", path=self.name)
            return None
        return copy.deepcopy(self._default)  # one call must not see what another did to a list

    def show_media(self, value: object, see: Callable[[Media, str], None]) -> None:
        """Show the media in a decoded value."""
        if self.visit is not None:
            self.visit(value, self.name, see)

    def holds_parts(self, data: pb.Data) -> bool:
        """Return whether parts can be this argument's own value rather than arguments."""
        try:
            self._decode(pb.Data(parts=data.parts))
        except InvalidInput:
            return False
        return True


def encode_value(
    codec: ValueCodec, value: object, data: pb.Data, apart: dict[int, memoryview] | None, index: int = 0
) -> None:
    """Write a value; whatever protobuf refuses beyond our own checks is refused with our own error.

    Args:
        codec: of the value's type.
        value: what to write.
        data: where to.
        apart: where the numbers of a large array go, None if they go into `data`.
        index: under which key they go there.
    """
    data.SetInParent()
    try:
        if apart is None or codec.apart is None:
            codec.encode(value, data)
        elif (numbers := codec.apart.encode(value, data)) is not None:
            apart[index] = numbers
    except EncodeError:
        raise
    except (TypeError, ValueError, OverflowError) as exc:
        raise EncodeError(f"a value in it cannot be sent: {exc}") from exc
