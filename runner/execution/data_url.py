"""`data:` URLs (RFC 2397): the input travels in the URL itself."""

from __future__ import annotations

import binascii
from urllib.parse import unquote_to_bytes

_WHITESPACE = b" \t\r\n\f"


def decode(url: str) -> bytes:
    """Return what a `data:` URL holds; its media type is not looked at.

    Like browsers, it forgives white space and missing padding in base64, and ends at a `#`.

    Raises:
        ValueError: there is no comma, or the base64 is none. The text completes "the data: URL ...".
    """
    head, comma, body = url.partition("#")[0].partition(",")
    if not comma:
        raise ValueError("has no comma before its data")
    data = unquote_to_bytes(body)
    if not head.rstrip().lower().endswith(";base64"):
        return data
    data = data.translate(None, _WHITESPACE).rstrip(b"=")
    try:
        return binascii.a2b_base64(data + b"=" * (-len(data) % 4), strict_mode=True)
    except binascii.Error as exc:
        raise ValueError("is not valid base64") from exc
