"""HTTP/1.1 on one connection: bytes become requests by h11, the application answers, and responses become bytes.

Everything a client can make this do is bounded: the size of a head and of a body, the time from the first byte of a
request to its last, the time without a request, and what waits to be sent to somebody who does not read.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from email.utils import formatdate
from http import HTTPStatus
from typing import Final, cast

import h11

from runner.server.http_app import HttpApp, HttpRequest, HttpResponse

logger = logging.getLogger("runner.server")

MAX_HEAD_BYTES: Final = 16 * 1024
"""A request's line and headers: more than a probe or a browser sends."""

MAX_BODY_BYTES: Final = 64 * 1024
"""Of a request. Nothing that is asked here has a body."""

REQUEST_SECONDS: Final = 10.0
"""From a request's first byte to its last, from the connection to the first byte, and for a response to be taken."""

KEEP_ALIVE_SECONDS: Final = 75.0
"""Between two requests: probes come every ten seconds or so, and need no new connection each time."""


class HttpProtocol(asyncio.Protocol):
    """See the module's text. One for each connection."""

    def __init__(self, app: HttpApp, closed: Callable[[HttpProtocol], None]) -> None:
        """Wait for the connection.

        Args:
            app: answers.
            closed: told once of the connection's end.
        """
        self._app = app
        self._closed = closed
        self._connection = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEAD_BYTES)
        self._head: h11.Request | None = None
        self._body = b""
        self._full = False  # the client does not read what was sent to it
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio."""
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(MAX_BODY_BYTES)
        self._give(REQUEST_SECONDS)

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio."""
        if self._timer is not None:
            self._timer.cancel()
        self._closed(self)

    def pause_writing(self) -> None:
        """See asyncio: the client is asked nothing more until it has read."""
        self._full = True
        self._transport.pause_reading()
        self._give(REQUEST_SECONDS)

    def resume_writing(self) -> None:
        """See asyncio."""
        self._full = False
        self._transport.resume_reading()
        self._give(KEEP_ALIVE_SECONDS)
        self._advance()

    def data_received(self, data: bytes) -> None:
        """See asyncio."""
        if self._idle:
            self._give(REQUEST_SECONDS)
        self._connection.receive_data(data)
        self._advance()

    def eof_received(self) -> bool:
        """See asyncio."""
        self._connection.receive_data(b"")
        self._advance()
        return False

    def abort(self) -> None:
        """Close the connection now."""
        self._transport.abort()

    @property
    def _idle(self) -> bool:
        return self._head is None and not self._connection.trailing_data[0]

    def _advance(self) -> None:
        """Take what has come, request by request, for as long as the client reads the answers."""
        try:
            while not self._full and not self._transport.is_closing():
                event = self._connection.next_event()
                if event is h11.NEED_DATA or event is h11.PAUSED:
                    return
                self._take(event)
        except h11.RemoteProtocolError as exc:
            self._refuse(exc.error_status_hint)

    def _take(self, event: object) -> None:
        match event:
            case h11.Request() if event.http_version not in (b"1.0", b"1.1"):
                self._refuse(505)
            case h11.Request() if _size_of(event) > MAX_HEAD_BYTES:  # h11 takes any that comes in one piece
                self._refuse(431)
            case h11.Request():
                self._head, self._body = event, b""
                if self._connection.they_are_waiting_for_100_continue:
                    go_on = h11.InformationalResponse(status_code=100, headers=[], reason=HTTPStatus(100).phrase)
                    self._transport.write(self._connection.send(go_on) or b"")
            case h11.Data():
                self._body += bytes(event.data)
                if len(self._body) > MAX_BODY_BYTES:
                    self._refuse(413)
            case h11.EndOfMessage():
                self._answer()
            case h11.ConnectionClosed():
                self._transport.close()
            case _:
                raise AssertionError(f"h11 says nothing else to a server, and said {event!r}")

    def _answer(self) -> None:
        head = self._head
        assert head is not None
        request = HttpRequest(
            method=head.method.decode("ascii"),
            path=_path_of(head.target.decode("latin-1")),
            headers=tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in head.headers),
            body=self._body,
        )
        self._head, self._body = None, b""
        self._send(self._app.answer(request), head=request.method == "HEAD")
        if self._connection.our_state is h11.MUST_CLOSE:
            self._transport.close()
            return
        self._connection.start_next_cycle()
        if not self._full:
            self._give(REQUEST_SECONDS if self._connection.trailing_data[0] else KEEP_ALIVE_SECONDS)

    def _refuse(self, status: int) -> None:
        """Answer what is no request, if that is still possible, and close."""
        if self._connection.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            text = f"{HTTPStatus(status).phrase.lower()}\n".encode()
            self._send(HttpResponse(status=status, body=text, headers=(("connection", "close"),)), head=False)
        self._transport.close()

    def _send(self, response: HttpResponse, *, head: bool) -> None:
        headers = [
            ("date", formatdate(usegmt=True)),
            ("content-type", response.content_type),
            ("content-length", str(len(response.body))),
            *response.headers,
        ]
        events = [
            h11.Response(status_code=response.status, headers=headers, reason=HTTPStatus(response.status).phrase),
            *(() if head else (h11.Data(data=response.body),)),
            h11.EndOfMessage(),
        ]
        self._transport.write(b"".join(self._connection.send(event) or b"" for event in events))

    def _give(self, seconds: float) -> None:
        """Close the connection if nothing has happened by then."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(seconds, self.abort)


def _size_of(head: h11.Request) -> int:
    return len(head.method) + len(head.target) + sum([len(name) + len(value) for name, value in head.headers])


def _path_of(target: str) -> str:
    """Return the path of a request's target, which may be a whole URL (RFC 9112, 3.2.2)."""
    path = target.partition("?")[0]
    return "/" + path.partition("://")[2].partition("/")[2] if path.startswith(("http://", "https://")) else path
