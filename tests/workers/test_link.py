"""Links between two ends in this process: over real sockets, and in memory."""

from __future__ import annotations

import asyncio
import os
import random
import socket
import struct
from collections.abc import Sequence

import pytest

from runner.errors import InvalidInput
from runner.processes.channel import _READ_BYTES, MAX_UNCUT_BYTES
from runner.processes.framing import JOIN_BELOW, SHARED_TAG
from runner.processes.pieces import HEAD_BYTES, PIECE_BYTES
from runner.processes.shared import MAX_SHARED, Shared, create_pair, open_pair
from runner.wire.payload import Payload
from runner.workers.frames import pack
from runner.workers.link import SERVER_QUIET_TURNS, WORKER_QUIET_TURNS, MemoryLink, SocketLink
from runner.workers.messages import Call, Cancel, Credit, EndInput, Failed, Item, Items, Message, Result
from runner.workers.short_items import SHORT
from tests.running import on_loop, turns

SIZES = [
    0,
    1,
    JOIN_BELOW - 1,
    JOIN_BELOW,
    _READ_BYTES - 100,
    # Where a frame fills the read buffer to the byte, and one more: an item's head has 13 bytes.
    _READ_BYTES - 14,
    _READ_BYTES - 13,
    _READ_BYTES - 12,
    _READ_BYTES,
    3 * _READ_BYTES + 17,
]


