"""What the head of a request says: whether it is a call at all, of what, for how long, with which metadata.

Clients repeat their fields, so that names and whole heads are mostly known. A head is read field by field only if one
of them is new each time, such as a deadline or a trace id.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from runner.grpc_protocol.compression import ACCEPTED, IDENTITY, Decompress, decompressor
from runner.grpc_protocol.metadata import Pair, read_pairs, read_text
from runner.grpc_protocol.status import CallFailure, StatusCode, code_of_http, encode_message
from runner.grpc_protocol.timeout import parse_timeout
from runner.http2.hpack.static import Field

_NAMES_KEPT = 1024
"""Names of metadata in use at a time, on all connections."""

_NAME_BYTES = 64
"""Length of a name that is kept."""

_METADATA, _BINARY, _IGNORED, _TIMEOUT, _CONTENT_TYPE, _TE, _ENCODING, _ACCEPT = range(8)

_OF_PROTOCOL = {
    b"content-type": _CONTENT_TYPE,
    b"te": _TE,
    b"grpc-timeout": _TIMEOUT,
    b"grpc-encoding": _ENCODING,
    b"grpc-accept-encoding": _ACCEPT,
    b"grpc-message-type": _IGNORED,
    b"content-length": _IGNORED,
    b"accept-encoding": _IGNORED,
    b"host": _IGNORED,
}

_names: dict[bytes, tuple[int, str]] = {name: (kind, "") for name, kind in _OF_PROTOCOL.items()}
"""What a field of a name is, and the name as metadata has it."""

CONTENT_TYPE = b"application/grpc"


class Head(Protocol):
    """A request's header section, as HTTP/2 gives it."""

    method: bytes
    path: bytes
    fields: Sequence[Field]
    """All but the pseudo-header fields."""


class CallHead:
    """The head of a call. Not changed once it is made: calls with equal heads may share one.

    Attributes:
        path: `/package.Service/Method`.
        timeout: seconds that the client gives the call; None: as long as it takes.
        metadata: the client's own fields and its user-agent, in order, names in lower case.
        content_type: `application/grpc`, perhaps with a suffix.
        decompress: reads the compressed messages; None: the client announced none.
        accept_encoding: in which codings the client takes messages, as it says it.
    """

    __slots__ = ("accept_encoding", "content_type", "decompress", "metadata", "path", "timeout")

    def __init__(
        self,
        path: str,
        timeout: float | None = None,
        metadata: Sequence[Pair] = (),
        content_type: bytes = CONTENT_TYPE,
        decompress: Decompress | None = None,
        accept_encoding: str = "",
    ) -> None:
        self.path = path
        self.timeout = timeout
        self.metadata = metadata
        self.content_type = content_type
        self.decompress = decompress
        self.accept_encoding = accept_encoding


class Refusal(Exception):
    """A request is no call that we could answer.

    Attributes:
        fields: the whole response, which has no body. It says the same to a client of HTTP and to one of gRPC.
    """

    def __init__(self, fields: Sequence[Field], message: str) -> None:
        super().__init__(message)
        self.fields = fields


def read_head(head: Head) -> CallHead:
    """Return what the head of a request says of its call.

    Raises:
        Refusal: it is not gRPC, or breaks its rules.
    """
    call = CallHead(head.path.decode("latin-1"))
    metadata: list[Pair] = []
    content_type = b""
    te = False
    try:
        for name, value in head.fields:
            kind, text = _names.get(name) or _learn(name)
            if kind == _METADATA:
                metadata.append((text, read_text(value)))
            elif kind == _CONTENT_TYPE:
                content_type = value
            elif kind == _TE:
                te = value == b"trailers"
            elif kind == _TIMEOUT:
                call.timeout = parse_timeout(value)
            elif kind == _ACCEPT:
                call.accept_encoding = read_text(value)
            elif kind == _BINARY:
                metadata += read_pairs(text, value)
            elif kind == _ENCODING:
                encoding = read_text(value)
                call.decompress = None if encoding == IDENTITY else decompressor(encoding)
    except CallFailure as failure:
        raise _refused(200, failure.code, failure.message) from None
    if head.method != b"POST":
        raise _refused(405, None, "a call of gRPC is a POST request", (b"allow", b"POST"))
    if content_type != CONTENT_TYPE and not content_type.startswith((CONTENT_TYPE + b"+", CONTENT_TYPE + b";")):
        raise _refused(415, None, "the content-type of gRPC is application/grpc")
    if not te:
        # It is there to find proxies that would lose the status at the end of the call.
        raise _refused(400, None, "a call of gRPC says te: trailers")
    call.content_type = content_type
    call.metadata = tuple(metadata)
    return call


def read_own(common: CallHead, own: Sequence[Field]) -> CallHead | None:
    """Return the head of a call that has fields beside those of another.

    Args:
        common: what both have.
        own: the fields.

    Returns:
        None: they say more than a deadline and metadata, and the head has to be read as a whole.

    Raises:
        Refusal: the head breaks the rules of gRPC.
    """
    metadata = list(common.metadata)
    timeout = common.timeout
    try:
        for name, value in own:
            kind, text = _names.get(name) or _learn(name)
            if kind == _METADATA:
                metadata.append((text, read_text(value)))
            elif kind == _TIMEOUT:
                timeout = parse_timeout(value)
            elif kind == _BINARY:
                metadata += read_pairs(text, value)
            elif kind != _IGNORED:
                return None
    except CallFailure as failure:
        raise _refused(200, failure.code, failure.message) from None
    return CallHead(
        common.path, timeout, tuple(metadata), common.content_type, common.decompress, common.accept_encoding
    )


def _learn(name: bytes) -> tuple[int, str]:
    """Return what fields of a name are that was not seen lately."""
    learnt = (_BINARY if name.endswith(b"-bin") else _METADATA), name.decode("latin-1")
    if len(name) <= _NAME_BYTES:
        if len(_names) >= _NAMES_KEPT:
            _names.clear()
            _names.update({name: (kind, "") for name, kind in _OF_PROTOCOL.items()})
        _names[name] = learnt
    return learnt


def _refused(status: int, code: StatusCode | None, message: str, *more: Field) -> Refusal:
    fields = (
        (b":status", b"%d" % status),
        (b"content-type", CONTENT_TYPE),
        (b"grpc-status", b"%d" % (code_of_http(status) if code is None else code)),
        (b"grpc-message", encode_message(message)),
        (b"grpc-accept-encoding", ACCEPTED),
        *more,
    )
    return Refusal(fields, message)
