"""Who stops whom on a real server: generators behind readers that stop, and senders that outrun their method."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator

import grpc
import pytest

from runner.client import Model
from runner.client.grpc_channel import AHEAD_BYTES
from runner.flow import STREAM_WINDOW, STREAM_WINDOW_BYTES
from runner.http2.limits import Limits
from runner.server.ingress.messages import WINDOW, WINDOW_BYTES
from runner.wire.pb import inference_pb2 as pb
from tests.real.conftest import INGRESS

pytestmark = pytest.mark.real

HTTP2_WINDOW = 65_535
"""bytes that a client lets in unasked unless it says otherwise."""

CLIENT_BUFFER = 65_536
"""bytes that gRPC's core takes from a client beyond what it may send."""

HOP = 1 if INGRESS else 0
"""long items more that are under way where an ingress process is between: one in each direction."""

ROUND_TRIPS = 50
"""calls that go to the worker and back, in which a generator that was not stopped would make thousands of items."""


@pytest.fixture(params=["grpcio", "native"])
def transport(request):
    return request.param


@pytest.fixture
def flags(transport):
    return "--transport", transport


@pytest.fixture
def server(serve, flags):
    return serve("flow", *flags)


@pytest.fixture
def model(server):
    with Model(base_url=server.base_url) as model:
        yield model


@pytest.fixture
def channel(server) -> Iterator[grpc.Channel]:
    """Return a channel whose window does not grow by itself."""
    options = [("grpc.http2.bdp_probe", 0), ("grpc.max_receive_message_length", -1)]
    with grpc.insecure_channel(server.address, options) as channel:
        yield channel


names = (f"stream {number}" for number in itertools.count())


def request(method: str, **arguments: pb.Data) -> bytes:
    data = pb.Data(parts=[pb.Part(id=name, data=value) for name, value in arguments.items()])
    data.metadata["_method_name"] = method
    return pb.PostModelOutputsRequest(inputs=[pb.Input(data=data)]).SerializeToString()


def stays(model: Model, name: str, count: int) -> int:
    """Wait until so many items were counted; return how many there are after that."""
    model.reached(name=name, count=count, timeout=20)
    for _ in range(ROUND_TRIPS):
        now = model.counted(name=name)
    return now


@pytest.mark.parametrize("method", ["make", "make_async"])
@pytest.mark.parametrize(
    ("size", "read", "made"),
    [
        (4 << 20, 0, 2),  # one that is being written, and one that waits
        (4 << 20, 9, 11),
        (64 << 10, 0, STREAM_WINDOW_BYTES // (64 << 10)),
        (16_000, 0, STREAM_WINDOW),
    ],
)
def test_a_reader_that_stops_stops_the_generator(model, channel, transport, method, size, read, made):
    name = next(names)
    stub = channel.unary_stream("/runner.v1.Inference/GenerateModelOutputs")
    arguments = {"name": pb.Data(string_value=name), "size": pb.Data(int_value=size)}
    replies = stub(request(method, **arguments), timeout=30)
    for _ in range(read):
        next(replies)
    made += HOP * (size > STREAM_WINDOW_BYTES and transport == "native")
    assert stays(model, name, made) == made
    replies.cancel()


@pytest.mark.parametrize("method", ["make", "make_async"])
def test_small_items_are_made_ahead_by_what_http2_takes_and_a_window(model, channel, transport, method):
    name, size = next(names), 1000
    stub = channel.unary_stream("/runner.v1.Inference/GenerateModelOutputs")
    replies = stub(request(method, name=pb.Data(string_value=name), size=pb.Data(int_value=size)), timeout=30)
    made = stays(model, name, STREAM_WINDOW)
    # As much again waits in gRPC to be sent.
    assert made <= STREAM_WINDOW + 2 * HTTP2_WINDOW // size + HOP * WINDOW * (transport == "native")
    for _ in range(made):
        next(replies)
    assert stays(model, name, made + 1) > made
    replies.cancel()


def test_readers_in_our_client_stop_their_generators(model, transport):
    name, size = next(names), 1000
    stream = model.make(name=name, size=size)
    next(stream)
    ahead = STREAM_WINDOW + (AHEAD_BYTES + 2 * HTTP2_WINDOW) // size + HOP * WINDOW * (transport == "native")
    assert stays(model, name, STREAM_WINDOW) <= 1 + ahead
    stream.close()


class Sender:
    """Sends inputs for as long as they are taken, and counts them."""

    def __init__(self, method: str, name: str, stop: int, size: int) -> None:
        self._first = request(method, name=pb.Data(string_value=name), stop=pb.Data(int_value=stop))
        part = pb.Part(id="items", data=pb.Data(bytes_value=bytes(size)))
        self._item = pb.PostModelOutputsRequest(inputs=[pb.Input(data=pb.Data(parts=[part]))]).SerializeToString()
        self._changed = threading.Condition()
        self.sent = 0

    def __iter__(self) -> Iterator[bytes]:
        yield self._first
        while True:
            with self._changed:
                self.sent += 1
                self._changed.notify_all()
            yield self._item

    def reaches(self, count: int) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: self.sent >= count, 20)


@pytest.mark.parametrize("method", ["take", "take_blocking"])
@pytest.mark.parametrize(("size", "fewest"), [(4 << 20, 3), (64 << 10, 16), (1000, STREAM_WINDOW)])
def test_a_sender_that_outruns_the_method_is_stopped(model, channel, transport, method, size, fewest):
    name, taken = next(names), 5
    sender = Sender(method, name, taken, size)
    replies = channel.stream_stream("/runner.v1.Inference/StreamModelOutputs")(iter(sender), timeout=30)
    next(replies)
    sender.reaches(taken + fewest)
    for _ in range(ROUND_TRIPS):
        assert model.counted(name=name) == taken
    in_worker = max(1, min(STREAM_WINDOW, STREAM_WINDOW_BYTES // size))
    before_the_link = 1
    # Ours is a window and one message. gRPC's core holds somewhat more than the window it is told to open.
    on_connection = Limits().initial_window // size + 1 if transport == "native" else 2 * STREAM_WINDOW_BYTES // size
    in_client = CLIENT_BUFFER // size + 1
    between = HOP * max(1, min(WINDOW, WINDOW_BYTES // size))
    assert sender.sent <= taken + in_worker + before_the_link + between + on_connection + in_client
    replies.cancel()


def test_a_client_that_leaves_while_its_window_is_full_is_no_error(launch, flags):
    server = launch("flow", *flags)
    server.wait_ready()
    channel = grpc.insecure_channel(server.address, [("grpc.http2.bdp_probe", 0)])
    with Model(base_url=server.base_url) as model, channel:
        stub = channel.unary_stream("/runner.v1.Inference/GenerateModelOutputs")
        for size in (1000, 64 << 10) * 5:
            name = next(names)
            arguments = {"name": pb.Data(string_value=name), "size": pb.Data(int_value=size)}
            next(stub(request("make_async", **arguments)))
            model.reached(name=name, count=16, timeout=20)
    assert server.terminate() == 0
    assert "ERROR" not in server.stderr