class Reader:
    """Keeps what a link brings, items that came together one by one."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.together = 0
        self.closed = 0
        self._changed = asyncio.Event()

    def on_message(self, message: Message) -> None:
        assert not self.closed
        if isinstance(message, Items):
            self.messages += map(Item, message.ids, message.payloads)
            self.together += 1
        else:
            self.messages.append(message)
        self._changed.set()

    def on_closed(self) -> None:
        self.closed += 1
        self._changed.set()

    async def reads(self, link: SocketLink) -> None:
        """Wait until some of a long message has arrived."""
        while link._data._joiner.under_way == 0:
            await turns()

    async def count(self, count: int) -> list[Message]:
        while len(self.messages) < count:
            self._changed.clear()
            await self._changed.wait()
        return self.messages

    async def end(self) -> None:
        while not self.closed:
            self._changed.clear()
            await self._changed.wait()


class Joined:
    """Two links over two socket pairs, as between the server and a worker; with memory for long payloads perhaps."""

    def __init__(self, shared_bytes: int = 0) -> None:
        self.ours: Shared | None = None
        self.theirs: Shared | None = None
        if shared_bytes:
            self.ours, descriptors = create_pair(shared_bytes)
            self.theirs = open_pair(*descriptors)

    async def __aenter__(self) -> Joined:
        data, self.data = socket.socketpair()
        control, self.control = socket.socketpair()
        for end in (data, control, self.data, self.control):
            end.setblocking(False)
        self.near, self.far = Reader(), Reader()
        self.link = await SocketLink.open(data, control, self.near, SERVER_QUIET_TURNS, self.ours)
        self.peer = await SocketLink.open(self.data, self.control, self.far, WORKER_QUIET_TURNS, self.theirs)
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self.link.close()
        self.peer.close()
        await self.near.end()
        await self.far.end()
        assert (self.near.closed, self.far.closed) == (1, 1)


def content(message: Message) -> bytes:
    assert isinstance(message, Item)
    return bytes(message.payload)


def of_call(messages: list[Message], call: int) -> list[Message]:
    return [message for message in messages if isinstance(message, Item | EndInput | Result) and message.id == call]


def numbered(size: int, number: int) -> bytes:
    return bytes([number % 251]) * size


@pytest.mark.parametrize("size", SIZES)
@on_loop
async def test_payloads_of_every_size_arrive_whole_and_in_order(size):
    async with Joined() as joined:
        for number in range(5):
            joined.link.send(Item(number, numbered(size, number)))
        messages = await joined.far.count(5)
        assert messages == [Item(number, numbered(size, number)) for number in range(5)]


@pytest.mark.parametrize("shared_bytes", [0, 1 << 20, 16 << 20])
@on_loop
async def test_sizes_may_be_mixed_and_each_call_keeps_its_order(shared_bytes):
    async with Joined(shared_bytes) as joined:
        sent = [Item(number % 4, numbered(size, number)) for number, size in enumerate(SIZES * 3)]
        for item in sent:
            joined.link.send(item)
        messages = await joined.far.count(len(sent))
        for call in range(4):
            assert of_call(messages, call) == of_call(sent, call)


@on_loop
async def test_what_has_arrived_is_not_written_over_by_what_arrives_next():
    async with Joined() as joined:
        joined.link.send(Item(1, numbered(2 * JOIN_BELOW, 1)))
        (first,) = await joined.far.count(1)
        for number in range(2, 40):
            joined.link.send(Item(number, numbered(2 * JOIN_BELOW, number)))
        await joined.far.count(39)
        assert content(first) == numbered(2 * JOIN_BELOW, 1)


@on_loop
async def test_payloads_that_are_views_are_sent_from_where_they_lie():
    async with Joined() as joined:
        payload: Payload = memoryview(bytearray(numbered(_READ_BYTES, 7)))[5:]
        joined.link.send(Item(1, payload))
        (message,) = await joined.far.count(1)
        assert content(message) == bytes(payload)


@on_loop
async def test_both_directions_and_every_kind():
    async with Joined() as joined:
        call = Call(1, 2, b"payload", b"params", 1.5, "r1", b'[["k", "v"]]')
        joined.link.send(call)
        assert await joined.far.count(1) == [call]
        joined.peer.send(Failed(1, InvalidInput("no", path="text")))
        joined.peer.send(Result(2, b"done"))
        failed, result = await joined.near.count(2)
        assert isinstance(failed, Failed)
        assert str(failed.error) == "text: no"
        assert result == Result(2, b"done")


@on_loop
async def test_control_overtakes_payloads():
    async with Joined() as joined:
        # Far more than the socket holds, while nobody reads it: the reader's turn comes when this test waits.
        joined.link.send(Item(1, bytes(64 * 1024 * 1024)))
        joined.link.send(Cancel(1))
        messages = await joined.far.count(2)
        assert [type(message) for message in messages] == [Cancel, Item]


class Writes:
    """Counts what a link writes."""

    def __init__(self, link: SocketLink) -> None:
        self.sizes: list[int] = []
        self._write = link._data._write
        link._data._write = self._counted  # type: ignore[method-assign]

    def _counted(self, transport: asyncio.WriteTransport, pieces: Sequence[Payload]) -> None:
        self.sizes.append(sum(map(len, pieces)))
        self._write(transport, pieces)


@on_loop
async def test_a_worker_writes_chunks_that_are_ready_together_at_once_and_the_first_waits_for_nobody():
    async with Joined() as joined:
        writes = Writes(joined.peer)
        joined.peer.send(Item(1, b"first"))
        await asyncio.sleep(0)  # one turn
        assert len(writes.sizes) == 1
        for number in range(50):
            joined.peer.send(Item(number % 3, b"ready"))
        joined.peer.send(Result(1, b""))
        await joined.near.count(52)
        assert len(writes.sizes) == 2


@on_loop
async def test_short_items_travel_together_and_overtake_nothing_of_their_call():
    async with Joined() as joined:
        draw = random.Random(1)
        sent: list[Message] = []
        for number in range(600):
            call = draw.randrange(8)
            match draw.randrange(16):
                case 0:  # calls 0 and 1 have long ones, which go in pieces
                    size = 3 * PIECE_BYTES if call < 2 else draw.choice((SHORT, JOIN_BELOW))
                    sent.append(Item(call, numbered(size, number)))
                case 1:
                    sent.append(EndInput(call))
                case 2:
                    sent.append(Result(call, b"%d" % number))
                case _:
                    sent.append(Item(call, numbered(draw.choice((0, 1, SHORT - 1)), number)))
            joined.link.send(sent[-1])
            if number % 50 == 0:
                await turns(1)
        messages = await joined.far.count(len(sent))
        for call in range(8):
            assert of_call(messages, call) == of_call(sent, call)
        assert joined.far.together > 50


@on_loop
async def test_short_items_leave_before_the_link_is_closed():
    async with Joined() as joined:
        for number in range(3):
            joined.link.send(Item(number, b"last"))
        joined.link.close()
        assert await joined.far.count(3) == [Item(number, b"last") for number in range(3)]


@on_loop
async def test_more_pieces_than_one_system_call_takes_arrive_in_order():
    async with Joined() as joined:
        writes = Writes(joined.peer)
        for number in range(600):  # of two pieces each
            joined.peer.send(Item(number, bytes(JOIN_BELOW)))
        received = await joined.near.count(600)
        assert [message.id for message in received] == list(range(600))
        assert len(writes.sizes) == 1


@on_loop
async def test_the_server_gathers_what_a_few_turns_bring():
    async with Joined() as joined:
        writes = Writes(joined.link)
        for number in range(5):
            joined.link.send(Item(number, b"one in each turn"))
            await asyncio.sleep(0)
        await joined.far.count(5)
        assert len(writes.sizes) == 1


@on_loop
async def test_the_worker_begins_with_many_calls_while_more_are_sent():
    async with Joined() as joined:
        writes = Writes(joined.link)
        for number in range(40):
            joined.link.send(Call(number, 0, b"small", b"", None, "", b""))
        assert len(writes.sizes) == 2  # of 17 calls each, in this very turn
        assert writes.sizes[0] == writes.sizes[1]
        await joined.far.count(40)
        assert len(writes.sizes) == 3
        assert [call.id for call in joined.far.messages] == list(range(40))


@pytest.mark.parametrize("shared_bytes", [0, 4 << 20])
@on_loop
async def test_a_few_long_calls_are_told_of_at_once(shared_bytes):
    async with Joined(shared_bytes) as joined:
        data = joined.data
        sent = [Call(number, 0, numbered(150_000, number), b"", None, "", b"") for number in range(6)]
        for call in sent[:3]:
            joined.link.send(call)
        with pytest.raises(BlockingIOError):
            data.recv(1, socket.MSG_PEEK)  # they wait for others, to leave with them
        joined.link.send(sent[3])
        assert data.recv(1, socket.MSG_PEEK)  # in this very turn
        for call in sent[4:]:
            joined.link.send(call)
        assert await joined.far.count(6) == sent


@on_loop
async def test_long_calls_wait_while_the_socket_is_behind():
    async with Joined(8 << 20) as joined:
        joined.peer._data._transport.pause_reading()
        joined.link.send(Item(1, bytes(LONG)))
        while not joined.link._data._paused:
            await turns()
        sent = [Call(number, 0, numbered(600_000, number), b"", None, "", b"") for number in range(2, 6)]
        for call in sent:
            joined.link.send(call)
        joined.peer._data._transport.resume_reading()
        assert await joined.far.count(5) == [*sent, Item(1, bytes(LONG))]


@on_loop
async def test_long_payloads_lie_in_shared_memory_as_far_as_it_goes():
    async with Joined(2 << 20) as joined:
        assert joined.theirs is not None
        sent = [Item(number, numbered(300_000, number)) for number in range(10)]
        for item in sent:
            joined.link.send(item)
        messages = await joined.far.count(10)
        assert sorted(messages, key=lambda message: message.id) == sent  # pyright: ignore[reportAttributeAccessIssue]
        assert joined.theirs.reader.lent == 6
        messages.clear()
        assert joined.theirs.reader.lent == 0
        joined.link.send(Item(1, numbered(MAX_SHARED + 1, 1)))
        assert await joined.far.count(1) == [Item(1, numbered(MAX_SHARED + 1, 1))]
        assert joined.theirs.reader.lent == 0


@on_loop
async def test_what_a_worker_puts_together_is_read_where_it_lies():
    async with Joined(2 << 20) as joined:
        assert joined.ours is not None
        payload = joined.peer.join([b"a" * 10, b"b" * 100_000])
        assert isinstance(payload, memoryview)
        joined.peer.send(Result(1, payload))
        payload[0] = 7  # nobody does that; it shows whose memory it is
        (message,) = await joined.near.count(1)
        assert isinstance(message, Result)
        assert message.payload[0] == 7
        joined.near.messages.clear()
        assert joined.peer.join([b"a", b"b"]) == b"ab"
        assert joined.ours.reader.lent == 1  # `message`


LONG = 64 * 1024 * 1024
"""bytes of a message of which a socket holds a small part."""


@pytest.mark.parametrize(
    "long", [Call(1, 0, bytes(LONG), b"", None, "r", b""), Item(1, bytes(LONG))], ids=["call", "item"]
)
@on_loop
async def test_short_messages_overtake_a_long_one_in_the_order_in_which_they_were_sent(long):
    async with Joined() as joined:
        joined.link.send(long)
        await joined.far.reads(joined.peer)
        shorts = [Item(number, b"short") for number in range(2, 20)]
        for short in shorts:
            joined.link.send(short)
        messages = await joined.far.count(19)
        assert messages == [*shorts, long]


@on_loop
async def test_results_of_a_worker_are_overtaken_too():
    async with Joined() as joined:
        results = [Result(1, bytes(LONG)), Result(2, bytes(LONG)), Result(3, b"short")]
        for result in results:
            joined.peer.send(result)
        messages = await joined.near.count(3)
        assert messages == [results[2], results[0], results[1]]


@on_loop
async def test_what_follows_a_long_message_of_its_call_waits_for_it():
    async with Joined() as joined:
        sent = [Item(1, bytes(LONG)), Item(1, b"short"), EndInput(1), Item(2, b"other")]
        for message in sent:
            joined.link.send(message)
        assert await joined.far.count(4) == [sent[3], *sent[:3]]


@on_loop
async def test_a_reader_that_stops_holds_up_the_writer_and_not_its_memory():
    async with Joined() as joined:
        transport = joined.link._data._transport
        assert transport is not None
        joined.peer._data._transport.pause_reading()
        joined.link.send(Item(1, bytes(LONG)))
        while not joined.link._data._paused:
            await turns()
        waiting = transport.get_write_buffer_size()
        await turns(50)
        assert transport.get_write_buffer_size() == waiting <= 2 * (PIECE_BYTES + HEAD_BYTES)
        joined.link.send(Item(2, b"short"))
        joined.peer._data._transport.resume_reading()
        assert await joined.far.count(2) == [Item(2, b"short"), Item(1, bytes(LONG))]


@on_loop
async def test_a_link_that_closes_sends_the_rest_of_long_messages():
    async with Joined() as joined:
        sent = [Item(1, numbered(LONG // 8, 1)), Item(2, numbered(LONG // 8, 2)), Item(2, b"short")]
        for message in sent:
            joined.link.send(message)
        await turns()
        joined.link.close()
        messages = await joined.far.count(3)
        assert of_call(messages, 1) == sent[:1]
        assert of_call(messages, 2) == sent[1:]
        await joined.far.end()


@on_loop
async def test_a_link_that_is_lost_lets_go_of_long_messages():
    async with Joined() as joined:
        joined.link.send(Item(1, bytes(LONG)))
        await turns()
        assert joined.link._data.cutter.calls
        joined.peer._data._transport.abort()
        await joined.near.end()
        joined.link.send(Item(2, bytes(LONG)))
        assert not joined.link._data.cutter.calls
        assert joined.far.messages == []


@on_loop
async def test_frames_may_arrive_byte_by_byte():
    data, far_data = socket.socketpair()
    control, far_control = socket.socketpair()
    for end in (data, control):
        end.setblocking(False)
    near = Reader()
    await SocketLink.open(data, control, near, WORKER_QUIET_TURNS)
    pieces: list[Payload] = []
    pack(Item(1, b"first"), pieces)
    pack(Item(2, b""), pieces)
    for byte in b"".join(pieces):
        far_data.send(bytes([byte]))
        await turns(2)
    assert await near.count(2) == [Item(1, b"first"), Item(2, b"")]
    far_data.close()
    await near.end()
    far_control.close()


@on_loop
async def test_what_was_sent_before_closing_still_arrives():
    async with Joined() as joined:
        joined.link.send(Credit(1, 2, 3))
        joined.link.close()
        assert await joined.far.count(1) == [Credit(1, 2, 3)]
        await joined.far.end()


@on_loop
async def test_what_is_sent_after_the_other_end_has_gone_is_dropped():
    async with Joined() as joined:
        joined.peer.close()
        await joined.near.end()
        joined.link.send(Item(1, b"late"))
        joined.link.send(Cancel(1))
        await turns(10)
        assert joined.far.messages == []


@pytest.mark.parametrize("channel", ["data", "control"])
@on_loop
async def test_the_end_of_either_channel_is_the_end_of_the_link(channel):
    async with Joined() as joined:
        getattr(joined.peer, f"_{channel}").close()
        await joined.near.end()
        await joined.far.end()


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x01\x00\x00\x00\x63",
        b"\x40\x00\x00\x00\xf1" + bytes(64),
        (MAX_UNCUT_BYTES + 1).to_bytes(4, "little") + b"\x03",
        b"\xff\xff\xff\xff\xff",
        struct.pack("<IBQI", 26, SHARED_TAG, 1 << 30, 40_000) + struct.pack("<IBQ", 9, Item.TAG, 1),
        struct.pack("<IBQI", 26, SHARED_TAG, 4096, (1 << 20) + 1) + struct.pack("<IBQ", 9, Item.TAG, 1),
        struct.pack("<IBQI", 22, SHARED_TAG, 4096, 40_000) + struct.pack("<IBQ", 9, EndInput.TAG, 1),
    ],
    ids=[
        "an unknown tag",
        "a piece of nothing",
        "too long",
        "the longest",
        "elsewhere than the shared memory",
        "more than lies there",
        "no message",
    ],
)
def test_garbage_ends_the_link(garbage):
    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda loop, context: None)  # the loop reports what it closed a connection for
        data, far_data = socket.socketpair()
        control, far_control = socket.socketpair()
        for end in (data, control):
            end.setblocking(False)
        near = Reader()
        shared, descriptors = create_pair(1 << 20)
        for descriptor in descriptors:
            os.close(descriptor)
        await SocketLink.open(data, control, near, WORKER_QUIET_TURNS, shared)
        far_data.send(garbage)
        async with asyncio.timeout(20):
            await near.end()
        assert near.messages == []
        far_data.close()
        far_control.close()

    asyncio.run(scenario())


@on_loop
async def test_a_memory_link_delivers_in_order_and_in_a_later_turn():
    near, far = Reader(), Reader()
    link, peer = MemoryLink.pair(asyncio.get_running_loop())
    link.connect(far)
    peer.connect(near)
    link.send(Item(1, b"a"))
    link.send(Cancel(1))
    assert far.messages == []
    link.close()
    link.close()
    link.send(Item(2, b"late"))
    await turns()
    assert far.messages == [Item(1, b"a"), Cancel(1)]
    assert (far.closed, near.closed) == (1, 0)


async def without_control() -> tuple[Reader, socket.socket]:
    """Open a link and close the other end of its socket for control; return the reader, and what is still open."""
    data, their_data = socket.socketpair()
    control, their_control = socket.socketpair()
    reader = Reader()
    data.setblocking(False)
    control.setblocking(False)
    await SocketLink.open(data, control, reader, 0)
    their_control.close()
    return reader, their_data


@on_loop
async def test_what_was_said_before_the_end_is_heard():
    """A process that dies closes both sockets, and the one for payloads may have more to be read."""
    reader, their_data = await without_control()
    await turns()
    assert not reader.closed
    pieces: list[Payload] = []
    pack(Result(1, b"the last"), pieces)
    their_data.sendall(b"".join(pieces))
    their_data.close()
    await reader.end()
    assert [message.payload for message in reader.messages] == [b"the last"]


@on_loop
async def test_a_link_of_which_only_one_end_is_closed_ends_soon():
    reader, their_data = await without_control()
    await reader.end()
    assert reader.closed == 1
    their_data.close()
