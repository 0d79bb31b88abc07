"""What a worker writes goes on, and the last of it is kept."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator

import pytest

from runner.processes.last_words import LastWords
from tests.running import TOO_LONG


class Pipe:
    """A worker's stderr and the server's, both ends of each."""

    def __init__(self) -> None:
        self.reads, self.writes = os.pipe()
        self.shows, self.onward = os.pipe()
        self.ended = threading.Event()
        self.under_test = LastWords(self.reads, self.onward, self.ended.set)

    def end(self) -> str:
        assert self.ended.wait(TOO_LONG)
        return self.under_test.text


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    pipe = Pipe()
    yield pipe
    pipe.under_test.close()
    assert pipe.ended.wait(TOO_LONG)
    for descriptor in (pipe.shows, pipe.onward):
        os.close(descriptor)


def test_everything_goes_on_and_the_last_lines_are_kept(pipe: Pipe) -> None:
    said = b"".join(b"line %d\n" % number for number in range(60))
    os.write(pipe.writes, said)
    os.close(pipe.writes)
    assert pipe.end().splitlines() == [f"line {number}" for number in range(10, 60)]
    assert os.read(pipe.shows, 1 << 16) == said


def test_what_is_kept_is_bounded_and_begins_with_a_line(pipe: Pipe) -> None:
    os.write(pipe.writes, b"x" * 20000 + b"\nthe end \xff\n")
    os.close(pipe.writes)
    assert pipe.end() == "the end \ufffd"


def test_it_ends_though_another_process_holds_the_pipe(pipe: Pipe) -> None:
    os.write(pipe.writes, b"said before\n")
    pipe.under_test.close()
    pipe.under_test.close()  # as often as one likes
    assert pipe.end() == "said before"
    os.close(pipe.writes)


def test_a_log_that_nobody_reads_any_more_is_the_server_s_trouble(pipe: Pipe) -> None:
    os.close(pipe.shows)
    os.write(pipe.writes, b"into the void\n")
    os.close(pipe.writes)
    assert pipe.end() == "into the void"
    pipe.shows = os.dup(pipe.onward)
