"""What waits on several connections. That a connection counts right is in test_connection_machine.py."""

from __future__ import annotations

from runner.http2.backlog import Backlog


def test_somebody_is_told_of_every_byte_too_many() -> None:
    told: list[int] = []
    backlog = Backlog(10, lambda: told.append(backlog.size))
    backlog.add(10)
    assert not told
    backlog.add(1)
    backlog.add(5)
    assert told == [11, 16]
    backlog.remove(6)
    backlog.add(0)
    assert (told, backlog.size) == ([11, 16], 10)
