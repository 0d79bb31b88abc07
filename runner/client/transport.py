"""What the clients need of a connection: four kinds of calls, in bytes. Two sides, plain and asyncio.

Each has two implementations: gRPC, and the memory of this process (`runner.testing`). All of them raise `CallError`
where a call fails. An error of the caller's own, raised by the iterator of requests, ends the call and is raised again
where replies are read.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from typing import NamedTuple, Protocol

__all__ = ["AsyncReplies", "AsyncTransport", "CallOptions", "Metadata", "Replies", "Transport"]

Metadata = tuple[tuple[str, str], ...]
"""Keys and values sent with a call."""


class CallOptions(NamedTuple):
    """What is sent with a call beside its messages, and where to put what comes back beside its one reply."""

    timeout: float | None = None
    """Seconds; None for no limit."""
    metadata: Metadata = ()
    trailers: dict[str, str] | None = None
    """Filled with what the server sends behind the only reply; None: nobody wants it. The replies of a stream tell that
    by themselves."""


class Replies(Protocol):
    """The replies of one call, as they arrive: an iterator that can be closed."""

    def __iter__(self) -> Iterator[bytes]: ...

    def __next__(self) -> bytes: ...

    def close(self) -> None:
        """Cancel the call unless it is over. May be called from any thread, and more than once."""
        ...

    def trailers(self) -> Mapping[str, str]:
        """Return what the server sent behind the last reply; nothing before the end was read."""
        ...


class Transport(Protocol):
    """A connection to one server."""

    def unary(self, rpc: str, request: bytes, options: CallOptions) -> bytes:
        """Send one request and wait for its reply."""
        ...

    def server_stream(self, rpc: str, request: bytes, options: CallOptions) -> Replies:
        """Send one request; the call has started when this returns."""
        ...

    def bidi(self, rpc: str, requests: Iterator[bytes], options: CallOptions) -> Replies:
        """Send requests from a thread of the transport's while replies are read."""
        ...

    def client_stream(self, rpc: str, requests: Iterator[bytes], options: CallOptions) -> bytes:
        """Send all requests and wait for the one reply."""
        ...

    def close(self) -> None:
        """Cancel what is in flight and let the connection go."""
        ...


class AsyncReplies(Protocol):
    """The replies of one call, as they arrive: an asynchronous iterator that can be closed."""

    def __aiter__(self) -> AsyncIterator[bytes]: ...

    async def __anext__(self) -> bytes: ...

    async def aclose(self) -> None:
        """Cancel the call unless it is over. May be called more than once."""
        ...

    def trailers(self) -> Mapping[str, str]:
        """See `Replies`."""
        ...


class AsyncTransport(Protocol):
    """The same for asyncio. Cancelling the task that waits cancels the call."""

    async def unary(self, rpc: str, request: bytes, options: CallOptions) -> bytes:
        """Send one request and wait for its reply."""
        ...

    def server_stream(self, rpc: str, request: bytes, options: CallOptions) -> AsyncReplies:
        """Send one request; the call has started when this returns."""
        ...

    def bidi(self, rpc: str, requests: AsyncIterator[bytes], options: CallOptions) -> AsyncReplies:
        """Send requests from a task of the transport's while replies are read."""
        ...

    async def client_stream(self, rpc: str, requests: AsyncIterator[bytes], options: CallOptions) -> bytes:
        """Send all requests and wait for the one reply."""
        ...

    async def aclose(self) -> None:
        """Cancel what is in flight and let the connection go."""
        ...
