"""The same calls to both transports, down to the frame: what a client sees must not depend on what carries it.

Both serve the same RPCs, in this process. A client of a few lines sends what a script says, cut anywhere, and notes
what comes back. Scripts are made by Hypothesis.
"""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from operator import itemgetter
from typing import NamedTuple

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from runner.grpc_protocol.messages import frame
from runner.grpc_protocol.metadata import encode_binary
from tests.real.two_transports import (
    BIDI,
    CLIENT_STREAM,
    LIMIT,
    SERVER_STREAM,
    UNARY,
    Answer,
    Client,
    Side,
    body,
    cut,
)
from tests.running import fresh_loop

pytestmark = pytest.mark.real

ANSWER_WITHIN = 20.0
# --- What a client does -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Script:
    """A call.

    Attributes:
        path: of the RPC.
        body: what is sent, cut into DATA frames of these `sizes`, the rest in one.
        empty_end: the end is an empty frame of its own.
        reset: after the body, in place of an end, once the server waits.
        unended: neither an end nor a reset comes.
        more: fields beside the usual ones.
    """

    path: str
    body: bytes
    sizes: tuple[int, ...] = ()
    empty_end: bool = False
    reset: bool = False
    unended: bool = False
    more: tuple[tuple[bytes, bytes], ...] = ()

    def pieces(self) -> list[bytes]:
        """Return the payload of each DATA frame."""
        pieces = cut(self.body, self.sizes) or [b""]
        return [*pieces, b""] if self.empty_end else pieces


class Both:
    """The two transports, the first once more as an ingress process has it, and a client of each."""

    async def start(self) -> None:
        self.sides = [Side(name) for name in ("native", "behind", "grpcio")]
        self.clients = [Client() for _ in self.sides]
        for side, client in zip(self.sides, self.clients, strict=True):
            await side.listen()
            await client.connect(side.port)

    async def stop(self) -> None:
        for client in self.clients:
            await client.close()
        for side in self.sides:
            await side.close()

    async def call(self, script: Script) -> tuple[Seen, Seen]:
        native, behind, grpcio = [await _call(*each, script) for each in zip(self.clients, self.sides, strict=True)]
        if script.reset:  # it may have read more, or less
            assert native[1:] == behind[1:]
        else:
            assert native == behind
        return native, grpcio

    async def call_native(self, script: Script) -> Seen:
        return await _call(self.clients[0], self.sides[0], script)


class Seen(NamedTuple):
    """What there is to see of a call, at either end: the answer, how many calls were cancelled, and what was served."""

    answer: Answer
    cancelled: int
    served: list[tuple[object, ...]]


def _of_caller(pair: tuple[str, str | bytes]) -> bool:
    return pair[0] not in ("grpc-accept-encoding", "te")


async def _call(client: Client, side: Side, script: Script) -> Seen:
    served = side.served
    served.waiting.clear()
    served.stopped.clear()
    before, cancelled = len(served.infos), served.cancelled
    async with asyncio.timeout(ANSWER_WITHIN):
        call = client.open(script.path, script.more)
        *pieces, last = script.pieces()
        for piece in pieces:
            await call.send(piece)
        await call.send(last, end=not (script.reset or script.unended))
        if script.reset:
            await served.waiting.wait()
            call.cancel()
            await served.stopped.wait()
        await call.over
        await served.idle.wait()
    seen = [
        (
            sorted(filter(_of_caller, info.metadata), key=itemgetter(0)),  # values of one key keep their order
            info.deadline is None,
        )
        for info in served.infos[before:]
    ]
    return Seen(call.answer, served.cancelled - cancelled, seen)


@pytest.fixture(scope="module")
def running() -> Iterator[tuple[asyncio.Runner, Both]]:
    with fresh_loop() as runner:
        both = Both()
        runner.run(both.start())
        yield runner, both
        runner.run(both.stop())


@pytest.fixture(scope="module")
def call(running) -> Callable[[Script], tuple[Seen, Seen]]:
    runner, both = running
    return lambda script: runner.run(both.call(script))


@pytest.fixture(scope="module")
def call_native(running) -> Callable[[Script], Seen]:
    runner, both = running
    return lambda script: runner.run(both.call_native(script))


# --- Scripts ----------------------------------------------------------------------------------------------------------

