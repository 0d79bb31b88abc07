"""Unary requests that come together, read one after the other: what one repeats of that before it is looked up once."""

from __future__ import annotations

from collections.abc import Sequence

from runner.engine import Request
from runner.server.access import Access, Caller
from runner.server.requests import Requests
from runner.server.rpcs import CallInfo
from runner.signature.dialect import Dialect
from runner.signature.method import Cardinality
from runner.signature.published import Published
from runner.wire.envelope import Envelope, Target
from runner.wire.payload import Payload


class Reader:
    """Reads requests that came in one turn of the loop: who may call and what there is does not change meanwhile."""

    __slots__ = (
        "_access",
        "_caller",
        "_dialect",
        "_group",
        "_metadata",
        "_method",
        "_name",
        "_requests",
        "_target",
        "_visible",
    )

    def __init__(self, requests: Requests, access: Access, dialect: Dialect) -> None:
        """Begin.

        Args:
            requests, access: the service's.
            dialect: the callers'.
        """
        self._requests = requests
        self._access = access
        self._dialect = dialect
        self._metadata: Sequence[tuple[str, str | bytes]] | None = None
        self._caller = Caller("", None)
        self._visible = b""
        self._target: Target | None = None
        self._name: str | None = None
        self._method: Published | None = None
        self._group = ""

    def envelope(self, request: Payload, call: CallInfo) -> Envelope:
        """Return the parts of a request whose caller may call.

        Raises:
            CallError: it may not, or the request is none.
        """
        if call.metadata is not self._metadata:
            self._metadata = None  # unless all of it can be said of these
            self._caller = self._access.check(call.metadata)
            self._visible = self._requests.visible(call)
            self._metadata = call.metadata
        return self._requests.scan(request)

    def request(self, envelope: Envelope, call: CallInfo) -> Request:
        """Return a request of the first input of the envelope that was read last.

        Raises:
            CallError: there is no such model or method.
        """
        method = self._method
        if method is None or envelope.target is not self._target or envelope.method != self._name:
            self._method = None
            method, self._group = self._requests.wanted(self._dialect, envelope, Cardinality.UNARY)
            self._target, self._name, self._method = envelope.target, envelope.method, method
        return self._requests.made(envelope, method, self._group, call, self._caller, self._visible)
