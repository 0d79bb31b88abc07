"""What a peer may do to no purpose (RFC 9113, 10.5): resets of streams, and frames that do nothing for any call."""

from __future__ import annotations

from typing import Final

from runner.http2.allowance import Allowance
from runner.http2.errors import ConnectionFailure, ErrorCode
from runner.http2.limits import Limits

_WORK: Final = 4
"""Idle frames that a peer may send for each stream it opens and each frame of DATA, either way."""


class Misuse:
    """Counts of one connection. Each count raises `ConnectionFailure` if that was one too many."""

    __slots__ = ("_idle_frames", "_resets", "_work_seen")

    def __init__(self, limits: Limits, now: float) -> None:
        self._resets = Allowance(limits.resets_burst, limits.resets_per_second, now)
        self._idle_frames = Allowance(limits.idle_frames_burst, limits.idle_frames_per_second, now)
        self._work_seen = 0

    def stream_reset(self, now: float) -> None:
        """Count a stream that the peer has reset, or whose end it is to blame for."""
        if not self._resets.spend(now):
            raise ConnectionFailure(ErrorCode.ENHANCE_YOUR_CALM, "too many streams reset")

    def idle_frame(self, now: float, work: int) -> None:
        """Count a frame that does nothing for any call.

        Args:
            now: the instant.
            work: streams and frames of DATA that there have been, either way; each allows for some more.
        """
        if self._idle_frames.spend(now):
            return
        self._idle_frames.earn(_WORK * (work - self._work_seen))
        self._work_seen = work
        if not self._idle_frames.spend(now):
            raise ConnectionFailure(ErrorCode.ENHANCE_YOUR_CALM, "too many frames that do nothing")
