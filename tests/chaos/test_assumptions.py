"""Why two faults need no test: what they would break is not there. The sources are read."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import runner

ROOT = Path(runner.__file__).parent

WALL_CLOCK = {("time", "time"), ("time", "time_ns"), ("datetime", "now"), ("datetime", "utcnow"), ("date", "today")}
"""A clock that may jump. Instants and time-outs are those of `time.monotonic`."""

OF_THE_LOOP = (
    *("server", "engine", "dispatch", "processes", "wire"),
    *("workers/link.py", "workers/frames.py", "workers/text_frames.py", "workers/pairs.py", "workers/short_items.py"),
)
"""What runs on the server's loop for a call."""

FILES = ("read_text", "read_bytes", "write_text", "write_bytes", "fsync")

READS_FILES = {
    "processes/channel.py",  # /dev/null, once, in a process that a model has forked
    "processes/last_words.py",  # a pipe, in a thread of its own
    "server/announcement.py",  # /dev/null, once, in the place of a stdout that is gone
    "server/changing_files.py",  # small files that say who may call, looked at once a second at most
    "server/certificates.py",
    "server/signals.py",  # whether there is a terminal, once a signal has come
    "server/watched_directory.py",  # what inotify tells, which the kernel has in memory
}


def calls(path: Path) -> Iterator[tuple[str, str, int]]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call):
            match node.func:
                case ast.Attribute(attr=name, value=ast.Name(id=owner) | ast.Attribute(attr=owner)):
                    yield owner, name, node.lineno
                case ast.Name(id=name):
                    yield "", name, node.lineno
                case _:
                    pass


def test_nothing_reads_a_clock_that_may_jump() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{line}"
        for path in ROOT.rglob("*.py")
        for owner, name, line in calls(path)
        if (owner, name) in WALL_CLOCK
    ]
    assert not found


def test_no_call_waits_for_a_disk() -> None:
    found = [
        f"{file}:{line} {name}"
        for path in ROOT.rglob("*.py")
        if (file := path.relative_to(ROOT).as_posix()).startswith(OF_THE_LOOP) and file not in READS_FILES
        for owner, name, line in calls(path)
        if name in FILES or (owner, name) in (("", "open"), ("os", "open"), ("os", "read"))
    ]
    assert not found
