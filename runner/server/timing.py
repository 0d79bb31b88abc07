"""Where the time of a call went, as the trailing metadata of its reply on our own service."""

from __future__ import annotations

from runner.engine.calls import Answer


def times_text(answer: Answer) -> str:
    """Return the times of a call in milliseconds: `queue=0.12;wait=1.5;decode=0.03;run=4.21;encode=0.02;batch=8`.

    `queue`: in the server, until a replica had room. `wait`: in the worker, until it ran. `batch`: calls that ran
    together, 0 if it ran by itself.
    """
    queued, decode, run, encode, size = answer.times
    parts = (("queue", answer.waited), ("wait", queued), ("decode", decode), ("run", run), ("encode", encode))
    return ";".join(f"{name}={seconds * 1000:.3f}" for name, seconds in parts) + f";batch={size}"
