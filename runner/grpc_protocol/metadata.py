"""Metadata: a call's own fields, beside those of the protocol.

A name that ends with `-bin` has bytes for its value, which travel in base64; padded or not, and several of them may
stand in one field between commas. All others have texts.
"""

from __future__ import annotations

import binascii
from collections.abc import Iterable, Sequence
from typing import TypeAlias

from runner.grpc_protocol.status import CallFailure, StatusCode
from runner.http2.hpack.static import Field

Pair: TypeAlias = tuple[str, str | bytes]

_PADDING = (b"", None, b"==", b"=")
"""By the length modulo four; no length leaves one."""


def decode_binary(value: bytes) -> bytes:
    """Return the bytes of one value in base64, padded or not.

    Raises:
        ValueError: it is not base64.
    """
    if len(value) % 4:
        padding = _PADDING[len(value) % 4]
        if padding is None:
            raise ValueError("no base64 has this length")
        value += padding
    return binascii.a2b_base64(value, strict_mode=True)


def encode_binary(value: bytes) -> bytes:
    """Return bytes in base64, without padding, as the specification asks of senders."""
    return binascii.b2a_base64(value, newline=False).rstrip(b"=")


def read_pairs(name: str, value: bytes) -> Iterable[Pair]:
    """Return what a field says as metadata: one pair, or one for each value in a list of binary ones.

    Raises:
        CallFailure: it should be base64 and is not.
    """
    if not name.endswith("-bin"):
        return ((name, read_text(value)),)
    try:
        return [(name, decode_binary(part.strip(b" "))) for part in value.split(b",")]
    except ValueError:
        raise CallFailure(StatusCode.INTERNAL, f"metadata {name} is not base64") from None


def read_text(value: bytes) -> str:
    """Return the value of a text. The specification has ASCII only; what clients send beyond it is not lost."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")


def write_fields(pairs: Sequence[Pair]) -> list[Field]:
    """Return metadata as fields. Names are in lower case.

    Raises:
        ValueError: a text cannot travel: it has a character that is not printable ASCII, or spaces around it.
    """
    fields: list[Field] = []
    for name, value in pairs:
        if name.endswith("-bin"):
            coded = encode_binary(value.encode() if isinstance(value, str) else value)
        else:
            coded = value.encode() if isinstance(value, str) else value
            if coded.translate(None, _PRINTABLE) or coded != coded.strip(b" "):
                raise ValueError(f"metadata {name}: a text of printable ASCII is needed, got {value!r}")
        fields.append((name.encode("ascii"), coded))
    return fields


_PRINTABLE = bytes(range(0x20, 0x7F))
