"""A run: messages as the elements of one repeated field stand in another message, each behind its tag and its length.

The inputs of a request are one, and so are the outputs of a reply. Whoever passes them on passes their bytes on, and
takes them apart no sooner than somebody wants a single one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from runner.errors import InvalidInput
from runner.wire import varint
from runner.wire.payload import VIEW_FROM, Payload

INPUT_TAG: Final = b"\x22"  # PostModelOutputsRequest.inputs, 4
OUTPUT_TAG: Final = b"\x12"  # MultiOutputResponse.outputs, 2

_SHORT: Final = [varint.encode(size) for size in range(0x80)]
"""Lengths in one byte, as most are."""


def pieces(tag: bytes, messages: Iterable[Payload]) -> list[Payload]:
    """Return a run of messages, not put together yet."""
    found: list[Payload] = []
    for message in messages:
        size = len(message)
        found += (tag, _SHORT[size] if size < 0x80 else varint.encode(size), message)
    return found


def split(run: Payload, count: int) -> list[Payload]:
    """Return the messages of a run of so many; long ones are views into it.

    Raises:
        InvalidInput: it is no run of so many messages.
    """
    found: list[Payload] = []
    size = len(run)
    position = 0
    view = memoryview(run)
    try:
        while position < size:
            length = run[position + 1]
            start = position + 2
            if length > 0x7F:
                length, start = varint.decode(run, position + 1)
            position = start + length
            found.append(bytes(run[start:position]) if length < VIEW_FROM else view[start:position])
    except IndexError:  # it ends inside of a length
        position = -1
    if position != size or len(found) != count:
        raise InvalidInput(f"these bytes are no run of {count} messages")
    return found


def parts(run: Payload | None, tag: bytes, messages: Sequence[Payload], size: int) -> Iterator[tuple[int, Payload]]:
    """Yield the number of messages and the run of each part of a list, in order.

    Args:
        run: of all of them, if there is one already; then the parts are views of it where they can be.
        tag: what stands before each.
        messages: the list.
        size: messages in a part at most.
    """
    if run is not None and len(messages) <= size:
        yield len(messages), run
        return
    lengths = [len(tag) + len(varint.encode(len(message))) + len(message) for message in messages]
    whole = None if run is None or sum(lengths) != len(run) else memoryview(run)  # lengths may be written longer
    position = 0
    for first in range(0, len(messages), size):
        end = position + sum(lengths[first : first + size])
        members = messages[first : first + size]
        yield len(members), b"".join(pieces(tag, members)) if whole is None else whole[position:end]
        position = end
