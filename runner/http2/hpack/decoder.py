"""From header blocks to lists of fields (RFC 7541, sections 3 and 6).

A client of gRPC sends nearly the same block with each call, and the connection's dynamic table is at rest once the
first have named all its fields. So three things are remembered:

- whole blocks, by their bytes. What a block means depends on its bytes and on the table, and on nothing else; a block
  is remembered only if reading it left the table as it was, and all are forgotten as soon as the table changes;
- fields of both tables as one list, so that a run of indexes becomes fields in one sweep;
- texts in Huffman code that came before, on any connection: their meaning depends on nothing but their bytes.

The rest is a loop over the block that has what is common in line.
"""

from __future__ import annotations

from runner.http2.hpack.errors import CompressionError, HeaderListTooLarge
from runner.http2.hpack.huffman import decode as decode_text
from runner.http2.hpack.integers import read_rest
from runner.http2.hpack.static import FIRST_DYNAMIC, OVERHEAD, STATIC, Field, cost_of

DEFAULT_TABLE_BYTES = 4096
"""Both sides begin with this (RFC 9113, section 6.5.2)."""

_BASE = 0x80
"""The bit that makes a byte an indexed field: the other seven are the index."""

_NEWEST = _BASE + FIRST_DYNAMIC

_RUN = bytes(range(_BASE + 1, 0xFF))
"""Indexed fields of one byte each."""

_RUN_BYTES = 128
"""Bytes that are looked at for a run. With all that follow, a long block of short runs would be copied for each."""

_REMEMBERED = 32
"""Blocks kept by a decoder. A client that has more different ones in turn has them read again."""

_REMEMBERED_BYTES = 512
"""Length of a block that is kept. The two bound what a connection can make us keep to about 150 KB."""

_KNOWN_TEXTS = 1024
_KNOWN_BYTES = 64
"""Length of a text that is kept; with their number, about 300 KB for the whole process."""

_known: dict[bytes, bytes] = {}


class Section:
    """What a block says. A decoder may hand the same section out again: its fields are not to be changed.

    Attributes:
        fields: in order.
        fresh: positions of those that this block said itself, where the others came out of a table.
        reading: what the section's reader made of it, for the next time that it comes. The decoder does not look at it.
    """

    __slots__ = ("fields", "fresh", "reading")

    def __init__(self, fields: list[Field], fresh: list[int]) -> None:
        self.fields = fields
        self.fresh = fresh
        self.reading: object = None