KINDS_OF_CALLS = (UNARY, SERVER_STREAM, BIDI, CLIENT_STREAM)
KINDS = st.sampled_from([b"", b"a", b"t", b".", b"!", b"!t", b"?", b"-t", b"#t", b"0", b"0t"])
MESSAGES = st.builds(lambda kind, rest: kind + rest, KINDS, st.binary(max_size=40) | st.just(b"x" * 20_000))
METADATA = st.lists(
    st.sampled_from(
        [
            (b"x-a", b"1"),
            (b"x-a", b"two, three"),
            (b"x-bin", encode_binary(b"\0\xff")),
            (b"x-bin", b"AAE="),
            (b"grpc-timeout", b"20S"),
            (b"x-request-id", b"r" * 10),
        ]
    ),
    max_size=3,
    unique_by=lambda each: each[0],
).map(tuple)
SIZES = st.lists(st.integers(0, 12) | st.integers(0, 10_000), max_size=6).map(tuple)


ONE = st.builds(
    Script, st.sampled_from([UNARY, SERVER_STREAM]), MESSAGES.map(body), SIZES, st.booleans(), more=METADATA
)
MANY = st.builds(
    Script,
    st.sampled_from([BIDI, CLIENT_STREAM]),
    st.lists(MESSAGES, max_size=3).map(lambda each: body(*each)),
    SIZES,
    st.booleans(),
    more=METADATA,
)


@settings(max_examples=100, deadline=None)
@given(ONE | MANY)
@example(Script(UNARY, body(b"t"), (1, 1, 1, 1, 1, 1)))
@example(Script(BIDI, body(b"a", b".b", b"c"), (7,)))
@example(Script(SERVER_STREAM, body(b"t")))
@example(Script(BIDI, body(b"t", b"a")))
@example(Script(CLIENT_STREAM, body(b"t", b"a")))
@example(Script(CLIENT_STREAM, b""))
@example(Script(BIDI, b""))
def test_answers_are_the_same(call, script):
    native, grpcio = call(script)
    assert native == grpcio


@settings(max_examples=20, deadline=None)
@given(st.sampled_from(KINDS_OF_CALLS), SIZES)
def test_a_call_that_is_reset_is_cancelled_once(call, path, sizes):
    native, grpcio = call(Script(path, body(b"~"), sizes, reset=True))
    assert native[1:] == grpcio[1:]
    assert native.cancelled == 1


@pytest.mark.parametrize("path", KINDS_OF_CALLS)
@pytest.mark.parametrize("encoding", ["gzip", "identity"])
def test_compressed_messages(call, path, encoding):
    compressed = frame(gzip.compress(b"abc"), compressed=True) if encoding == "gzip" else frame(b"abc")
    native, grpcio = call(Script(path, compressed, (3, 5), more=((b"grpc-encoding", encoding.encode()),)))
    assert native == grpcio
    assert native.answer.status == b"0"


WRONG = {
    "no such rpc": Script("/t/Nothing", body(b"a")),
    "too long": Script(UNARY, frame(b"x" * (LIMIT + 1))),
    "compressed without a coding": Script(UNARY, frame(b"abc", compressed=True)),
    "not compressed": Script(UNARY, frame(b"abc", compressed=True), more=((b"grpc-encoding", b"gzip"),)),
    "a deadline": Script(BIDI, body(b"~"), more=((b"grpc-timeout", b"50m"),)),
}


LATE = {f"{len(sent)} bytes to {path}": (path, sent) for path in KINDS_OF_CALLS for sent in (b"", body(b"abc")[:7])}


@pytest.mark.parametrize("name", LATE)
def test_a_message_that_does_not_come_in_time(call, name):
    path, sent = LATE[name]
    native, grpcio = call(Script(path, sent, unended=True, more=((b"grpc-timeout", b"50m"),)))
    assert native.served == grpcio.served
    assert native.answer.status == grpcio.answer.status == b"4"


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_gets_the_same_status(call, name):
    """Words may differ: grpcio's are its own."""
    native, grpcio = (seen.answer for seen in call(WRONG[name]))
    assert (native.status, native.messages, native.http_status) == (grpcio.status, grpcio.messages, grpcio.http_status)
    assert native.status not in (b"", b"0")


DIFFERENT = {
    # grpcio never answers these three.
    "no message": (Script(UNARY, b""), b"13"),
    "no message for a stream": (Script(SERVER_STREAM, b""), b"13"),
    "cut off": (Script(UNARY, body(b"abc")[:-1]), b"13"),
    # It takes this for the end of the stream, and says that all is well.
    "cut off in a head": (Script(BIDI, body(b"abc")[:3]), b"13"),
    # It says 13, where the specification has 12.
    "an unknown coding": (Script(UNARY, frame(b"abc", compressed=True), more=((b"grpc-encoding", b"zstd"),)), b"12"),
}


@pytest.mark.parametrize("name", DIFFERENT)
def test_where_the_native_transport_says_more(call_native, name):
    script, status = DIFFERENT[name]
    assert call_native(script).answer.status == status
