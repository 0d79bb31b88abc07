"""One method's calls as bytes: compiled from its signature, read by the worker and written by the client.

Knows nothing of ids, or of how bytes travel.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple, cast

from google.protobuf.struct_pb2 import Struct

from runner.errors import InvalidInput
from runner.signature.method import MethodSignature
from runner.types.media import Text, path_of
from runner.wire import run, varint
from runner.wire.alike import Known, Memory
from runner.wire.argument import IMMUTABLE, CompiledArgument
from runner.wire.json import decode_value
from runner.wire.message import INVALID_MESSAGE, MessageReader, Range, parse, serialize
from runner.wire.mismatch import EncodeError
from runner.wire.old_style import METHOD_KEY, LooseValues, is_old_style, text_url
from runner.wire.payload import Payload
from runner.wire.pb import inference_pb2 as pb
from runner.wire.result import ResultCodec, numbers_of
from runner.wire.value import Filling, RowFilling
from runner.wire.walk import Media, Unresolved, is_unresolved

__all__ = ["Arguments", "CallCodec", "EncodeError", "Unresolved"]


class Arguments(dict[str, object]):
    """Argument name to value, in the order of the signature.

    `old_style`: the call had no method name and its value lay directly in the input, so the answer has to as well.
    """

    old_style: bool = False


class _Alike(NamedTuple):
    """What calls have in common that differ in one argument's content only."""

    others: dict[str, object]
    """All arguments in order; None in the place of the one that differs."""
    argument: CompiledArgument
    filling: Filling
    memo: dict[str, Any]
    """See `AlikeCalls`."""


class AlikeCalls(NamedTuple):
    """Several calls that are alike but for one argument."""

    arguments: dict[str, object]
    """All arguments, with the first call's value of that one."""
    name: str
    """Of the one in which they differ."""
    values: Sequence[object]
    """Its values: a list, or an array with a row for each, which is to be copied."""
    memo: dict[str, Any]
    """Kept for all calls that are like these: what their reader has made of their arguments and of an array's kind."""


