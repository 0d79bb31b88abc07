"""Header and trailer sections: what HTTP/2 asks of them before anybody reads them (RFC 9113, 8.1 to 8.3)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from runner.http2.errors import MalformedMessage

Fields = Sequence[tuple[bytes, bytes]]

_CONNECTION_SPECIFIC = frozenset((b"connection", b"proxy-connection", b"keep-alive", b"transfer-encoding", b"upgrade"))
"""They speak of an HTTP/1.1 connection and mean nothing in a stream (8.2.2)."""

_is_name = re.compile(rb"[!#$%&'*+\-.^_`|~0-9a-z]+").fullmatch
"""A token without upper case (8.2.1)."""

_bad_value = re.compile(rb"[\x00\r\n]|^[ \t]|[ \t]$").search
"""Values hold no NUL, CR or LF, and neither begin nor end with white space (8.2.1)."""

_FORBIDDEN, _BLANKS = b"\0\r\n", b" \t"

_bad_values = re.compile(rb"[\x00\r]|\n[ \t]|[ \t]\n").search
"""The same for all values of a section at once, each between line feeds."""

_PSEUDO = frozenset((b":method", b":scheme", b":authority", b":path"))

_NAMES_KEPT = 1024
_names: set[bytes] = set()
"""Names that were looked at and are right: peers use the same few in every section."""

_ordinary: set[bytes] = set()
"""Those of them whose values mean nothing to HTTP/2."""

_COMMON_KEPT = 16
_COMMON_BYTES = 2048
"""What is kept of a connection's requests: that many sets of fields, of so many bytes."""


class RequestHead:
    """A request's header section, looked through. Not changed after that, but for `meaning`.

    Attributes:
        method, scheme, authority, path: the pseudo-header fields; empty if missing.
        fields: the others.
        content_length: -1 if it says none.
        common: what it shares with other requests of the connection, as a head of its own; None: it is read as a whole.
        own: its fields that are not in `common`. None of them is there by another value.
        meaning: for the layer above: what it made of this head. Peers repeat whole sections, and a repeated one is the
            same object; and so is a repeated `common`.
    """

    __slots__ = (
        "authority",
        "common",
        "content_length",
        "fields",
        "meaning",
        "method",
        "own",
        "path",
        "scheme",
    )

    def __init__(
        self,
        method: bytes,
        scheme: bytes,
        authority: bytes,
        path: bytes,
        fields: Fields,
        content_length: int,
        common: RequestHead | None = None,
        own: Fields = (),
    ) -> None:
        self.method = method
        self.scheme = scheme
        self.authority = authority
        self.path = path
        self.fields = fields
        self.content_length = content_length
        self.common = common
        self.own = own
        self.meaning: Any = None


class RequestReader:
    """Reads the header sections of a connection's requests.

    Most of a section comes with every request of a client, and a deadline or a trace id with one alone. What comes
    again is looked through once.
    """

    def __init__(self) -> None:
        self._common: dict[tuple[tuple[bytes, bytes], ...], tuple[RequestHead, frozenset[bytes]]] = {}
        self._latest: tuple[Fields, tuple[RequestHead, frozenset[bytes]]] | None = None

    def read(self, section: list[tuple[bytes, bytes]], fresh: Sequence[int]) -> RequestHead:
        """Return a request's head.

        Args:
            section: its fields.
            fresh: positions of those that may be this request's alone.

        Raises:
            MalformedMessage: the section breaks the rules for requests.
        """
        alone = [position for position in fresh if section[position][0] in _ordinary]
        if not alone:
            return read_request(section)
        first = alone[0]
        if first + len(alone) == len(section):  # they come last, as with most clients
            own, rest = section[first:], section[:first]
        else:
            own, rest = [section[position] for position in alone], section.copy()
            for position in reversed(alone):
                del rest[position]
        latest = self._latest
        # Fields out of the client's table are the same objects each time, which makes this cheaper than a hash.
        common, names = latest[1] if latest is not None and latest[0] == rest else self._find_common(rest)
        pseudo = len(rest) - len(common.fields)
        if first < pseudo:
            return read_request(section)  # which knows what is wrong with that
        for name, value in own:
            if name in names:
                return read_request(section)  # their order may mean something
            if value.translate(None, _FORBIDDEN) != value or value.strip(_BLANKS) != value:
                raise MalformedMessage("a field value with a forbidden character")
        return RequestHead(
            common.method,
            common.scheme,
            common.authority,
            common.path,
            section[pseudo:],
            common.content_length,
            common,
            own,
        )

    def _find_common(self, rest: Fields) -> tuple[RequestHead, frozenset[bytes]]:
        key = tuple(rest)
        known = self._common.get(key)
        if known is None:
            known = read_request(rest), frozenset([name for name, _ in rest])
            if sum(map(_size_of, rest)) > _COMMON_BYTES:
                return known
            if len(self._common) >= _COMMON_KEPT:
                self._common.clear()
            self._common[key] = known
        self._latest = rest, known
        return known


