"""What goes into a request and what comes out of a reply, for both clients. Bytes in, bytes out; no I/O, no gRPC."""

from __future__ import annotations

import enum
from collections.abc import AsyncIterable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

from google.protobuf.message import DecodeError

from runner.client.address import ModelIds
from runner.client.failures import SUCCESS, from_status
from runner.client.reply import read_reply
from runner.client.timeout import read_timeout
from runner.client.usage import Tally
from runner.errors import CallError, FetchFailed, InternalError, InvalidInput, ModelError, PoisonCall, WorkerLost
from runner.signature.method import Cardinality, MethodSignature
from runner.signature.publish import from_proto
from runner.signature.render import python_signature
from runner.wire import varint
from runner.wire.call import CallCodec
from runner.wire.pb import inference_pb2 as pb

__all__ = [
    "ENDED",
    "Call",
    "Ended",
    "MethodCalls",
    "RequestHead",
    "Selector",
    "check_one_output",
    "read_methods",
    "version_request",
]

_INPUTS_TAG = b"\x22"  # field 4 of PostModelOutputsRequest, length-delimited
_OF_ONE_ENTRY = (FetchFailed, InvalidInput, ModelError, PoisonCall, WorkerLost)
_CHAT_ROLES = frozenset(("system", "user", "assistant", "function", "developer", "tool"))

RPCS: Final = {
    Cardinality.UNARY: "PostModelOutputs",
    Cardinality.SERVER_STREAM: "GenerateModelOutputs",
    Cardinality.BIDI: "StreamModelOutputs",
    Cardinality.CLIENT_STREAM: "CollectModelOutputs",
}
"""The RPC that carries calls of each cardinality."""


class Ended(enum.Enum):
    """The type of `ENDED`."""

    ENDED = "ended"

    def __repr__(self) -> str:
        return "ENDED"


ENDED: Final = Ended.ENDED
"""Stands in a batch's stream for an entry whose own stream is over while others go on; None may be a value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Selector:
    """Which runner shall answer: a deployment, or a nodepool of a compute cluster, or whichever there is."""

    deployment_id: str = ""
    deployment_user_id: str = ""
    compute_cluster_id: str = ""
    nodepool_id: str = ""

    def __post_init__(self) -> None:
        if bool(self.compute_cluster_id) != bool(self.nodepool_id):
            raise ValueError("compute_cluster_id and nodepool_id: give both or neither")
        if self.deployment_id and self.nodepool_id:
            raise ValueError("deployment_id and nodepool_id: give one of them, not both")

    def message(self) -> pb.RunnerSelector | None:
        """Return the selector as it is sent, or None if there is nothing to select."""
        if self.deployment_id:
            deployment = pb.Deployment(id=self.deployment_id, user_id=self.deployment_user_id)
            return pb.RunnerSelector(deployment=deployment)
        if self.nodepool_id:
            cluster = pb.ComputeCluster(id=self.compute_cluster_id, user_id=self.deployment_user_id)
            return pb.RunnerSelector(nodepool=pb.Nodepool(id=self.nodepool_id, compute_cluster=cluster))
        return None


class RequestHead:
    """Everything in a request before its inputs, serialized once for all calls of a client."""

    def __init__(self, ids: ModelIds, selector: Selector) -> None:
        message = pb.PostModelOutputsRequest(
            user_app_id=_user_app_id(ids),
            model_id=ids.model_id,
            version_id=ids.version_id,
            runner_selector=selector.message(),
        )
        self._head = message.SerializeToString()

    def request(self, inputs: Sequence[bytes]) -> bytes:
        """Return the PostModelOutputsRequest with these serialized inputs."""
        chunks = [self._head]
        for payload in inputs:
            chunks += (_INPUTS_TAG, varint.encode(len(payload)), payload)
        return b"".join(chunks)


def version_request(ids: ModelIds) -> bytes:
    """Return the request that asks for a model's signatures (GetModelVersion)."""
    message = pb.GetModelVersionRequest(user_app_id=_user_app_id(ids), model_id=ids.model_id, version_id=ids.version_id)
    return message.SerializeToString()


