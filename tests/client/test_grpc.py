"""What only happens on a network."""

from __future__ import annotations

import asyncio
import gc

import grpc
import pytest

from runner.client import AsyncModel, Model, Unreachable
from runner.client.address import Address
from runner.client.grpc_sync import GrpcTransport
from runner.client.transport import CallOptions
from runner.errors import Cancelled, InternalError, MethodNotFound, Overloaded, Unauthenticated
from tests.client.scripted_server import ScriptedServer
from tests.client.served import Served


@pytest.fixture
def scripted():
    server = ScriptedServer(Served)
    yield server
    server.close()


def test_the_key_is_sent_with_every_call(scripted: ScriptedServer):
    with Model(base_url=scripted.base_url + "/", pat="secret") as model:
        model.available_methods()
        assert scripted.metadata["authorization"] == "Key secret"


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (grpc.StatusCode.RESOURCE_EXHAUSTED, Overloaded),
        (grpc.StatusCode.UNAUTHENTICATED, Unauthenticated),
        (grpc.StatusCode.UNKNOWN, InternalError),
        (grpc.StatusCode.CANCELLED, Cancelled),
        (grpc.StatusCode.UNIMPLEMENTED, MethodNotFound),
        (grpc.StatusCode.UNAVAILABLE, Unreachable),
    ],
)
def test_a_status_without_details_has_a_type_too(scripted: ScriptedServer, status, error):
    scripted.status = status
    with Model(base_url=scripted.base_url) as model, pytest.raises(error, match="as the test says"):
        model.predict("x")

    async def main() -> None:
        async with AsyncModel(base_url=scripted.base_url) as model:
            with pytest.raises(error, match="as the test says"):
                await model.predict("x")

    asyncio.run(main())


def test_a_method_outlives_the_connection(server: Model):
    model = Model(base_url=str(server._settings.address))
    with model:
        predict = model.predict
        assert predict("x") == server.predict("x")
    with model:
        assert predict("y") == server.predict("y")


def test_a_call_that_begins_while_its_client_is_closed(scripted: ScriptedServer):
    options = CallOptions()
    transport = GrpcTransport(Address.parse(scripted.base_url))
    transport.close()
    for begin in (transport.unary, transport.server_stream):
        with pytest.raises(Cancelled, match="the client was closed"):
            begin("PostModelOutputs", b"", options)
    for begin in (transport.bidi, transport.client_stream):
        with pytest.raises(Cancelled, match="the client was closed"):
            begin("StreamModelOutputs", iter([b""]), options)


def test_nobody_there():
    with Model(base_url="127.0.0.1:1") as model:
        with pytest.raises(Unreachable, match=r"http://127\.0\.0\.1:1 .*is the server running"):
            model.available_methods()
        with pytest.raises(Unreachable):
            model.predict  # noqa: B018


def test_something_else_there():
    server = grpc.server(None)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    with Model(base_url=f"127.0.0.1:{port}") as model, pytest.raises(MethodNotFound, match="is it a runner server"):
        model.predict("x")
    server.stop(0).wait()


def test_closing_a_stream_cancels_the_call(scripted: ScriptedServer):
    with Model(base_url=scripted.base_url) as model:
        stream = model.generate("x")
        assert next(stream) == "first"
        stream.close()
        assert scripted.left.wait(10)


@pytest.mark.parametrize("method", ["generate", "stream"])
def test_leaving_a_loop_cancels_the_call(scripted: ScriptedServer, method):
    with Model(base_url=scripted.base_url) as model:
        for item in model.method(method)(["x"] if method == "stream" else "x"):
            assert item == "first"
            break
        gc.collect()
        assert scripted.left.wait(10)


def test_closing_the_client_cancels_the_call(scripted: ScriptedServer):
    with Model(base_url=scripted.base_url) as model:
        stream = model.generate("x")
        assert next(stream) == "first"
    assert scripted.left.wait(10)
    with pytest.raises(Cancelled):
        next(stream)


@pytest.mark.parametrize("how", ["cancel", "aclose", "break"])
@pytest.mark.parametrize("method", ["generate", "stream"])
def test_asyncio_cancels_the_call_too(scripted: ScriptedServer, method, how):
    async def read(model: AsyncModel, first: asyncio.Event) -> None:
        stream = await model.method(method)(["x"] if method == "stream" else "x")
        async for item in stream:
            assert item == "first"
            first.set()
            if how == "break":
                break
            if how == "aclose":
                await stream.aclose()

    async def main() -> None:
        async with AsyncModel(base_url=scripted.base_url) as model:
            first = asyncio.Event()
            reading = asyncio.create_task(read(model, first))
            await first.wait()
            if how == "cancel":
                reading.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await reading
            else:
                await reading
            gc.collect()
            assert await asyncio.to_thread(scripted.left.wait, 10)

    asyncio.run(main())


def test_a_client_can_be_used_again_after_it_was_closed(scripted: ScriptedServer):
    scripted.status = grpc.StatusCode.UNKNOWN
    model = Model(base_url=scripted.base_url)
    for _ in range(2):
        with pytest.raises(InternalError):
            model.predict("x")
        model.close()