def read_request(section: Fields) -> RequestHead:
    """Return a request's head.

    Raises:
        MalformedMessage: the section breaks the rules for requests.
    """
    pseudo: dict[bytes, bytes] = {}
    regular = 0
    for name, value in section:
        if name[:1] != b":":
            break
        if name in pseudo:
            raise MalformedMessage(f"two fields {name.decode('latin-1')}")
        pseudo[name] = value
        regular += 1
    if pseudo.keys() - _PSEUDO:
        raise MalformedMessage("a pseudo-header field that requests do not have")
    head = RequestHead(
        pseudo.get(b":method", b""),
        pseudo.get(b":scheme", b""),
        pseudo.get(b":authority", b""),
        pseudo.get(b":path", b""),
        section[regular:],
        _check_regular(section[regular:]),
    )
    if head.method == b"CONNECT":
        if head.scheme or head.path or not head.authority:
            raise MalformedMessage("a CONNECT request has an :authority, no :scheme and no :path")  # 8.5
    elif not (head.method and head.scheme and head.path):
        raise MalformedMessage("a request needs :method, :scheme and :path")
    if any(map(_bad_value, pseudo.values())):
        raise MalformedMessage("a pseudo-header field with a forbidden character")
    return head


def check_trailers(section: Fields) -> None:
    """Look through a trailer section, which has no pseudo-header fields.

    Raises:
        MalformedMessage: it breaks the rules.
    """
    _check_regular(section)


def _check_regular(fields: Fields) -> int:
    """Look at the names and values of regular fields; return what `content-length` says, or -1."""
    length = -1
    for name, value in fields:
        if name not in _names:
            _check_name(name)
        if name == b"te":
            if value.lower() != b"trailers":
                raise MalformedMessage("te says something else than trailers")
        elif name == b"content-length":
            if not value.isdigit() or len(value) > 19 or length not in (-1, int(value)):
                raise MalformedMessage("content-length is not one number")
            length = int(value)
    values = b"\n".join([b"", *[value for _, value in fields], b""])
    if values.count(b"\n") != len(fields) + 1 or _bad_values(values):
        raise MalformedMessage("a field value with a forbidden character")
    return length


def _check_name(name: bytes) -> None:
    if not _is_name(name):
        raise MalformedMessage(f"{name.decode('latin-1')!r} is no field name")
    if name in _CONNECTION_SPECIFIC:
        raise MalformedMessage(f"{name.decode()} has no place in HTTP/2")
    if len(_names) >= _NAMES_KEPT:
        _names.clear()
        _ordinary.clear()
    if len(name) <= 64:
        _names.add(name)
        if name not in (b"te", b"content-length"):
            _ordinary.add(name)


def _size_of(field: tuple[bytes, bytes]) -> int:
    return len(field[0]) + len(field[1])
