"""What field blocks and DATA mean: requests that begin, go on, and end (RFC 9113, 5.1 and 8.1)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from runner.http2.errors import ConnectionFailure, ErrorCode, MalformedMessage
from runner.http2.fields import RequestHead, RequestReader, check_trailers
from runner.http2.frames import END_STREAM
from runner.http2.hpack import CompressionError, HeaderDecoder, HeaderListTooLarge, Section
from runner.http2.sender import HeaderBlock
from runner.http2.stream import Received, Stream
from runner.http2.streams import Streams

if TYPE_CHECKING:
    from runner.http2.connection import Connection

_HEADER_LIST_TOO_LARGE: Final = HeaderBlock([(b":status", b"431")], end_stream=True)


class Requests:
    """The requests of a connection; see `RequestFrames`. Owns what it remembers of header sections."""

    __slots__ = (
        "_connection",
        "_decoder",
        "_inflow",
        "_limits",
        "_numbers",
        "_open",
        "_open_stream",
        "_reader",
        "_streams",
    )

    def __init__(
        self, connection: Connection, streams: Streams, open_stream: Callable[[Connection, int, RequestHead], Stream]
    ) -> None:
        """Begin without requests.

        Args:
            connection: whose requests they are.
            streams: those that are open.
            open_stream: makes the stream of a new request.
        """
        limits = connection.limits
        self._connection = connection
        self._streams = streams
        self._open = streams.open
        self._numbers = streams.numbers
        self._open_stream = open_stream
        self._inflow = connection.inflow
        self._limits = limits
        self._decoder = HeaderDecoder(
            max_list_bytes=limits.max_header_list_bytes,
            max_fields=limits.max_header_fields,
            max_table_bytes=limits.header_table_bytes,
        )
        self._reader = RequestReader()

    # DATA.

    def on_data(
        self, stream_id: int, flags: int, size: int, content: int, data: Received, start: int, stop: int, missing: int
    ) -> Stream | None:
        """See `RequestFrames`."""
        # In one piece: for most requests this is all that there is to do, and what it calls would cost as much again.
        inflow = self._inflow
        inflow.window -= size  # of the whole payload, whatever is in it
        if inflow.window < inflow.low:
            inflow.refill()
        stream = self._open.get(stream_id)
        if stream is None or not stream.remote_open:
            self._data_on_closed(stream, stream_id)
            return None
        stream.receive_window -= size
        if stream.receive_window < 0:
            self._streams.error(stream_id, ErrorCode.FLOW_CONTROL_ERROR)  # 6.9.1
            return None
        if flags & END_STREAM:
            stream.remote_open = False
        elif not content:
            self._streams.count_idle()
        if stream.content_left >= 0 and not self._count_content(stream, content):
            return None
        if content:
            inflow.data_frames += 1
        if start < stop or not missing:
            stream.on_data(data, start, stop, not (missing or stream.remote_open))
        if stream.receive_window < inflow.stream_low and stream.remote_open:
            inflow.refill_stream(stream)
        return stream

    def on_more_data(self, stream: Stream, data: Received, start: int, stop: int, missing: int) -> None:
        """See `RequestFrames`."""
        if self._open.get(stream.id) is not stream:  # it has been reset meanwhile
            return
        if start < stop or not missing:
            stream.on_data(data, start, stop, not (missing or stream.remote_open))
        if stream.receive_window < self._inflow.stream_low and stream.remote_open:
            self._inflow.refill_stream(stream)

    def _data_on_closed(self, stream: Stream | None, stream_id: int) -> None:
        streams = self._streams
        if stream is not None:
            streams.error(stream_id, ErrorCode.STREAM_CLOSED)  # half-closed (remote), 5.1
        elif self._numbers.never_opened(stream_id):
            raise ConnectionFailure(ErrorCode.PROTOCOL_ERROR, "DATA on a stream that is not open")  # 6.1
        else:
            streams.late(stream_id)

    def _count_content(self, stream: Stream, size: int) -> bool:
        """Compare a body with its content-length (8.1.1)."""
        stream.content_left -= size
        if stream.content_left < 0 or (stream.content_left and not stream.remote_open):
            self._streams.error(stream.id, ErrorCode.PROTOCOL_ERROR)
            return False
        return True

    # Requests and trailers.

    def on_block(self, stream_id: int, block: bytes, ended: bool) -> None:
        """See `RequestFrames`."""
        section: Section | None  # None: too large to keep
        try:
            section = self._decoder.read(block)
        except CompressionError as exc:
            raise ConnectionFailure(ErrorCode.COMPRESSION_ERROR, str(exc)) from exc
        except HeaderListTooLarge:
            section = None
        streams, numbers = self._streams, self._numbers
        if stream_id <= numbers.last:
            self._on_later_block(stream_id, section, ended)
            return
        numbers.last = stream_id
        if stream_id > numbers.taken_until:
            return  # it was told by GOAWAY that this is not answered (6.8)
        if len(self._open) >= self._limits.max_concurrent_streams:
            streams.error(stream_id, ErrorCode.REFUSED_STREAM)  # 5.1.2
            return
        if section is None:
            self._refuse_large(stream_id, ended)
            return
        head = section.reading
        if not isinstance(head, RequestHead):
            try:
                section.reading = head = self._reader.read(section.fields, section.fresh)
            except MalformedMessage:
                streams.error(stream_id, ErrorCode.PROTOCOL_ERROR)  # 8.1.1
                return
        if ended and head.content_length > 0:
            streams.error(stream_id, ErrorCode.PROTOCOL_ERROR)  # 8.1.1
            return
        stream = self._open_stream(self._connection, stream_id, head)
        stream.content_left = head.content_length
        if ended:
            stream.remote_open = False
        self._open[stream_id] = stream
        stream.on_request(head, ended)

    def _on_later_block(self, stream_id: int, section: Section | None, ended: bool) -> None:
        """Take a second block of a stream: its trailers, if it is open."""
        streams = self._streams
        stream = self._open.get(stream_id)
        if stream is None:
            streams.late(stream_id)
        elif not stream.remote_open:
            streams.error(stream_id, ErrorCode.STREAM_CLOSED)  # 5.1
        elif not ended or section is None or stream.content_left > 0:
            streams.error(stream_id, ErrorCode.PROTOCOL_ERROR)  # 8.1
        else:
            try:
                check_trailers(section.fields)
            except MalformedMessage:
                streams.error(stream_id, ErrorCode.PROTOCOL_ERROR)
                return
            stream.remote_open = False
            stream.on_trailers(section.fields)

    def _refuse_large(self, stream_id: int, ended: bool) -> None:
        """Answer a request whose header section was too large to keep (6.5.2, 10.5.1)."""
        self._connection.sender.begin(Stream(self._connection, stream_id), _HEADER_LIST_TOO_LARGE)
        if not ended:
            self._streams.send_reset(stream_id, ErrorCode.NO_ERROR)

    def __repr__(self) -> str:
        return f"<Requests on {self._streams!r}>"
