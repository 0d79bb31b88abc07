"""What a peer may cost us. Every limit of the connection is here, with what it is for.

A peer that passes one is told so by ENHANCE_YOUR_CALM and the connection ends, except where another answer is named.
"""

from __future__ import annotations

from dataclasses import dataclass

from runner.http2.frames import DEFAULT_MAX_FRAME, DEFAULT_WINDOW


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The bounds of one connection.

    Attributes:
        max_concurrent_streams: streams that are open at once. One more is refused with REFUSED_STREAM, which says that
            nothing has run.
        max_frame_bytes: the longest frame that we take, announced; a longer one is a FRAME_SIZE_ERROR. Only DATA may be
            so long, of which nothing is held here. Clients on gRPC's C core send an array of 150 KB in one; most others
            never send more than 16 KiB.
        max_other_frame_bytes: the longest frame of any other kind; a longer one is a FRAME_SIZE_ERROR too. What a begun
            frame holds of our memory.
        initial_window: bytes of DATA that a stream may send before anybody has read any, announced.
        connection_window: the same for all streams together. Must be larger, so that one stream that nobody reads
            leaves room for the others.
        max_unread_bytes: bytes that all streams together hold unread before the connection's window stops growing.
        max_header_list_bytes: size of a decoded header section by the rule of 6.5.2, announced. A larger one is
            answered with status 431. Small blocks that decode to much (an "HPACK bomb") end here.
        max_header_fields: fields of a header section. One of more is answered in the same way.
        max_header_block_bytes: the same before decoding, that is, HEADERS with its CONTINUATION frames.
        max_continuations: CONTINUATION frames of one block: a flood of empty ones never adds a byte.
        header_table_bytes: memory of the table that the peer's header compression fills.
        resets_burst, resets_per_second: streams that end before we have answered, by the peer's RST_STREAM or by ours
            for the peer's error. Opening a stream is cheap for the peer and dear for us, and a reset frees its place in
            `max_concurrent_streams` at once ("rapid reset", CVE-2023-44487).
        idle_frames_burst, idle_frames_per_second: frames that do nothing for any call: PING, SETTINGS, PRIORITY,
            WINDOW_UPDATE, empty DATA, unknown types, frames on closed streams. Each stream opened and each frame of
            DATA, either way, allows for some more, since those bring window updates and pings with them.
        max_unsent_control_bytes: answers to the peer's PING and SETTINGS frames, and our RST_STREAM frames, that wait
            because it does not read.
        max_unsent_frames: frames of any kind that wait for the same reason, beside DATA that waits with its stream. A
            peer that honestly does not get around to reading has as many streams open as there may be, with a few
            frames for each; one that goes on opening more, which are refused, is cut off.
    """

    max_concurrent_streams: int = 4096
    max_frame_bytes: int = 256 * 1024
    max_other_frame_bytes: int = 64 * 1024
    initial_window: int = 512 * 1024
    connection_window: int = 4 * 1024 * 1024
    max_unread_bytes: int = 16 * 1024 * 1024
    max_header_list_bytes: int = 64 * 1024
    max_header_fields: int = 128
    max_header_block_bytes: int = 64 * 1024
    max_continuations: int = 32
    header_table_bytes: int = 4096
    resets_burst: int = 2000
    resets_per_second: float = 200.0
    idle_frames_burst: int = 10_000
    idle_frames_per_second: float = 1000.0
    max_unsent_control_bytes: int = 64 * 1024
    max_unsent_frames: int = 32_768

    def __post_init__(self) -> None:
        # Before its ACK the peer goes by the defaults. Ours are wider, so that it can never be wrong about them.
        assert self.max_frame_bytes >= self.max_other_frame_bytes >= DEFAULT_MAX_FRAME
        assert self.connection_window >= self.initial_window >= DEFAULT_WINDOW