class HeaderDecoder:
    """The receiving end of one direction of a connection.

    Owns the dynamic table, which changes with every block: all blocks of the connection have to pass here, in order,
    those of refused streams too.

    Args:
        max_table_bytes: size of the dynamic table that we announce, as section 4.1 counts it. The sender begins with
            4,096 and may have more at once; one that is smaller it has to acknowledge: see `set_max_table_bytes`.
        max_list_bytes: a longer list is refused; fields count with 32 bytes more than their texts.
        max_fields: a list of more fields is refused.
    """

    def __init__(
        self, *, max_table_bytes: int = DEFAULT_TABLE_BYTES, max_list_bytes: int = 16 * 1024, max_fields: int = 128
    ) -> None:
        self._max_list_bytes = max_list_bytes
        self._max_fields = max_fields
        self._max_table_bytes = max_table_bytes
        self._capacity = DEFAULT_TABLE_BYTES  # what the sender uses of it
        self._must_resize = False
        # Both tables by index: the static one, then the dynamic one, newest first. They begin at 0x80, so that the byte
        # that stands for an index is the index here.
        self._table: list[Field] = [(b"", b"")] * (_BASE + 1) + [*STATIC]
        self._field_at = self._table.__getitem__
        self._used = 0  # bytes of the dynamic table
        self._largest = max(map(cost_of, STATIC))  # of all fields that ever were in either table
        self._remembered: dict[bytes, Section] = {}

    def __repr__(self) -> str:
        entries = len(self._table) - _NEWEST
        return f"<HeaderDecoder: {entries} entries, {self._used} of {self._capacity} bytes>"

    def set_max_table_bytes(self, size: int) -> None:
        """Take over a size of the table that the sender has acknowledged.

        If its table is larger, its next block has to begin with a size update (section 4.2).
        """
        self._max_table_bytes = size
        self._must_resize = self._must_resize or size < self._capacity
        self._remembered.clear()

    def decode(self, block: bytes | bytearray | memoryview) -> list[Field]:
        """Read the next block and return its fields, not to be changed.

        Raises:
            CompressionError, HeaderListTooLarge: see `read`.
        """
        return self.read(bytes(block)).fields

    def read(self, block: bytes) -> Section:
        """Read the next block.

        Raises:
            CompressionError: it breaks RFC 7541, and nothing after it could be read.
            HeaderListTooLarge: it is well-formed, and over the limits; the next one can be read.
        """
        known = self._remembered.get(block)
        if known is not None:
            return known
        try:
            return self._read(block)
        except IndexError:
            # The loop looks up without asking first: positions in the block, and indexes in the table.
            raise CompressionError("a header block ends in the middle of a field, or refers to none") from None

    def _read(self, block: bytes) -> Section:
        fields: list[Field] = []
        fresh: list[int] = []
        table = self._table
        max_list_bytes = self._max_list_bytes
        at_rest = True
        literal_bytes = 0  # of the list, its indexed fields aside
        position = 0
        end = len(block)
        if self._must_resize and not (end and block[0] & 0xE0 == 0x20):
            raise CompressionError("the table was made smaller, and the block does not begin with its new size")
        while position < end:
            byte = block[position]
            # A run of indexed fields.
            if 0xFF > byte > 0x80:
                rest = block[position : position + _RUN_BYTES]
                after = position + len(rest) - len(rest.lstrip(_RUN))
                fields.extend(map(self._field_at, block[position:after]))
                position = after
                continue
            position += 1
            if byte == 0xFF:
                index, position = read_rest(block, position, 0x7F)
                fields.append(table[_BASE + index])
                continue
            # A literal.
            if 0x80 > byte >= 0x40:
                index = byte - 0x40
                full = 0x3F
            elif byte < 0x20:
                index = byte & 0x0F
                full = 0x0F
            elif byte < 0x40:
                position = self._resize(block, position, first=not (fields or literal_bytes))
                at_rest = False
                continue
            else:
                raise CompressionError("a header block refers to index 0")
            if index == full:
                index, position = read_rest(block, position, full)
            # Each text: its length, with a bit for Huffman's code, then its bytes.
            if index:
                name, _ = table[_BASE + index]
            else:
                coded = block[position]
                position += 1
                length = coded & 0x7F
                if length == 0x7F:
                    length, position = read_rest(block, position, 0x7F)
                name = block[position : position + length]
                position += length
                if coded >= 0x80:
                    name = _known.get(name) or _remember(name)
            coded = block[position]
            position += 1
            length = coded & 0x7F
            if length == 0x7F:
                length, position = read_rest(block, position, 0x7F)
            value = block[position : position + length]
            position += length
            if position > end:  # of this text or of the name
                raise CompressionError("a header block ends in the middle of a text")
            if coded >= 0x80:
                # What joins the table comes as an index the next time; of what does not, some always come as they are.
                value = decode_text(value) if full == 0x3F else _known.get(value) or _remember(value)
            field = name, value
            cost = OVERHEAD + len(name) + len(value)
            literal_bytes += cost
            if literal_bytes > max_list_bytes:
                # Read to its end for the table's sake; what it said is let go as it comes.
                fields.clear()
                fresh.clear()
            fresh.append(len(fields))
            fields.append(field)
            if full == 0x3F:
                # Section 4.4: first in the dynamic table, whose last ones go until the rest fits. One that is larger
                # than the table empties it.
                at_rest = False
                table.insert(_NEWEST, field)
                if cost > self._largest:
                    self._largest = cost
                used = self._used + cost
                while used > self._capacity:
                    name, value = table.pop()
                    used -= OVERHEAD + len(name) + len(value)
                self._used = used
        if not at_rest:
            self._remembered.clear()
        # No indexed field is larger than the largest there ever was, so that most lists need not be summed up.
        if literal_bytes + len(fields) * self._largest > max_list_bytes or len(fields) > self._max_fields:
            self._check(fields, literal_bytes)
        section = Section(fields, fresh)
        if at_rest and end <= _REMEMBERED_BYTES:
            if len(self._remembered) >= _REMEMBERED:
                self._remembered.clear()
            self._remembered[block] = section
        return section

    def _check(self, fields: list[Field], literal_bytes: int) -> None:
        # The number first: a short block may refer to one field ten thousand times, and to add those up takes long.
        if len(fields) > self._max_fields:
            raise HeaderListTooLarge(f"more than {self._max_fields} header fields")
        size = max(literal_bytes, sum(map(cost_of, fields)))
        if size > self._max_list_bytes:
            raise HeaderListTooLarge(f"header fields of {size} bytes; {self._max_list_bytes} are taken")

    def _resize(self, block: bytes, position: int, *, first: bool) -> int:
        """Follow a size update (section 6.3) and return the position behind it."""
        if not first:
            raise CompressionError("a size update stands behind a field")
        capacity = block[position - 1] & 0x1F
        if capacity == 0x1F:
            capacity, position = read_rest(block, position, 0x1F)
        if capacity > self._max_table_bytes:
            raise CompressionError(f"a size update to {capacity}, where {self._max_table_bytes} was agreed")
        self._must_resize = False
        self._capacity = capacity
        self._remembered.clear()
        while self._used > capacity:
            self._used -= cost_of(self._table.pop())
        return position


def _remember(coded: bytes) -> bytes:
    """Decode a text in Huffman code, and remember it if it is short."""
    text = decode_text(coded)
    if len(coded) <= _KNOWN_BYTES:
        if len(_known) >= _KNOWN_TEXTS:
            _known.clear()
        _known[coded] = text
    return text
