"""From lists of fields to header blocks (RFC 7541, sections 4 and 6).

A server of gRPC answers with the same two or three lists all day, and with some fields that are never the same twice:
messages, times, details of errors. So

- a field earns its place in the dynamic table the second time it is sent. What comes once is a literal that leaves the
  table alone, and cannot push out what is used;
- a list that is made of indexes only is remembered with its block, until the table changes.

Huffman's code is used for what joins the table, where its cost is paid once. It would take more of our time than it
saves on the way for the rest.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Sequence

from runner.http2.hpack import huffman
from runner.http2.hpack.decoder import DEFAULT_TABLE_BYTES
from runner.http2.hpack.integers import encode_integer
from runner.http2.hpack.static import FIRST_DYNAMIC, STATIC, Field, cost_of

_STATIC_FIELDS = {field: index for index, field in enumerate(STATIC, 1) if field[1]}
_STATIC_NAMES = {name: index for index, (name, _) in reversed([*enumerate(STATIC, 1)])}

_REMEMBERED = 32
"""Blocks kept. They are made by us, of fields of which we have few."""

_SEEN = 64
"""Fields kept to know them again: more than one server's usual ones, and few enough to forget them soon."""

_SHARE = 4
"""A field larger than this part of the table never joins it: it would push out the rest."""

_INDEXED, _JOINS, _STAYS_OUT, _NEVER_JOINS = 0x80, 0x40, 0x00, 0x10


class HeaderEncoder:
    """The sending end of one direction of a connection.

    Owns the dynamic table: blocks have to be sent in the order in which they were made, every one of them.

    Args:
        max_table_bytes: what we use at most of the dynamic table that the peer offers, as section 4.1 counts it.
    """

    def __init__(self, *, max_table_bytes: int = DEFAULT_TABLE_BYTES) -> None:
        self._max_table_bytes = max_table_bytes
        self._capacity = DEFAULT_TABLE_BYTES
        self._smallest: int | None = None  # a size to tell the peer, and the smallest since the last block
        self._entries: deque[tuple[Field, int]] = deque()  # oldest first, with their sizes
        self._used = 0
        # Fields and names by their number, counted from the first that ever joined.
        self._joined = 0
        self._fields: dict[Field, int] = {}
        self._names: dict[bytes, int] = {}
        self._seen: set[Field] = set()
        self._remembered: dict[tuple[Field, ...], bytes] = {}
        self.set_peer_max_table_bytes(DEFAULT_TABLE_BYTES)

    def __repr__(self) -> str:
        return f"<HeaderEncoder: {len(self._entries)} entries, {self._used} of {self._capacity} bytes>"

    def set_peer_max_table_bytes(self, size: int) -> None:
        """Follow the peer's SETTINGS_HEADER_TABLE_SIZE. The next block begins with the size that we use of it."""
        size = min(size, self._max_table_bytes)
        if size == self._capacity:
            return
        self._smallest = size if self._smallest is None else min(size, self._smallest)
        self._capacity = size
        self._remembered.clear()
        self._evict()

    def encode(self, fields: Sequence[Field], sensitive: Collection[bytes] = ()) -> bytes:
        """Return the next block.

        Args:
            fields: names and values, in order.
            sensitive: names whose values must stay out of the tables here and of every proxy on the way (section 7.1).
        """
        key = tuple(fields)
        if not sensitive:
            known = self._remembered.get(key)
            if known is not None:
                return known
        parts: list[bytes] = []
        at_rest = not sensitive
        if self._smallest is not None:
            # Section 4.2: the smallest size between two blocks is told too, since it made us evict.
            parts += [encode_integer(size, 5, 0x20) for size in sorted({self._smallest, self._capacity})]
            self._smallest = None
            at_rest = False
        for field in key:
            index = None if field[0] in sensitive else self._index(field)
            if index is None:
                at_rest = False
                parts.append(self._literal(field, sensitive))
            else:
                parts.append(encode_integer(index, 7, _INDEXED))
        block = b"".join(parts)
        if at_rest:
            if len(self._remembered) >= _REMEMBERED:
                self._remembered.clear()
            self._remembered[key] = block
        return block

    def _index(self, field: Field) -> int | None:
        number = self._fields.get(field)
        if number is not None:
            return FIRST_DYNAMIC + self._joined - 1 - number
        return _STATIC_FIELDS.get(field)

    def _name_index(self, name: bytes) -> int:
        index = _STATIC_NAMES.get(name)
        if index is not None:
            return index
        number = self._names.get(name)
        return 0 if number is None else FIRST_DYNAMIC + self._joined - 1 - number

    def _literal(self, field: Field, sensitive: Collection[bytes]) -> bytes:
        name, value = field
        index = self._name_index(name)
        if name in sensitive:
            head = encode_integer(index, 4, _NEVER_JOINS)
        elif self._earns_place(field):
            # By the indexes of before, and in the table after.
            head = encode_integer(index, 6, _JOINS)
            name, value = huffman.encode(name), huffman.encode(value)
            encoded = head + (b"" if index else _text(name, field[0])) + _text(value, field[1])
            self._insert(field)
            return encoded
        else:
            head = encode_integer(index, 4, _STAYS_OUT)
        return head + (b"" if index else _plain(name)) + _plain(value)

    def _earns_place(self, field: Field) -> bool:
        """Return whether a field has been sent before, and is small enough to be kept."""
        if cost_of(field) * _SHARE > self._capacity:
            return False
        if field in self._seen:
            self._seen.discard(field)
            return True
        if len(self._seen) >= _SEEN:
            self._seen.clear()
        self._seen.add(field)
        return False

    def _insert(self, field: Field) -> None:
        cost = cost_of(field)
        self._remembered.clear()
        self._entries.append((field, cost))
        self._used += cost
        self._fields[field] = self._names[field[0]] = self._joined
        self._joined += 1
        self._evict()

    def _evict(self) -> None:
        while self._used > self._capacity:
            number = self._joined - len(self._entries)
            field, cost = self._entries.popleft()
            self._used -= cost
            # A name may have come again since with another value; the field itself cannot.
            del self._fields[field]
            if self._names[field[0]] == number:
                del self._names[field[0]]


def encode_alone(fields: Sequence[Field]) -> bytes:
    """Return a block that neither reads nor changes a dynamic table: the same bytes at any time, on any connection."""
    parts: list[bytes] = []
    for field in fields:
        index = _STATIC_FIELDS.get(field)
        if index is not None:
            parts.append(encode_integer(index, 7, _INDEXED))
        else:
            index = _STATIC_NAMES.get(field[0], 0)
            parts.append(encode_integer(index, 4, _STAYS_OUT) + (b"" if index else _plain(field[0])) + _plain(field[1]))
    return b"".join(parts)


def _plain(text: bytes) -> bytes:
    return encode_integer(len(text), 7, 0x00) + text


def _text(coded: bytes, text: bytes) -> bytes:
    """Return a text in Huffman code, or as it is if that is not longer (section 5.2)."""
    return encode_integer(len(coded), 7, 0x80) + coded if len(coded) < len(text) else _plain(text)
