"""gRPC for plain programs: blocking calls, streams read by `for`."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any, cast

import grpc

from runner.client.address import Address, Trust
from runner.client.grpc_channel import (
    CLOSED,
    NO_TRUST,
    FailedCall,
    call_error_of,
    channel_options,
    credentials,
    deadline_of,
    path_of,
    texts_of,
)
from runner.client.transport import CallOptions, Replies
from runner.errors import Cancelled

__all__ = ["GrpcTransport"]


class GrpcTransport:
    """A channel to one server. It connects with the first call, and again whenever it has to."""

    def __init__(self, address: Address, trust: Trust = NO_TRUST) -> None:
        self._address = address
        # The stubs are generic in message types, which nothing names here: all messages are bytes.
        self._channel: Any
        arguments = channel_options(address)
        if address.secure:
            self._channel = grpc.secure_channel(address.target, credentials(trust), arguments)
        else:
            self._channel = grpc.insecure_channel(address.target, arguments)

    def unary(self, rpc: str, request: bytes, options: CallOptions) -> bytes:
        """Send one request and wait for its reply."""
        stub = self._channel.unary_unary(path_of(rpc))
        deadline = deadline_of(options.timeout)
        try:
            if options.trailers is None:
                return cast(bytes, stub(request, timeout=options.timeout, metadata=options.metadata))
            reply, call = stub.with_call(request, timeout=options.timeout, metadata=options.metadata)
            options.trailers.update(texts_of(call.trailing_metadata()))
            return cast(bytes, reply)
        except grpc.RpcError as error:
            raise call_error_of(cast(FailedCall, error), self._address, deadline) from None
        except ValueError:
            raise Cancelled(CLOSED) from None

    def server_stream(self, rpc: str, request: bytes, options: CallOptions) -> Replies:
        """Send one request; the call has started when this returns."""
        stub = self._channel.unary_stream(path_of(rpc))
        call = _begin(stub, request, options)
        return _GrpcReplies(call, self._address, deadline_of(options.timeout))

    def bidi(self, rpc: str, requests: Iterator[bytes], options: CallOptions) -> Replies:
        """Send requests from a thread of grpc's while replies are read."""
        feed = _Feed(requests)
        stub = self._channel.stream_stream(path_of(rpc))
        call = _begin(stub, iter(feed), options)
        feed.started(call)
        return _GrpcReplies(call, self._address, deadline_of(options.timeout), feed)

    def client_stream(self, rpc: str, requests: Iterator[bytes], options: CallOptions) -> bytes:
        """Send all requests and wait for the one reply."""
        feed = _Feed(requests)
        stub = self._channel.stream_unary(path_of(rpc))
        deadline = deadline_of(options.timeout)
        call = _begin(stub.future, iter(feed), options)
        feed.started(call)
        try:
            reply = cast(bytes, call.result())
            if options.trailers is not None:
                options.trailers.update(texts_of(call.trailing_metadata()))
            return reply
        except (grpc.RpcError, grpc.FutureCancelledError) as error:
            if feed.failure is not None:
                raise feed.failure from None
            error.__traceback__ = None  # see `_GrpcReplies.__next__`
            raise call_error_of(cast(FailedCall, call), self._address, deadline) from error
        except BaseException:  # Ctrl-C while waiting
            call.cancel()
            raise

    def close(self) -> None:
        """Cancel what is in flight and let the connection go."""
        self._channel.close()


def _begin(stub: Any, requests: object, options: CallOptions) -> Any:
    """Begin a call.

    Raises:
        Cancelled: another thread closes the client.
    """
    try:
        return stub(requests, timeout=options.timeout, metadata=options.metadata)
    except ValueError:
        raise Cancelled(CLOSED) from None


class _Feed:
    """The caller's requests on their way to grpc, which iterates over them in a thread of its own.

    An exception of the caller's iterator must neither end the stream as if all had been sent, nor be lost in that
    thread: it is kept, and the call is cancelled.
    """

    def __init__(self, requests: Iterator[bytes]) -> None:
        self._requests = requests
        self._call: grpc.Call | None = None
        self._started = threading.Event()
        self.failure: BaseException | None = None

    def started(self, call: grpc.Call) -> None:
        """Say which call to cancel; the iteration may have begun before there was one."""
        self._call = call
        self._started.set()

    def __iter__(self) -> Iterator[bytes]:
        try:
            yield from self._requests
        except GeneratorExit:
            raise
        except BaseException as error:
            self.failure = error
            self._started.wait()
            if self._call is not None:
                self._call.cancel()


class _GrpcReplies:
    def __init__(self, call: Any, address: Address, deadline: float, feed: _Feed | None = None) -> None:
        self._call = call
        self._address = address
        self._deadline = deadline
        self._feed = feed
        self._trailers: dict[str, str] = {}

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        try:
            return cast(bytes, next(self._call))
        except StopIteration:
            self._trailers = texts_of(self._call.trailing_metadata())
            raise
        except grpc.RpcError as error:
            if self._feed is not None and self._feed.failure is not None:
                raise self._feed.failure from None
            # Grpc raises the call itself, which the frames of its traceback hold: they would keep each other, and the
            # replies that were not read.
            error.__traceback__ = None
            raise call_error_of(cast(FailedCall, error), self._address, self._deadline) from None

    def trailers(self) -> dict[str, str]:
        return self._trailers

    def close(self) -> None:
        self._call.cancel()

    def __del__(self) -> None:
        # A loop that was left by `break` closes nothing; grpc's own finalizer waits for a thread that holds the call.
        self._call.cancel()
