"""HPACK (RFC 7541): the lists of header fields of a connection as bytes, and back."""

from runner.http2.hpack.decoder import Field, HeaderDecoder, Section
from runner.http2.hpack.encoder import HeaderEncoder, encode_alone
from runner.http2.hpack.errors import CompressionError, HeaderListTooLarge

__all__ = [
    "CompressionError",
    "Field",
    "HeaderDecoder",
    "HeaderEncoder",
    "HeaderListTooLarge",
    "Section",
    "encode_alone",
]
