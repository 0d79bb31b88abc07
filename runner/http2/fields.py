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

_bad_values = re.compile(rb"[\x00\r]|\n[ \t]|[ \t]\n").search
"""The same for all values of a section at once, each between line feeds."""

_PSEUDO = frozenset((b":method", b":scheme", b":authority", b":path"))

_NAMES_KEPT = 1024
_names: set[bytes] = set()
"""Names that were looked at and are right: peers use the same few in every section."""


class RequestHead:
    """A request's header section, looked through. Not changed after that, but for `meaning`.

    Attributes:
        method, scheme, authority, path: the pseudo-header fields; empty if missing.
        fields: the others.
        content_length: -1 if it says none.
        meaning: for the layer above: what it made of this head. Peers repeat whole sections, and a repeated one is the
            same object.
    """

    __slots__ = ("authority", "content_length", "fields", "meaning", "method", "path", "scheme")

    def __init__(self, pseudo: dict[bytes, bytes], fields: Fields, content_length: int) -> None:
        self.method = pseudo.get(b":method", b"")
        self.scheme = pseudo.get(b":scheme", b"")
        self.authority = pseudo.get(b":authority", b"")
        self.path = pseudo.get(b":path", b"")
        self.fields = fields
        self.content_length = content_length
        self.meaning: Any = None


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
    head = RequestHead(pseudo, section[regular:], _check_regular(section[regular:]))
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
    if len(name) <= 64:
        _names.add(name)