def read_methods(reply: bytes) -> dict[str, MethodSignature]:
    """Return a model's methods from the reply to `version_request`, by name, in the order of their definition.

    Raises:
        CallError: what the server said instead.
    """
    try:
        message = pb.SingleModelVersionResponse.FromString(reply)
    except DecodeError:
        raise InternalError("the server's description of the model is not a valid message") from None
    if message.status.code != SUCCESS:
        raise from_status(message.status)
    signatures = map(from_proto, message.model_version.method_signatures)
    return {signature.name: signature for signature in signatures}


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call, ready to be sent.

    `request`: the whole request, or the first message of a stream of requests, which holds every argument but the
    streamed one. `batch`: the number of entries, None for a single call. `items`: the streamed argument.
    """

    request: bytes
    timeout: float | None
    batch: int | None = None
    items: Iterable[object] | AsyncIterable[object] | None = None


class MethodCalls:
    """Encodes the calls of one method and decodes their replies. Holds no state of any call."""

    def __init__(self, signature: MethodSignature, head: RequestHead) -> None:
        self.signature = signature
        self.python_signature = python_signature(signature)
        self.rpc = RPCS[signature.cardinality]
        self._codec = CallCodec(signature)
        self._head = head
        self._streamed = signature.streamed_argument
        self._takes_timeout = "timeout" in self.python_signature.parameters

    def call(self, args: tuple[Any, ...], kwargs: dict[str, Any], *, timeout: float | None) -> Call:
        """Encode a call from the arguments as they were written.

        One positional list of dicts is a batch, a dict of arguments for each entry, unless the dicts are chat
        messages or the method takes a stream. The keyword `timeout` is ours unless the method has one of that name.

        Args:
            args: positional arguments.
            kwargs: keyword arguments.
            timeout: seconds, unless the call says otherwise; None for no limit.

        Raises:
            TypeError: the arguments do not fit the signature, or the timeout is no number.
            InvalidInput: a value does not fit its type; `path` says which.
        """
        if "timeout" in kwargs and not self._takes_timeout:
            kwargs = dict(kwargs)
            timeout = read_timeout(kwargs.pop("timeout"))
        entries = None if self._streamed or kwargs or len(args) != 1 else _batch(args[0])
        if entries is not None:
            inputs = [self._entry(index, entry) for index, entry in enumerate(entries)]
            return Call(request=self._head.request(inputs), timeout=timeout, batch=len(inputs))
        arguments = self._bind(args, kwargs)
        items = self._items(arguments)
        return Call(request=self._head.request([self._codec.encode_call(arguments)]), timeout=timeout, items=items)

    def item(self, value: object) -> bytes:
        """Encode one item of the streamed argument as a message of its own."""
        return self._head.request([self._codec.encode_item(value)])

    def result(self, call: Call, reply: bytes, tally: Tally | None = None) -> Any:
        """Decode a reply, or one reply of a stream: a value, or for a batch a list of values and exceptions.

        Args:
            call: what is answered.
            reply: the message.
            tally: told what it says of tokens.

        Raises:
            CallError: the call failed as a whole.
        """
        split = read_reply(reply)
        ok = split.status.code == SUCCESS
        if call.batch is None:
            if not ok:
                raise from_status(split.status)
            if not split.outputs:
                raise InternalError("the server's reply holds no output")
            return self._decode(split.outputs[0], tally, 0)
        if len(split.outputs) != call.batch:
            if not ok:
                raise from_status(split.status)
            raise InternalError(f"{call.batch} inputs were answered by {len(split.outputs)} outputs")
        return [self._entry_result(output, tally, entry) for entry, output in enumerate(split.outputs)]

    def failed(self, call: Call, error: CallError) -> Any:
        """Return what a failed call gives: for a batch of one, the error in its entry's place.

        A server cannot tell such a batch from a single call, and so fails it as a whole.

        Raises:
            CallError: the error, if it is not about one entry.
        """
        if call.batch == 1 and isinstance(error, _OF_ONE_ENTRY):
            return [error]
        try:
            raise error
        finally:
            del error  # its traceback leads to this frame: they would keep each other, and the request

    def _entry_result(self, output: bytes, tally: Tally | None, entry: int) -> Any:
        try:
            message = pb.Output.FromString(output)
        except DecodeError:
            raise InternalError("the server's reply is not a valid message") from None
        if message.status.code != SUCCESS:
            return from_status(message.status)
        if self.signature.cardinality.streams_output and not message.HasField("data"):
            return ENDED
        return self._decode(output, tally, entry)

    def _decode(self, output: bytes, tally: Tally | None, entry: int) -> Any:
        try:
            return self._codec.decode_output(output, None if tally is None else tally.of(entry))
        except InvalidInput as error:  # not the caller's input: the server answered with another type than it published
            raise InternalError(f"the server's result cannot be read: {error}") from error

    def _entry(self, index: int, entry: dict[str, Any]) -> bytes:
        try:
            return self._codec.encode_call(self._bind((), entry))
        except TypeError as error:
            # A list of dicts may have been meant as the value of the first argument.
            first = next(iter(self.python_signature.parameters), None)
            hint = f"; to pass the list itself, write {first}=[...]" if first and first not in entry else ""
            raise TypeError(f"entry {index} of the batch: {error}{hint}") from None
        except InvalidInput as error:
            path = f"[{index}].{error.path}" if error.path else f"[{index}]"
            raise type(error)(error.message, details=error.details, path=path) from None

    def _bind(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        try:
            return dict(self.python_signature.bind(*args, **kwargs).arguments)
        except TypeError as error:
            raise TypeError(f"{self.signature.name}(): {error}") from None

    def _items(self, arguments: dict[str, Any]) -> Iterable[object] | AsyncIterable[object] | None:
        """Take the streamed argument out: it travels one by one, behind a message with all the others.

        Without that first message a stream with no items could not name its method, and a method that speaks first
        would wait for its caller.
        """
        if self._streamed is None:
            return None
        name = self._streamed.name
        items: object = arguments.pop(name, ())
        if isinstance(items, (str, bytes, Mapping)):
            # Iterating over these gives characters, numbers or keys, which is never what was meant.
            kind = type(cast(object, items)).__name__
            raise TypeError(f"{self.signature.name}(): {name} is streamed: pass an iterator or a list, not one {kind}")
        if isinstance(items, (Iterable, AsyncIterable)):
            return cast("Iterable[object] | AsyncIterable[object]", items)
        return [items]  # a single Audio is a stream of one


def check_one_output(signature: MethodSignature, attribute: str) -> None:
    """Raise TypeError if the method's outputs are a stream, which tells its times and its usage by itself."""
    if signature.cardinality.streams_output:
        raise TypeError(f"{signature.name}() streams its results: read it to its end, and then its `{attribute}`")


def _batch(value: object) -> list[dict[str, Any]] | None:
    """Return the value if it is a batch: a list of dicts which are not chat messages."""
    if not isinstance(value, list) or not value:
        return None
    entries = cast(list[object], value)
    if not all(isinstance(entry, dict) for entry in entries) or all(map(_is_chat_message, entries)):
        return None
    return cast(list[dict[str, Any]], entries)


def _is_chat_message(entry: object) -> bool:
    message = cast(dict[object, object], entry)
    role = message.get("role")
    return isinstance(role, str) and role in _CHAT_ROLES and "content" in message


def _user_app_id(ids: ModelIds) -> pb.UserAppIDSet | None:
    return pb.UserAppIDSet(user_id=ids.user_id, app_id=ids.app_id) if ids.user_id or ids.app_id else None
