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
from hypothesis import given
from hypothesis import strategies as st

from runner.processes import shared
from runner.processes.shared import MAX_SHARED, SHARED_FROM, Shared, SharedReader, SharedWriter, create_pair, open_pair
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
    assert ends.writer.put(part) == -1  # a part is not what was put together, and goes another way
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
