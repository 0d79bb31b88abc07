"""Where the time of a call went, as the trailing metadata of its reply on our own service."""

from __future__ import annotations

from runner.execution.times import Times


def times_text(waited: float, times: Times) -> str:
    """Return the times of a call in milliseconds: `queue=0.12;wait=1.5;decode=0.03;run=4.21;encode=0.02;batch=8`.

    `queue`: in the server, until a replica had room, given as `waited` in seconds. `wait`: in the worker, until it ran.
    `batch`: calls that ran together, 0 if it ran by itself.
    """
    queued, decode, run, encode, size = times
    parts = (("queue", waited), ("wait", queued), ("decode", decode), ("run", run), ("encode", encode))
    return ";".join(f"{name}={seconds * 1000:.3f}" for name, seconds in parts) + f";batch={size}"
