"""One method's results as bytes: written by the worker and read by the client. Of statuses it knows success alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, TypeAlias

from runner.errors import InvalidInput
from runner.signature.method import Cardinality, MethodSignature
from runner.signature.tree import Kind, Leaf, Node
from runner.wire import run, scalars, varint
from runner.wire.alike import Frames
from runner.wire.argument import encode_value
from runner.wire.codec import compile_codec
from runner.wire.message import MessageReader, Range, serialize
from runner.wire.mismatch import EncodeError
from runner.wire.payload import VIEW_FROM, Join, Payload
from runner.wire.pb import inference_pb2 as pb
from runner.wire.value import ValueCodec

RESULT: Final = "return"
"""The id of the part that holds a result."""

SeeUsage: TypeAlias = Callable[[int, int, int], None]
"""Told the numbers of prompt, completion and cached tokens of an output."""

_SUCCESS: Final = pb.Output(status=pb.Status(code=10000, description="Ok")).SerializeToString()

_STR: Final[Node] = Leaf(Kind.STR)


class ResultCodec:
    """Encode and decode one method's results; compiled once from its signature.

    Attributes:
        join: puts a long output together; whoever sends outputs may have a better place for them than bytes.
    """

    def __init__(self, signature: MethodSignature) -> None:
        self.join: Join = b"".join
        self._name = signature.name
        self._result = _result_codec(signature)
        self._read_output = MessageReader(pb.Output, () if self._result.apart is None else (RESULT,)).read
        self._frames = Frames()

    @property
    def gives_arrays(self) -> bool:
        """Whether each result is an array."""
        return self._result.apart is not None

    def encode_output(
        self, value: object, usage: tuple[int, int, int] | None = None, *, old_style: bool = False
    ) -> Payload:
        """Return a successful, serialized Output, as `join` has put it together if it is long.

        Args:
            value: what the method returned or yielded.
            usage: numbers of prompt, completion and cached tokens.
            old_style: put the value directly into the output's data, for the callers who look there.

        Raises:
            EncodeError: the value is not of the declared type.
        """
        kind = content = None
        if self._result.inner is not None and usage is None and not old_style:
            try:
                kind = self._result.inner.kind(value)
                content = None if kind is None else self._result.inner.content(value)
            except UnicodeEncodeError:  # it is told below what is wrong with it
                kind = None
            if content is not None and (frame := self._frames.get(kind)) is not None:
                pieces = frame[0], content, frame[1]
                return b"".join(pieces) if len(content) < VIEW_FROM else self.join(pieces)
        output = pb.Output()
        if old_style:
            data = output.data
        else:
            part = output.data.parts.add()
            part.id = RESULT
            data = part.data
        if usage is not None:
            output.prompt_tokens, output.completion_tokens, output.cached_tokens = usage
        apart: dict[int, memoryview] = {}
        try:
            encode_value(self._result, value, data, None if old_style else apart)
            if old_style and data.string_value:
                data.text.raw = data.string_value
            pieces = serialize(output, apart, _SUCCESS)
            if content is not None:
                if len(apart) == 1:
                    self._frames.put(kind, bytes(pieces[0]), bytes(pieces[2]))
                else:
                    self._frames.learn(kind, bytes(pieces[0]), content)
            return self.join(pieces) if apart else bytes(pieces[0])
        except EncodeError as error:
            told = f"{self._name}() returned what it does not declare: {error.message}"
            raise EncodeError(told, path=error.path and RESULT + error.path) from None

    def encode_outputs(self, values: Sequence[Any]) -> Payload | None:
        """Return the run of successful Outputs of several values at once, if they are the rows of one array.

        Returns:
            None if they are not, or if such values cannot be written at once: `encode_output` writes each then.

        Raises:
            EncodeError: as there.
        """
        rows = None if self._result.inner is None else self._result.inner.rows
        if rows is None or (kind := rows.kind(values)) is None:
            return None
        frame = self._frames.get(kind)
        if frame is None:
            self.encode_output(values[0])
            if (frame := self._frames.get(kind)) is None:
                return None
        before, after = frame
        size = len(before) + values[0].nbytes + len(after)
        return rows.framed(values, run.OUTPUT_TAG + varint.encode(size) + before, after)

    def decode_output(self, payload: Payload, see_usage: SeeUsage | None = None) -> object:
        """Return the value in a serialized Output, whatever its status; `payload` as for `CallCodec.decode_call`.

        Args:
            payload: the Output.
            see_usage: told what it says of tokens.

        Raises:
            InvalidInput: it holds no value of the declared type.
        """
        message, apart = self._read_output(payload)
        if see_usage is not None:
            see_usage(message.prompt_tokens, message.completion_tokens, message.cached_tokens)
        data = message.data
        try:
            for index, part in enumerate(data.parts):
                if part.id == RESULT:
                    return self._result.read(part.data, numbers_of(payload, apart.get(index)))
            return self._result.read(data, None)
        except InvalidInput as error:
            error.path = RESULT + error.path
            raise


def _result_codec(signature: MethodSignature) -> ValueCodec:
    """Return the result's codec.

    A streamed str result of a bidi method is published as a text to clients that call that way, so both readers have
    to find theirs.
    """
    codec = compile_codec(signature.result)
    if signature.cardinality is Cardinality.BIDI and signature.result == _STR:
        return ValueCodec(codec.decode, scalars.encode_str_and_text)
    return codec


def numbers_of(payload: Payload, place: Range | None) -> memoryview | None:
    """Return the numbers of an array that were left in their payload, by where they are in it."""
    return None if place is None else memoryview(payload)[place[0] : place[1]]
