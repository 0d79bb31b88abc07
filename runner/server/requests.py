"""What a request asks for: its method, its deadline, and a request to the engine for each of its inputs."""

from __future__ import annotations

import time
from collections.abc import Sequence

from runner.engine import Request
from runner.errors import InvalidInput, MessageTooLarge, MethodNotFound
from runner.server.access import Caller
from runner.server.catalog import Catalog
from runner.server.metadata import MetadataPacker
from runner.server.rpcs import CallInfo
from runner.signature.dialect import Dialect
from runner.signature.method import Cardinality
from runner.signature.published import Published
from runner.tuples import maker
from runner.wire.envelope import Envelope, scan
from runner.wire.payload import Payload

GET_SIGNATURES = "_GET_SIGNATURES"
"""The name of no method: a call of it asks for those that there are."""

_DEFAULT_METHODS = {Cardinality.UNARY: "predict", Cardinality.SERVER_STREAM: "generate", Cardinality.BIDI: "stream"}
"""What a request without a method's name means, as old clients send it."""

_RPCS = {
    Cardinality.UNARY: "PostModelOutputs",
    Cardinality.SERVER_STREAM: "GenerateModelOutputs",
    Cardinality.BIDI: "StreamModelOutputs",
    Cardinality.CLIENT_STREAM: "CollectModelOutputs",
}

_new_request = maker(Request)

_EARLY_SHARE = 0.02
_EARLY_MOST = 0.02
"""How long before its caller's own deadline a call is ended: a share of the time that it brought, and seconds at most.
A caller's gRPC ends the call by itself at that instant, without a word of where the time went. So our answer, which
knows, is sent a little before it."""


class Requests:
    """Makes requests to the engine of what clients ask.

    Args:
        catalog: what is served.
        max_message_bytes: a longer message is refused.
    """

    def __init__(self, catalog: Catalog, max_message_bytes: int) -> None:
        self._catalog = catalog
        self._max_message_bytes = max_message_bytes
        self._pack_metadata = MetadataPacker()
        self._methods: dict[str, Published] = {}

    @property
    def known(self) -> bool:
        """False until the model's methods are."""
        return bool(self._methods)

    def publish(self, methods: Sequence[Published]) -> None:
        """The model has these methods from now on."""
        self._methods = {method.name: method for method in methods}

    def scan(self, message: Payload) -> Envelope:
        """Find the parts of a message.

        Raises:
            MessageTooLarge: it is longer than this server takes.
            InvalidInput: it is none.
        """
        if len(message) > self._max_message_bytes:
            raise MessageTooLarge(f"the message has {len(message)} bytes; this server takes {self._max_message_bytes}")
        return scan(message)

    def of(
        self, dialect: Dialect, envelope: Envelope, cardinality: Cardinality, call: CallInfo, caller: Caller
    ) -> Request:
        """Find the method, and make a request of the first input.

        Raises:
            CallError: there is no such model or method, or no input.
        """
        method, group = self.wanted(dialect, envelope, cardinality)
        if not envelope.inputs:
            raise InvalidInput("the request has no inputs; send one for each call")
        return self.made(envelope, method, group, call, caller, self.visible(call))

    def wanted(self, dialect: Dialect, envelope: Envelope, cardinality: Cardinality) -> tuple[Published, str]:
        """Return the method that is asked for, and the deployment that has to run it (see `Catalog.check`).

        Raises:
            CallError: there is no such model or method.
        """
        group = self._catalog.check(envelope.target)
        return self._find(dialect, envelope.method, cardinality), group

    def visible(self, call: CallInfo) -> bytes:
        """Return what the model gets to see of a call's metadata."""
        return self._pack_metadata(call.metadata)

    def made(
        self, envelope: Envelope, method: Published, group: str, call: CallInfo, caller: Caller, metadata: bytes
    ) -> Request:
        """Return a request of the first input, of which there is one."""
        deadline = call.deadline
        if deadline is not None or method.timeout is not None or method.max_timeout is not None:
            deadline = deadline_of(deadline, method, time.monotonic())
        payload, name = envelope.inputs[0], caller.name or call.peer
        return _new_request(
            (method, payload, envelope.params, deadline, call.request_id, metadata, name, group, caller.limits, 1)
        )

    def _find(self, dialect: Dialect, name: str | None, cardinality: Cardinality) -> Published:
        if name is None:
            name = self._default(cardinality)
        method = self._methods.get(name)
        if method is None or (dialect is Dialect.CLARIFAI and not method.clarifai):
            names = ", ".join(self._names(dialect))
            raise MethodNotFound(f"there is no method {name!r}; this model has {names}")
        found = method.cardinality
        if found is not cardinality:
            raise MethodNotFound(
                f"{name!r} is a {found.value.replace('_', '-')} method: call it through {_RPCS[found]}, "
                f"not {_RPCS[cardinality]}"
            )
        return method

    def _default(self, cardinality: Cardinality) -> str:
        """A request without a name means the usual one, or the only one there is."""
        usual = _DEFAULT_METHODS.get(cardinality, "")
        if usual not in self._methods:
            fitting = [method.name for method in self._methods.values() if method.cardinality is cardinality]
            if len(fitting) == 1:
                return fitting[0]
        return usual

    def _names(self, dialect: Dialect) -> list[str]:
        return [method.name for method in self._methods.values() if dialect is Dialect.NATIVE or method.clarifai]


def deadline_of(asked: float | None, method: Published, now: float) -> float | None:
    """Return a call's deadline, by what its method gives a call that brings none, and gives any call at most."""
    if asked is not None:
        asked -= min(max(asked - now, 0.0) * _EARLY_SHARE, _EARLY_MOST)
    if asked is None and method.timeout is not None:
        asked = now + method.timeout
    if method.max_timeout is None:
        return asked
    latest = now + method.max_timeout
    return latest if asked is None else min(asked, latest)
