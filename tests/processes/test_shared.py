"""Payloads in shared memory: what is looked at stays as it was, and what is not is free again."""

from __future__ import annotations

import gc
import mmap
import os
import subprocess
import sys
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from runner.processes import shared
from runner.processes.shared import (
    DRAFTED_FROM,
    MAX_SHARED,
    SHARED_FROM,
    Shared,
    SharedReader,
    SharedWriter,
    create_pair,
    open_pair,
)
from runner.wire.array_scan import numbers_at
from runner.wire.pb import inference_pb2 as pb

pytestmark = pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="needs memory without a name, as Linux has it")

PAGE = mmap.PAGESIZE
LONG = 8 * SHARED_FROM


class Ends:
    """The ends of one direction, each with a mapping of its own, as in two processes."""

    def __init__(self, size: int = 1 << 20) -> None:
        server, (to_worker, from_worker) = create_pair(size)
        self.blocks_of = os.dup(to_worker)
        worker = open_pair(to_worker, from_worker)
        self.writer, self.reader = server.writer, worker.reader
        self.others = Shared(worker.writer, server.reader)

    def send(self, payload: bytes | memoryview) -> memoryview:
        position = self.writer.put(payload)
        assert position >= 0
        return self.reader.view(position, len(payload))

    @property
    def taken(self) -> int:
        self.writer._sweep()
        return self.writer._blocks.taken

    def kept(self) -> int:
        """Bytes that the kernel holds for it."""
        return os.fstat(self.blocks_of).st_blocks * 512


@pytest.fixture
def ends():
    ends = Ends()
    yield ends
    os.close(ends.blocks_of)


