"""Calls that are under way together, on both transports: senders and readers that are slow, callers that leave, drains.

A script says what each call does and whose turn it is, step by step. When a step meets the steps of the server is up to
the machine; what a client sees in the end is not, and must not depend on the transport either.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.real.two_transports import (
    BIDI,
    CLIENT_STREAM,
    SERVER_STREAM,
    UNARY,
    WIDE,
    Answer,
    Client,
    ClientCall,
    Side,
    body,
    cut,
)
from tests.running import fresh_loop, turns

pytestmark = pytest.mark.real

ENDS_WITHIN = 20.0
GRACE = 15.0

NARROW = 4096
"""bytes of answers that a call takes before its client grants more."""


@dataclass(frozen=True)
class Caller:
    """What a client does for one call.

    Attributes:
        path: of the RPC.
        messages: what is sent.
        sizes: of the frames in which it is sent.
        grants: how much more of the answer it takes, a step each, after what it takes at first; then all.
        leaves: the step at which it has no more of it; None: never.
        more: fields beside the usual ones.
    """

    path: str
    messages: tuple[bytes, ...]
    sizes: tuple[int, ...] = ()
    grants: tuple[int, ...] = ()
    leaves: int | None = None
    more: tuple[tuple[bytes, bytes], ...] = ()

    def steps(self) -> deque[tuple[str, bytes | int]]:
        """Return what it does, in order."""
        *pieces, last = cut(body(*self.messages), self.sizes) or [b""]
        sends: list[tuple[str, bytes | int]] = [*(("send", piece) for piece in pieces), ("end", last)]
        grants: list[tuple[str, bytes | int]] = [("grant", size) for size in self.grants]
        mixed: list[tuple[str, bytes | int]] = [("open", 0)]
        while sends or grants:
            mixed += [steps.pop(0) for steps in (sends, grants) if steps]
        if self.leaves is not None:
            mixed[1 + self.leaves % len(mixed) :] = [("leave", 0)]
        else:
            mixed.append(("grant", WIDE - NARROW - sum(self.grants)))
        return deque(mixed)


class Play:
    """The calls of one connection."""

    def __init__(self, client: Client, callers: tuple[Caller, ...]) -> None:
        self._client = client
        self._callers = callers
        self._calls: dict[Caller, ClientCall] = {}
        self._left = [caller.steps() for caller in callers]

    def step(self, number: int) -> None:
        """Have one of those whose turn it may be take its next step."""
        going = [index for index, steps in enumerate(self._left) if steps]
        if going:
            index = going[number % len(going)]
            caller, (what, how) = self._callers[index], self._left[index].popleft()
            self._do(caller, what, how)

    def _do(self, caller: Caller, what: str, how: bytes | int) -> None:
        if what == "open":
            self._calls[caller] = self._client.open(caller.path, caller.more)
            return
        call = self._calls[caller]
        match what, how:
            case "grant", int():
                call.grant(how)
            case "leave", _:
                call.cancel()
            case _, bytes():
                call.enqueue(how, end=what == "end")

    async def answers(self) -> list[Answer]:
        """Take all steps that are left; return how each call ended."""
        while any(self._left):
            for number in range(len(self._callers)):
                self.step(number)
            await turns(1)
        await asyncio.gather(*(call.over for call in self._calls.values()))
        return [self._calls[caller].answer for caller in self._callers]


async def play(side: Side, callers: tuple[Caller, ...], order: tuple[int, ...], drain_at: int | None) -> list[Answer]:
    """Play a script on one side, whose server begins to drain at a step; return what the client has seen."""
    draining: asyncio.Task[None] | None = None
    async with asyncio.timeout(ENDS_WITHIN):
        client = Client(stream_window=NARROW)
        await client.connect(side.port)
        under_test = Play(client, callers)
        for at, number in enumerate(order):
            if at == drain_at:
                draining = asyncio.ensure_future(side.transport.drain(GRACE))
            under_test.step(number)
            await turns(number % 4)
        answers = await under_test.answers()
        await client.close()
        await side.served.idle.wait()
        if draining is not None:
            await draining
    return answers


# --- Scripts ----------------------------------------------------------------------------------------------------------

MESSAGES = st.builds(
    lambda kind, rest: kind + rest,
    st.sampled_from([b"", b"a", b"t", b".", b"!", b"?", b"#", b"0t"]),
    st.binary(max_size=40) | st.sampled_from([b"x" * 5_000, b"x" * 20_000]),
)
SIZES = st.lists(st.integers(0, 12) | st.integers(0, 10_000), max_size=4).map(tuple)
GRANTS = st.lists(st.integers(1, 30_000), max_size=4).map(tuple)
LEAVES = st.none() | st.none() | st.integers(0, 12)
CALLERS = st.one_of(
    st.builds(Caller, st.sampled_from([UNARY, SERVER_STREAM]), st.tuples(MESSAGES), SIZES, GRANTS, LEAVES),
    st.builds(
        Caller, st.sampled_from([BIDI, CLIENT_STREAM]), st.lists(MESSAGES, max_size=3).map(tuple), SIZES, GRANTS, LEAVES
    ),
    # It would wait for ever.
    st.builds(
        Caller,
        st.sampled_from([UNARY, SERVER_STREAM, BIDI, CLIENT_STREAM]),
        st.just((b"~",)),
        SIZES,
        GRANTS,
        more=st.just(((b"grpc-timeout", b"30m"),)),
    ),
)
SCRIPTS = st.lists(CALLERS, min_size=1, max_size=5, unique=True).map(tuple)
ORDERS = st.lists(st.integers(0, 50), min_size=4, max_size=40).map(tuple)


def agree(caller: Caller, one: Answer, other: Answer) -> bool:
    """Tell whether what a caller saw on both sides is the same, as far as that is up to the transports."""
    if caller.leaves is not None:
        shorter, longer = sorted((one.messages, other.messages), key=len)
        return longer[: len(shorter)] == shorter
    if one.status == b"4":
        # At the very instant of its deadline there may have been an answer before that, or not.
        return other.status == b"4"
    return one == other


@pytest.fixture(scope="module")
def lasting() -> Iterator[tuple[asyncio.Runner, list[Side]]]:
    with fresh_loop() as runner:
        sides = [Side(name) for name in ("grpcio", "native", "behind")]
        for side in sides:
            runner.run(side.listen())
        yield runner, sides
        for side in sides:
            runner.run(side.close())


@settings(max_examples=40, deadline=None)
@given(SCRIPTS, ORDERS)
@example(
    (Caller(UNARY, (b"x" * 20_000,), (1, 2)), Caller(BIDI, (b"x" * 5_000, b"a"), (3,), (1, 1))), (0, 1, 0, 1, 2, 3)
)
@example((Caller(SERVER_STREAM, (b"x" * 20_000,), leaves=1), Caller(CLIENT_STREAM, (b"a", b"b"))), (0, 0, 1, 3, 0))
def test_calls_side_by_side(lasting, callers, order):
    runner, (reference, *sides) = lasting
    usual = runner.run(play(reference, callers, order, None))
    for side in sides:
        for caller, one, other in zip(callers, runner.run(play(side, callers, order, None)), usual, strict=True):
            assert agree(caller, one, other), (caller, one, other)


REFUSED = {
    # Whoever opened a call that the last GOAWAY does not name knows that it has not run.
    "native": (b"refused",),
    "behind": (b"refused",),
    # grpcio also ends those of which its server had not heard when the drain began: CANCELLED, or UNAVAILABLE.
    "grpcio": (b"refused", b"1", b"14", b"reset 7", b"reset 8"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_drain_at_any_step_costs_no_call_anything(lasting, name):
    runner, (reference, *_) = lasting

    @settings(max_examples=25, deadline=None)
    @given(SCRIPTS, ORDERS, st.integers(0, 39))
    @example((Caller(BIDI, (b"a", b"b"), (3,)), Caller(UNARY, (b"a",))), (0, 0, 1, 0), 2)
    @example((Caller(SERVER_STREAM, (b"x" * 20_000,), (), (1, 1, 1)),), (0, 0, 0, 0), 2)
    def drained(callers: tuple[Caller, ...], order: tuple[int, ...], drain_at: int) -> None:
        async def answers() -> list[Answer]:
            side = Side(name)
            await side.listen()
            try:
                return await play(side, callers, order, drain_at % len(order))
            finally:
                await side.close()

        usual = runner.run(play(reference, callers, order, None))
        # At the deadline of the last call that it has heard of, grpcio hangs up without a word.
        hangs_up = name == "grpcio" and any(other.status == b"4" for other in usual)
        for caller, one, other in zip(callers, runner.run(answers()), usual, strict=True):
            hung_up = hangs_up and (other.status == b"4" or one.status == b"lost")
            assert hung_up or one.status in REFUSED[name] or agree(caller, one, other), (caller, one, other)

    drained()
