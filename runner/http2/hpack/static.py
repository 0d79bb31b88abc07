"""The static table of RFC 7541, appendix A: fields and names that a block may refer to without saying them."""

from __future__ import annotations

from typing import Final, TypeAlias

Field: TypeAlias = tuple[bytes, bytes]
"""Name and value, as they travel."""

OVERHEAD: Final = 32
"""What a field counts beside its name and value (section 4.1), and in the size of a list (RFC 9113, section 6.5.2)."""

_NAMED = """\
:authority
:method GET
:method POST
:path /
:path /index.html
:scheme http
:scheme https
:status 200
:status 204
:status 206
:status 304
:status 400
:status 404
:status 500
accept-charset
accept-encoding gzip, deflate
accept-language
accept-ranges
accept
access-control-allow-origin
age
allow
authorization
cache-control
content-disposition
content-encoding
content-language
content-length
content-location
content-range
content-type
cookie
date
etag
expect
expires
from
host
if-match
if-modified-since
if-none-match
if-range
if-unmodified-since
last-modified
link
location
max-forwards
proxy-authenticate
proxy-authorization
range
referer
refresh
retry-after
server
set-cookie
strict-transport-security
transfer-encoding
user-agent
vary
via
www-authenticate"""


def _parse(line: str) -> Field:
    name, _, value = line.partition(" ")
    return name.encode(), value.encode()


STATIC: Final = tuple(_parse(line) for line in _NAMED.splitlines())
"""The fields of the indexes 1 to 61."""

FIRST_DYNAMIC: Final = 1 + len(STATIC)
"""Index of the newest field of the dynamic table; older ones follow."""


def cost_of(field: Field) -> int:
    """Return the size of a field, in the table and in a list."""
    return OVERHEAD + len(field[0]) + len(field[1])