def content(size: int, seed: int = 0) -> bytes:
    return bytes((index * 7 + seed) % 251 for index in range(997)) * (size // 997 + 1)


@pytest.mark.parametrize("size", [SHARED_FROM, SHARED_FROM + 1, 9 * PAGE - 1, 9 * PAGE, 150_075, 1 << 20])
def test_what_is_laid_down_is_read_in_place(ends, size):
    payload = content(size)[:size]
    view = ends.send(payload)
    assert view == payload
    assert not view.readonly
    assert ends.taken == -(-size // PAGE)


@pytest.mark.parametrize("size", [0, 1, SHARED_FROM - 1, MAX_SHARED + 1])
def test_other_sizes_go_another_way(size):
    ends = Ends(2 * MAX_SHARED)
    assert ends.writer.put(bytes(size)) == -1
    assert bytes(ends.writer.join([bytes(size // 2), bytes(size - size // 2)])) == bytes(size)
    assert ends.taken == 0
    os.close(ends.blocks_of)


def test_both_directions_are_apart(ends):
    there = ends.send(b"a" * LONG)
    back = ends.others.reader.view(ends.others.writer.put(b"b" * LONG), LONG)
    assert (there, back) == (b"a" * LONG, b"b" * LONG)


def test_a_payload_stays_while_any_view_of_it_lives(ends):
    first = ends.send(content(LONG)[:LONG])
    inner = np.frombuffer(first[64:128], np.int32)[2:4]
    expected = inner.copy()
    del first
    for number in range(20):
        ends.send(bytes([number]) * LONG)  # looked at by nobody: all of them lie in the same place
    assert np.array_equal(inner, expected)
    assert ends.taken == LONG // PAGE
    assert ends.reader.lent == 1
    del inner
    assert (ends.taken, ends.reader.lent) == (0, 0)


def test_the_last_view_may_go_in_any_thread_and_by_the_collector(ends):
    held = [ends.send(b"a" * LONG)]
    thread = threading.Thread(target=held.clear)
    thread.start()
    thread.join()
    assert ends.taken == 0
    cycle: list[object] = [ends.send(b"b" * LONG)]
    cycle.append(cycle)
    del cycle
    assert ends.taken == LONG // PAGE
    gc.collect()
    assert ends.taken == 0


def test_where_there_is_no_room_it_says_so_and_waits_for_nothing(ends):
    views = []
    while (position := ends.writer.put(b"x" * LONG)) >= 0:
        views.append(ends.reader.view(position, LONG))
    assert len(views) == (1 << 20) // LONG
    assert ends.writer.put(b"x" * SHARED_FROM) == -1
    assert type(ends.writer.join([b"x" * LONG])) is bytes
    del views[3]
    assert ends.send(b"y" * LONG) == b"y" * LONG
    assert all(view == b"x" * LONG for view in views)


def test_a_busy_moment_does_not_keep_its_memory():
    ends = Ends(64 << 20)
    views = [ends.send(b"x" * (1 << 20)) for _ in range(40)]
    assert ends.kept() >= 40 << 20
    del views
    ends.send(b"x" * SHARED_FROM)
    assert ends.kept() <= shared._KEPT + PAGE * 16
    views = [ends.send(bytes([number]) * (1 << 20)) for number in range(40)]
    assert all(view == bytes([number]) * (1 << 20) for number, view in enumerate(views))
    os.close(ends.blocks_of)


def test_the_numbers_of_an_array_are_aligned(ends):
    for name in ("a", "ab", "abc", "a-longer-name", "x" * 100):
        message = pb.Input()
        message.data.metadata["_method_name"] = name
        array = np.arange(LONG // 8, dtype=np.float64)
        part = message.data.parts.add(id=name)
        part.data.ndarray.CopyFrom(pb.NDArray(buffer=array.tobytes(), shape=array.shape, dtype="float64"))
        payload = message.SerializeToString()
        start = numbers_at(payload)
        assert payload[start : start + array.nbytes] == array.tobytes()
        view = ends.send(payload)
        assert np.frombuffer(view, np.float64, len(array), start).flags.behaved
        assert view == payload


@pytest.mark.parametrize("bound", [SHARED_FROM, MAX_SHARED])
def test_what_is_laid_down_for_its_numbers_can_be_read_at_every_bound(bound):
    ends = Ends(2 * MAX_SHARED)
    for change in range(-80, 81, 4):
        message = pb.Input()
        part = message.data.parts.add(id="a")
        part.data.ndarray.CopyFrom(pb.NDArray(buffer=bytes(bound - 64 + change), shape=[bound], dtype="int8"))
        payload = message.SerializeToString()
        position = ends.writer.put(payload)
        assert (position >= 0) == (SHARED_FROM <= len(payload) <= MAX_SHARED)
        if position >= 0:
            assert ends.reader.view(position, len(payload)) == payload
    assert ends.taken == 0
    os.close(ends.blocks_of)


@given(st.binary(max_size=300))
def test_guessing_where_numbers_lie_takes_any_bytes(payload: bytes) -> None:
    assert 0 <= numbers_at(payload) <= len(payload)


# Payloads that are put together before they are sent.


def test_what_was_put_together_in_place_is_not_copied_again(ends):
    draft = ends.writer.join([b"a" * 100, memoryview(b"b" * LONG), b"c"])
    assert isinstance(draft, memoryview)
    assert draft == b"a" * 100 + b"b" * LONG + b"c"
    taken = ends.taken
    position = ends.writer.put(draft)
    assert ends.taken == taken
    view = ends.reader.view(position, len(draft))
    view[0] = 7
    assert draft[0] == 7
    del draft  # the sender is done with it, the receiver is not
    assert ends.taken == taken
    del view
    assert ends.taken == 0


def test_what_is_never_sent_is_free_again(ends):
    draft = ends.writer.join([b"a" * LONG])
    part = draft[5:]
    del draft
    assert ends.taken == LONG // PAGE
    del part
    assert ends.taken == 0
    assert not ends.writer._drafts


def test_threads_put_together_side_by_side(ends):
    wrong: list[int] = []

    def work(number: int) -> None:
        for size in range(SHARED_FROM, SHARED_FROM + 200):
            draft = ends.writer.join([bytes([number]) * size])
            if bytes(draft) != bytes([number]) * size:
                wrong.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert ends.taken == 0


# Messages that come piece by piece.


def drafted(ends: Ends, message: bytes) -> memoryview:
    draft = ends.writer.draft(len(message))
    assert draft is not None
    draft[:] = message
    return draft


def test_a_part_of_a_message_is_given_away_where_it_lies(ends):
    message = drafted(ends, content(LONG)[:LONG])
    payload = message[75:-30]
    position = ends.writer.put(payload)
    assert (ends.writer.given, ends.writer.copied) == (1, 0)
    view = ends.reader.view(position, len(payload))
    assert view == payload
    view[0] ^= 255
    assert view[0] == payload[0] == message[75]


def test_what_is_given_away_is_free_when_neither_end_looks_at_it(ends):
    for first in ("sender", "receiver"):
        message = drafted(ends, content(LONG)[:LONG])
        payload = message[10:]
        view = ends.reader.view(ends.writer.put(payload), len(payload))
        if first == "sender":
            del message, payload
            assert ends.taken == LONG // PAGE
            assert bytes(view) == content(LONG)[10:LONG]
            del view
        else:
            del view
            assert ends.taken == LONG // PAGE
            assert payload == content(LONG)[10:LONG]  # it may have to be sent to somebody else
            del message, payload
        assert ends.taken == 0


def test_what_cannot_be_written_to_is_copied(ends):
    message = drafted(ends, b"a" * LONG)
    payload = message.toreadonly()
    view = ends.reader.view(ends.writer.put(payload), LONG)
    view[0] = 7
    assert message == b"a" * LONG
    assert (ends.writer.given, ends.writer.copied) == (0, 1)


def test_of_one_message_one_part_is_given_away_and_the_others_are_copied(ends):
    message = drafted(ends, content(LONG)[:LONG])
    parts = [message[: LONG // 2], message[LONG // 2 :], message[: LONG // 2]]
    views = [ends.reader.view(ends.writer.put(part), len(part)) for part in parts]
    assert (ends.writer.given, ends.writer.copied) == (1, 2)
    assert views == parts
    views[0][5] ^= 255
    assert views[2] != parts[0]
    del views, parts, message
    assert ends.taken == 0


@pytest.mark.parametrize("size", [0, 1, SHARED_FROM, DRAFTED_FROM - 1, MAX_SHARED + 1])
def test_there_is_no_memory_for_messages_of_other_lengths(size):
    ends = Ends(4 * MAX_SHARED)
    assert ends.writer.draft(size) is None
    assert ends.taken == 0
    assert ends.writer.draft(DRAFTED_FROM) is not None
    assert ends.writer.draft(MAX_SHARED) is not None
    os.close(ends.blocks_of)


def test_a_message_that_is_not_sent_is_free_again_at_once(ends):
    message = ends.writer.draft(LONG)
    assert message is not None
    assert ends.taken == LONG // PAGE
    del message
    assert ends.taken == 0
    assert not ends.writer._drafts


def test_messages_that_wait_leave_room_for_what_is_sent_now(ends):
    """A client may send half of a message and wait, as often as it likes."""
    waiting = []
    while (draft := ends.writer.draft(LONG)) is not None:
        waiting.append(draft)
    assert len(waiting) == (1 << 20) // LONG // 2
    views = [ends.send(b"x" * LONG) for _ in range((1 << 20) // LONG // 2)]
    assert ends.writer.draft(DRAFTED_FROM) is None
    waiting.pop()
    draft = ends.writer.draft(LONG)
    assert draft is not None
    del views
    given = [ends.reader.view(ends.writer.put(each), LONG) for each in (*waiting, draft)]
    del draft
    assert ends.writer.draft(LONG) is not None  # those do not wait any more
    waiting.clear()
    given.clear()
    assert (ends.taken, ends.writer._waiting_pages, ends.writer._waiting) == (0, 0, {})


def test_the_numbers_in_a_message_are_aligned_from_its_second_time_on(ends):
    message = pb.PostModelOutputsRequest(model_id="some-model")
    part = message.inputs.add().data.parts.add(id="a")
    part.data.ndarray.CopyFrom(pb.NDArray(buffer=bytes(DRAFTED_FROM), shape=[DRAFTED_FROM], dtype="int8"))
    whole, payload = message.SerializeToString(), message.inputs[0].SerializeToString()
    begin = whole.index(payload)
    for time in range(4):
        sent = drafted(ends, whole)[begin : begin + len(payload)]
        view = ends.reader.view(ends.writer.put(sent), len(payload))
        assert view == payload
        numbers = np.frombuffer(view, np.int8)[numbers_at(payload) :]
        assert numbers.ctypes.data % 64 == 0
        assert (ends.writer.given, ends.writer.copied) == (time, 1)


def test_what_begins_late_in_a_message_is_copied(ends):
    message = drafted(ends, content(LONG)[:LONG])
    for begin, count in ((PAGE, 0), (2 * PAGE, 0), (PAGE - 1, 1)):
        payload = message[begin:]
        assert ends.reader.view(ends.writer.put(payload), len(payload)) == payload
        assert ends.writer.given == count


def test_as_many_lengths_of_messages_are_remembered_as_there_are_places():
    ends = Ends(8 << 20)
    for size in range(DRAFTED_FROM, DRAFTED_FROM + 1000):
        message = pb.Input()
        part = message.data.parts.add(id="a")
        part.data.ndarray.CopyFrom(pb.NDArray(buffer=bytes(size), shape=[size], dtype="int8"))
        ends.send(drafted(ends, message.SerializeToString()))
        assert len(ends.writer._shifts) <= shared._MAX_SHIFTS
    assert ends.writer._shifts
    os.close(ends.blocks_of)


def test_a_message_stays_its_senders_whatever_the_other_end_marks(ends):
    message = drafted(ends, b"a" * LONG)
    memory = ends.reader._memory
    for _ in range(3):
        memory[: 1 << 8] = b"\1" * (1 << 8)
        assert ends.send(b"b" * LONG) == b"b" * LONG
        assert message == b"a" * LONG
    assert ends.reader.view(ends.writer.put(message), LONG) == b"a" * LONG
    del message
    assert ends.taken == 0


class Machine(RuleBasedStateMachine):
    """Messages and answers come, are sent, changed, kept and let go of, at either end and in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.ends = Ends(128 * PAGE)
        self.seed = 0
        self.ours: list[tuple[memoryview, bytes]] = []  # not given away
        self.given: list[memoryview] = []  # and still looked at by the sender
        self.theirs: list[tuple[memoryview, bytes]] = []

    def fresh(self, size: int) -> bytes:
        self.seed += 1
        return content(size, self.seed)[:size]

    @rule(size=st.sampled_from([DRAFTED_FROM, DRAFTED_FROM + 1, 20 * PAGE - 64]))
    def draft(self, size: int) -> None:
        if (view := self.ends.writer.draft(size)) is not None:
            data = self.fresh(size)
            view[:] = data
            self.ours.append((view, data))

    @rule(size=st.sampled_from([SHARED_FROM, 10 * PAGE]))
    def join(self, size: int) -> None:
        data = self.fresh(size)
        view = self.ends.writer.join([data[:7], data[7:]])
        if isinstance(view, memoryview):
            self.ours.append((view, data))

    @precondition(lambda self: self.ours)
    @rule(which=st.integers(0, 99), begin=st.sampled_from([0, 64, 100, PAGE, DRAFTED_FROM - 100]), frozen=st.booleans())
    def send(self, which: int, begin: int, frozen: bool) -> None:
        view, data = self.ours[which % len(self.ours)]
        part = view[begin:].toreadonly() if frozen else view[begin:]
        given = self.ends.writer.given
        if (position := self.ends.writer.put(part)) >= 0:
            self.theirs.append((self.ends.reader.view(position, len(part)), data[begin:]))
        if self.ends.writer.given > given:
            assert not frozen
            self.given.append(self.ours.pop(which % len(self.ours))[0])

    @rule(size=st.sampled_from([SHARED_FROM, 10 * PAGE]))
    def copy(self, size: int) -> None:
        data = self.fresh(size)
        if (position := self.ends.writer.put(data)) >= 0:
            self.theirs.append((self.ends.reader.view(position, size), data))

    @precondition(lambda self: self.theirs)
    @rule(which=st.integers(0, 99))
    def change(self, which: int) -> None:
        view, data = self.theirs.pop(which % len(self.theirs))
        changed = bytes([data[0] ^ 255]) + data[1:]
        view[0] = changed[0]
        self.theirs.append((view, changed))

    @rule(which=st.integers(0, 99), whose=st.sampled_from(["ours", "given", "theirs"]))
    def let_go(self, which: int, whose: str) -> None:
        held = getattr(self, whose)
        if held:
            held.pop(which % len(held))

    @invariant()
    def nothing_lies_on_something_else(self) -> None:
        for view, data in (*self.ours, *self.theirs):
            assert view == data

    @invariant()
    def not_too_much_waits(self) -> None:
        writer = self.ends.writer
        assert sum(writer._waiting.values()) == writer._waiting_pages <= writer._blocks.pages // 2

    def teardown(self) -> None:
        for held in (self.ours, self.given, self.theirs):
            held.clear()
        assert self.ends.taken == 0
        writer = self.ends.writer
        assert (writer._drafts, writer._owners, writer._waiting, writer._waiting_pages) == ({}, {}, {}, 0)
        os.close(self.ends.blocks_of)


TestAnyOrder = Machine.TestCase
TestAnyOrder.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)


# The other process is not to be trusted.


@given(st.integers(-(1 << 22), 1 << 22), st.integers(-5, 1 << 23))
def test_a_view_lies_within_the_memory_or_is_refused(position: int, size: int) -> None:
    memory = mmap.mmap(-1, 70 * PAGE)
    try:
        view = SharedReader(memory).view(position, size)
    except ValueError:
        return
    assert len(view) == size


def test_marks_that_mean_nothing_do_nothing(ends):
    view = ends.send(b"a" * LONG)
    memory = ends.reader._memory
    memory[1 : LONG // PAGE] = b"\1" * (LONG // PAGE - 1)  # pages in the middle of what is taken
    memory[40:60] = bytes(range(100, 120))
    assert ends.taken == LONG // PAGE
    assert ends.send(b"b" * LONG) == b"b" * LONG
    assert view == b"a" * LONG


def test_a_forked_process_lets_go_of_nothing_but_its_own():
    program = """
import os
from runner.processes.shared import create_pair, open_pair

server, descriptors = create_pair(1 << 20)
worker = open_pair(*descriptors)
view = worker.reader.view(server.writer.put(b"a" * 100_000), 100_000)
draft = worker.writer.join([b"b" * 100_000])
child = os.fork()
if not child:
    del view, draft
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
server.writer.put(b"c" * 100_000)
worker.writer.join([b"c" * 100_000])
assert view == b"a" * 100_000
assert draft == b"b" * 100_000
"""
    subprocess.run([sys.executable, "-c", program], check=True)


def test_nobody_can_cut_the_memory_off():
    _, descriptors = create_pair(1 << 20)
    for descriptor in descriptors:
        with pytest.raises(PermissionError):
            os.ftruncate(descriptor, 0)
        with pytest.raises(PermissionError):
            os.ftruncate(descriptor, 1 << 30)
        os.close(descriptor)


def test_views_outlive_both_ends():
    ends = Ends()
    view = ends.send(b"a" * LONG)
    draft = ends.writer.join([b"b" * LONG])
    os.close(ends.blocks_of)
    del ends
    gc.collect()
    assert view == b"a" * LONG
    assert draft == b"b" * LONG


@given(st.integers(1, 1 << 28))
def test_both_ends_agree_on_where_the_pages_begin(size: int) -> None:
    pages = -(-size // PAGE)
    total = (pages + -(-pages // PAGE)) * PAGE
    assert total - shared._table_bytes(total) == pages * PAGE
    assert shared._table_bytes(total) >= pages


def test_they_say_what_they_hold(ends):
    view = ends.send(b"a" * LONG)
    assert repr(ends.writer) == f"<SharedWriter <Blocks 1 taken, {LONG // PAGE} of 256 pages>>"
    assert repr(ends.reader) == "<SharedReader 1 payloads>"
    assert isinstance(ends.writer, SharedWriter)
    del view
