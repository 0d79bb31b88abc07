"""What the head of a request asks for: a call of an RPC, its deadline and metadata, or nothing that could be answered.

Clients repeat their heads, or all but a few of their fields: what was read once is not read again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from runner.grpc_protocol.compression import CODINGS, IDENTITY, choose
from runner.grpc_protocol.metadata import Pair
from runner.grpc_protocol.request import CallHead, Refusal, read_head, read_own
from runner.grpc_protocol.response import response_head, response_trailers, trailers_only
from runner.grpc_protocol.status import StatusCode
from runner.http2.fields import RequestHead
from runner.http2.sender import HeaderBlock
from runner.server.request_ids import brought_id
from runner.server.rpcs import Rpc, Rpcs

_HEADS: Final = {
    coding: HeaderBlock(response_head(encoding=coding), end_stream=False) for coding in (IDENTITY, *CODINGS)
}


class Meaning:
    """A call, as its head asks for it."""

    __slots__ = ("begin", "coding", "head", "metadata", "request_id", "rpc", "timeout")

    def __init__(self, head: CallHead, rpc: Rpc, coding: str) -> None:
        self.head = head
        self.rpc = rpc
        self.coding = coding  # of replies that are worth it
        self.begin = _HEADS[coding]
        self.timeout = head.timeout
        self.metadata: Sequence[Pair] = head.metadata
        self.request_id = brought_id(head.metadata)


class HeadReader:
    """Reads the heads of requests.

    Args:
        rpcs: what can be called.
        compress_replies: send replies in a coding that the client takes.
    """

    def __init__(self, rpcs: Rpcs, *, compress_replies: bool) -> None:
        self._rpcs = rpcs
        self._compress_replies = compress_replies

    def read(self, head: RequestHead) -> Meaning | Refusal:
        """Return what a head asks for, or the answer to what is no call."""
        common = head.common
        try:
            if common is not None:
                if common.meaning is None:
                    common.meaning = self._read_whole(common)
                known = common.meaning
                if isinstance(known, Meaning) and (call := read_own(known.head, head.own)) is not None:
                    return Meaning(call, known.rpc, known.coding)
            return self._read_whole(head)
        except Refusal as refusal:
            return refusal

    def _read_whole(self, head: RequestHead) -> Meaning | Refusal:
        try:
            call = read_head(head)
        except Refusal as refusal:
            return refusal
        rpc = self._rpcs.get(call.path)
        if rpc is None:
            message = f"there is no RPC {call.path}"
            return Refusal(trailers_only(response_trailers(StatusCode.UNIMPLEMENTED, message)), message)
        return Meaning(call, rpc, choose(call.accept_encoding) if self._compress_replies else IDENTITY)
