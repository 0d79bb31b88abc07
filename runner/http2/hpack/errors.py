"""What can be wrong with a header block.

CompressionError     the block cannot be read: the two tables are out of step, and the connection is lost
HeaderListTooLarge   the block was read and is too large: the stream is refused, the connection goes on
"""

from __future__ import annotations


class CompressionError(Exception):
    """A block breaks RFC 7541; the connection ends with COMPRESSION_ERROR."""


class HeaderListTooLarge(Exception):
    """A well-formed block holds more than we take. The table has followed it, so that later blocks can be read."""