class CallCodec(ResultCodec):
    """Encode and decode one method's calls, their results among them; compiled once from its signature."""

    def __init__(self, signature: MethodSignature) -> None:
        super().__init__(signature)
        self._arguments = [CompiledArgument(argument) for argument in signature.arguments]
        self._by_name = {argument.name: argument for argument in self._arguments}
        self._first = signature.arguments[0].name if signature.arguments else ""
        self._streamed = next((argument for argument in self._arguments if argument.streamed), None)
        arrays = [argument.name for argument in self._arguments if argument.is_array]
        self._read_input = MessageReader(pb.Input, arrays).read
        self.carries_media = any(argument.visit is not None for argument in self._arguments)
        self.opens_images = any(argument.opens_images for argument in self._arguments)
        self._finishes = any(argument.finish is not None for argument in self._arguments)
        self._alike: Memory[_Alike] = Memory()
        self._head = pb.Input()
        self._head.data.metadata.fields[METHOD_KEY].string_value = signature.name

    # -- the worker's side ------------------------------------------------------------------------------------------

    def decode_call(self, payload: Payload, params: bytes = b"") -> Arguments:
        """Return the arguments of a serialized Input, with defaults filled in and limits enforced.

        A streamed argument maps to its first item, and is left out if the message holds none.

        Args:
            payload: a serialized Input. A large array may come to lie over it if it can be written to: give it away.
            params: a serialized Struct whose entries set arguments of the same name that the input does not hold.

        Raises:
            InvalidInput: anything is wrong with it; the path starts with the argument's name.
        """
        if not params and (known := self._alike.find(payload)) is not None:
            return self._filled(known, payload)
        message, apart = self._read_input(payload)
        data = message.data
        arguments = Arguments()
        parts = {part.id: part.data for part in data.parts}
        ranges = {data.parts[index].id: place for index, place in apart.items()} if apart else _NO_RANGES
        if len(parts) != len(data.parts) or not parts.keys() <= self._by_name.keys():
            parts = self._inlined(data, parts)
        loose = None
        if self._first not in parts:  # it was left out, or lies elsewhere
            loose = LooseValues(data)
            arguments.old_style = is_old_style(data)
        named = self._from_params(params) if params else {}
        for position, argument in enumerate(self._arguments):
            name = argument.name
            sent = parts.get(name)
            if sent is None and loose is not None and (arguments.old_style or position == 0):
                sent = loose.take(argument.loose_fields)
            if sent is None:
                sent = named.get(name)
            if sent is not None:
                if arguments.old_style and argument.is_str and (url := text_url(sent)):
                    arguments[name] = Text(url=url)  # `finish` makes a str of it
                else:
                    arguments[name] = argument.decode(sent, numbers_of(payload, ranges.get(name)))
            elif not argument.streamed:
                arguments[name] = argument.default(self._name)
        if loose is not None:
            loose.expect_none_left()
        elif not params:
            self._learn(payload, parts, ranges, arguments)
        return arguments

    def decode_alike(self, payload: Payload, count: int) -> AlikeCalls | None:
        """Read a run of so many calls at once, if they differ in one argument alone and one like them was read before.

        Returns:
            None if they are not, or anything is wrong with one: `decode_call` reads each then. Nothing in it is to be
            fetched or opened.
        """
        stride, rest = divmod(len(payload), count)
        if rest or self.carries_media or self.opens_images:
            return None
        try:
            length, begin = varint.decode(payload, len(run.INPUT_TAG))
        except (IndexError, InvalidInput):
            return None
        if begin + length != stride or (known := self._alike.find(payload[begin:stride])) is None:
            return None
        start, end = begin + known.start, begin + known.end
        if not _same_between(payload, start, end, stride):
            return None
        others, argument, filling, memo = known.meaning
        first: object
        values: Sequence[object]
        try:
            if not isinstance(filling, RowFilling):
                bases = range(0, len(payload), stride)
                values = [argument.fill(filling, payload, base + start, base + end) for base in bases]
                first = values[0]
            elif argument.is_limited:
                return None
            else:
                values = cast("Sequence[object]", filling.rows(payload, start, stride, count))
                first = values[0] if argument.finish is None else argument.fill(filling, payload, start, end)
            arguments = Arguments(others)
            arguments[argument.name] = first
            return AlikeCalls(self.finish(arguments), argument.name, values, memo)
        except (InvalidInput, ValueError):
            return None

    def _learn(
        self, payload: Payload, parts: Mapping[str, pb.Data], ranges: Mapping[str, Range], arguments: Arguments
    ) -> None:
        """Remember a call, to read those that are like it but for one argument: the longest of those that may be it."""
        longest, content, most = None, b"", 0
        for name in parts:
            argument = self._by_name[name]
            if argument.inner is None:
                continue
            sent = argument.inner.sent(parts[name])
            start, end = ranges.get(name, (0, len(sent)))
            if end - start > most:
                longest, content, most = argument, sent, end - start
        if longest is None or longest.inner is None:
            return
        others = {name: None if name == longest.name else value for name, value in arguments.items()}
        if all(isinstance(value, IMMUTABLE) for value in others.values()):
            alike = _Alike(others, longest, longest.inner.filling(parts[longest.name]), {})
            if longest.name in ranges:
                self._alike.learn_at(payload, *ranges[longest.name], alike)
            else:
                self._alike.learn(payload, content, alike)

    def _filled(self, known: Known[_Alike], payload: Payload) -> Arguments:
        others, argument, filling, _ = known.meaning
        arguments = Arguments(others)
        try:
            arguments[argument.name] = argument.fill(filling, payload, known.start, known.end)
        except ValueError:  # what is no UTF-8 protobuf would have refused as well
            raise InvalidInput(INVALID_MESSAGE) from None
        return arguments

    def decode_item(self, payload: Payload) -> object:
        """Return the streamed argument's next item from a serialized Input.

        Raises:
            InvalidInput: the message holds none, or not one of its type.
        """
        argument = self._streamed_argument()
        message, apart = self._read_input(payload)
        data = message.data
        for index, part in enumerate(data.parts):
            if part.id == argument.name:
                return argument.decode(part.data, numbers_of(payload, apart.get(index)))
        sent = None if data.parts else LooseValues(data).take(argument.loose_fields)
        if sent is None:
            raise InvalidInput("the message holds no item of it", path=argument.name)
        return argument.decode(sent)

    # -- the client's side ------------------------------------------------------------------------------------------

    def encode_call(self, arguments: Mapping[str, object]) -> bytes:
        """Return the serialized Input of a call.

        A streamed argument's value is its first item; it may be left out. None stands for an argument left out where
        that is its default.

        Raises:
            InvalidInput: an argument is missing, unknown or of another type.
        """
        if unknown := [name for name in arguments if name not in self._by_name]:
            raise self._unknown(unknown[0])
        message = pb.Input()
        message.CopyFrom(self._head)
        apart: dict[int, memoryview] = {}
        for argument in self._arguments:
            name = argument.name
            if name in arguments:
                value = arguments[name]
                if value is not None or argument.sends_none:
                    argument.encode(value, message, apart)
            elif argument.missing:
                raise InvalidInput(f"{self._name}() needs this argument", path=name)
        return _serialize_for_caller(message, apart)

    def encode_item(self, value: object) -> bytes:
        """Return the serialized Input that carries one more item of the streamed argument.

        Raises:
            InvalidInput: it is of another type.
        """
        message = pb.Input()
        message.CopyFrom(self._head)
        apart: dict[int, memoryview] = {}
        self._streamed_argument().encode(value, message, apart)
        return _serialize_for_caller(message, apart)

    # -- media and libraries ----------------------------------------------------------------------------------------

    def unresolved(self, value: object) -> list[Unresolved]:
        """Return the media given by URL only, in decoded arguments or in an item, at any depth."""
        found: list[Unresolved] = []

        def see(media: Media, path: str) -> None:
            if is_unresolved(media):
                found.append(Unresolved(path_of(media) or path, media))

        if isinstance(value, Arguments):
            if not (self.carries_media or value.old_style):
                return found
            for name, argument_value in value.items():
                argument = self._by_name[name]
                if argument.is_str and isinstance(argument_value, Text):
                    see(argument_value, name)
                else:
                    argument.show_media(argument_value, see)
        elif self._streamed is not None:
            self._streamed.show_media(value, see)
        return found

    def finish(self, arguments: dict[str, object]) -> dict[str, object]:
        """Turn images into Pillow's and arrays into tensors where the method wants those, in place.

        Raises:
            InvalidInput: bytes that are no image, or numbers of a kind that torch does not know.
        """
        if not self._finishes and isinstance(arguments, Arguments) and not arguments.old_style:
            return arguments
        for name, value in arguments.items():
            argument = self._by_name[name]
            if argument.finish is not None:
                try:
                    arguments[name] = argument.finish(value)
                except InvalidInput as error:
                    error.path = error.path or name
                    raise
            elif argument.is_str and isinstance(value, Text):
                arguments[name] = value.text
        return arguments

    def finish_item(self, value: object) -> object:
        """Do for an item what `finish` does for arguments."""
        finish = self._streamed_argument().finish
        return value if finish is None else finish(value)

    # -- rare cases -------------------------------------------------------------------------------------------------

    def _inlined(self, data: pb.Data, parts: dict[str, pb.Data]) -> dict[str, pb.Data]:
        """Return the parts of a call whose first argument's own parts lie where the arguments should.

        Raises:
            InvalidInput: they are none, so an argument is unknown or was given twice.
        """
        if self._arguments and not parts.keys() & self._by_name.keys():
            first = self._arguments[0]
            if first.holds_parts(data):
                return {first.name: pb.Data(parts=data.parts)}
        if unknown := [name for name in parts if name not in self._by_name]:
            raise self._unknown(unknown[0])
        names = [part.id for part in data.parts]
        raise InvalidInput("the argument was given twice", path=next(name for name in names if names.count(name) > 1))

    def _from_params(self, params: bytes) -> dict[str, pb.Data]:
        """Return the arguments that an old-style call sets by name, written as parts."""
        written: dict[str, pb.Data] = {}
        for name, value in parse(Struct, params).fields.items():
            if name not in self._by_name:
                raise self._unknown(name)
            message = pb.Input()
            self._by_name[name].encode(decode_value(value), message)
            written[name] = message.data.parts[0].data
        return written

    def _unknown(self, name: str) -> InvalidInput:
        known = ", ".join(self._by_name) or "none"
        return InvalidInput(f"{self._name}() has no such argument; its arguments: {known}", path=name[:64])

    def _streamed_argument(self) -> CompiledArgument:
        if self._streamed is None:
            raise InvalidInput(f"{self._name}() has no streamed argument; one message makes the call")
        return self._streamed


_NO_RANGES: Final[Mapping[str, Range]] = {}


def _same_between(payload: Payload, start: int, end: int, stride: int) -> bool:
    """Tell whether the messages of a run, each so many bytes, are the same but for their contents.

    Args:
        payload: the run.
        start: where the first content starts.
        end: where it ends.
        stride: bytes of each message, with what stands before it.
    """
    view = memoryview(payload)
    between = view[end:stride].tobytes() + view[:start].tobytes()  # of two messages, compared at once
    size = len(between)
    for position in range(end, len(payload) - stride, stride):
        if view[position : position + size].tobytes() != between:
            return False
    return view[len(payload) - stride + end :].tobytes() == between[: stride - end]


def _serialize_for_caller(message: pb.Input, apart: Mapping[int, memoryview]) -> bytes:
    try:
        return b"".join(serialize(message, apart))
    except EncodeError as error:
        raise InvalidInput(error.message) from None
