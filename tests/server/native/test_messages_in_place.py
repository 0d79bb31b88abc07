"""Long requests from a client's socket to a worker, in memory that is shared with it: copied once, and given back."""

from __future__ import annotations

import itertools
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
import pytest

from runner.config import ServerConfig, Workers
from runner.engine import Engine
from runner.execution.journal import Mark
from runner.execution.loading import load_class
from runner.execution.method import load_methods
from runner.http2.frames import DATA, END_STREAM, HEADERS, PING, RST_STREAM, WINDOW_UPDATE
from runner.model import instantiate
from runner.processes.shared import SharedWriter, create_pair
from runner.server.assembly import build_catalog, build_engine, build_keyring, build_service
from runner.server.ingress.messages import Call
from runner.server.native import unfinished
from runner.server.native.transport import NativeTransport
from runner.server.service_rpcs import service_rpcs
from runner.server.status import rpc_status
from runner.wire.pb import inference_pb2 as pb
from runner.workers.process import WorkerProcess
from tests.http2.peer import Frame, settings, word
from tests.running import on_loop, turns
from tests.server.ingress.hop import hop
from tests.server.native.serving import Client, Rpcs, Served, http1, served
from tests.workers.served import MODELS

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(sys.platform != "linux", reason="memory without a name, as Linux has it"),
]

ARRAYS = MODELS / "arrays"
SUCCESS = 10_000
MIB = 1 << 20
SIZE = 150_000


# What is there of a request is given back when nobody wants it any more.


def writer_of(size: int = MIB) -> SharedWriter:
    shared, descriptors = create_pair(size)
    for descriptor in descriptors:
        os.close(descriptor)
    return shared.writer


def taken(writer: SharedWriter) -> int:
    writer._sweep()
    return writer._blocks.taken


async def sent(client: Client, *frames: Frame) -> None:
    """Send frames, and wait until the server has seen them."""
    client.write(*frames, Frame(PING, 0, 0, bytes(8)))
    assert await client.next(PING) is not None


@asynccontextmanager
async def half_sent(path: bytes = b"/t/Begun", **options: Any) -> AsyncIterator[tuple[Client, SharedWriter, Served]]:
    """A client that has sent half of a message, which lies in shared memory."""
    writer = writer_of()
    async with served(memory_for=writer.draft, **options) as server:
        client = await Client.connect(server.port)
        client.ask(1, path, end=False)
        await sent(client, *(Frame(DATA, 0, 1, part) for part in (SIZE.to_bytes(5, "big"), bytes(70_000)[:16_000])))
        assert taken(writer) > 0
        yield client, writer, server
        client.close()


@on_loop
async def test_a_client_that_vanishes_halfway_holds_no_memory():
    async with half_sent() as (client, writer, server):
        client.close()
        while server.transport.connections:
            await turns()
        assert taken(writer) == 0


@on_loop
async def test_a_request_that_is_cancelled_halfway_holds_no_memory():
    async with half_sent() as (client, writer, _):
        await sent(client, Frame(RST_STREAM, 0, 1, word(8)))
        assert taken(writer) == 0


@on_loop
async def test_a_request_that_ends_halfway_holds_no_memory():
    async with half_sent() as (client, writer, _):
        client.write(Frame(DATA, END_STREAM, 1, b"x"))
        answer = await client.next(HEADERS)
        assert answer is not None
        assert client.fields(answer)[b"grpc-status"] == b"13"
        assert taken(writer) == 0


@on_loop
async def test_a_request_that_gives_way_to_others_holds_no_memory(monkeypatch):
    async with half_sent() as (client, writer, _):
        monkeypatch.setattr(unfinished, "MAX_ARRIVING_BYTES", 20_000)
        client.write(Frame(DATA, 0, 1, bytes(10_000)))
        answer = await client.next(HEADERS)
        assert answer is not None
        assert client.fields(answer)[b"grpc-status"] == b"8"
        assert taken(writer) == 0


@on_loop
async def test_halves_of_messages_take_no_more_than_their_share_and_calls_go_on():
    async with half_sent() as (client, writer, server):
        for stream in range(3, 43, 2):
            client.ask(stream, b"/t/Begun", end=False)
            await sent(client, Frame(DATA, 0, stream, SIZE.to_bytes(5, "big")))
        assert taken(writer) == 3 * -(-SIZE // 4096)
        async with server.channel() as channel:
            message = bytes(range(250)) * 600
            assert await channel.unary_unary("/t/Begun")(message, timeout=10) == message
        await sent(client, *(Frame(RST_STREAM, 0, stream, word(8)) for stream in range(1, 43, 2)))
        assert taken(writer) == 0


@on_loop
async def test_only_the_requests_of_unary_calls_lie_there():
    writer = writer_of()
    async with served(memory_for=writer.draft) as server:
        client = await Client.connect(server.port)
        client.ask(1, b"/t/Chat", end=False)
        await sent(client, Frame(DATA, 0, 1, SIZE.to_bytes(5, "big")))
        assert taken(writer) == 0
        client.ask(3, b"/t/Begun", end=False)
        await sent(client, Frame(DATA, 0, 3, SIZE.to_bytes(5, "big")))
        assert taken(writer) > 0
        client.close()


# All the way to workers.


class Whole:
    """A model behind the native transport, with the workers that were started so far."""

    def __init__(self) -> None:
        self.workers: list[WorkerProcess] = []
        self.engine: Engine
        self.port = 0

    def host_for(self, placement: Any) -> Any:
        async def start(receiver: Any) -> WorkerProcess:
            worker = await WorkerProcess.spawn(receiver, placement.environment, quiet_turns=0, shared_bytes=8 * MIB)
            self.workers.append(worker)
            return worker

        return start

    @property
    def writers(self) -> list[SharedWriter]:
        return [worker.link.writer for worker in self.workers if worker.link.writer is not None]

    def counts(self) -> tuple[int, int]:
        """Payloads that were given where they lay, and those that were copied."""
        return sum(each.given for each in self.writers), sum(each.copied for each in self.writers)

    async def all_back(self) -> None:
        while any(map(taken, self.writers)):
            await turns()


class Caller:
    """Calls over one connection, by hand: gRPC's threads and a fork for a new worker do not go together."""

    def __init__(self, client: Client) -> None:
        self.client = client
        methods, published = load_methods(instantiate(load_class(ARRAYS), "cpu"))
        self._codecs = {each.name: method.codec for method, each in zip(methods, published, strict=True)}
        self._streams = itertools.count(1, 2)
        self._methods: dict[int, str] = {}
        self._replies: dict[int, bytes] = {}
        client.write(settings((4, 1 << 30)), Frame(WINDOW_UPDATE, 0, 0, word(1 << 30)))

    def ask(self, method: str, **arguments: Any) -> int:
        """Begin a call; return its stream."""
        stream = next(self._streams)
        self._methods[stream], self._replies[stream] = method, b""
        message = pb.PostModelOutputsRequest()
        message.inputs.append(pb.Input.FromString(self._codecs[method].encode_call(arguments)))
        self.client.ask(stream, b"/clarifai.api.V2/PostModelOutputs", message.SerializeToString())
        return stream

    async def answers(self, *streams: int) -> list[Any]:
        """Wait for the answers of calls: values, or what failed in words."""
        left = set(streams)
        while left:
            found = await self.client.next(HEADERS, DATA)
            assert found is not None
            if found.kind == DATA:
                self._replies[found.stream] += found.payload
            else:
                self.client.fields(found)
            if found.flags & END_STREAM:
                left.discard(found.stream)
        return [self._answer(stream) for stream in streams]

    def _answer(self, stream: int) -> Any:
        response = pb.MultiOutputResponse.FromString(self._replies.pop(stream)[5:])
        if response.status.code != SUCCESS:
            return response.status.details or response.status.description
        return self._codecs[self._methods[stream]].decode_output(response.outputs[0].SerializeToString())

    async def call(self, method: str, **arguments: Any) -> Any:
        (answer,) = await self.answers(self.ask(method, **arguments))
        return answer

    async def negate(self, count: int) -> None:
        """Have so many arrays changed in place at once."""
        streams = [self.ask("negate_in_place", array=filled(number)) for number in range(count)]
        answers = await self.answers(*streams)
        assert [int(answer[0]) for answer in answers] == [-number for number in range(count)]
        assert all((answer == answer[0]).all() for answer in answers)


def filled(number: int) -> Any:
    return np.full(SIZE // 4, number, np.int32)


@asynccontextmanager
async def whole(replicas: int = 1) -> AsyncIterator[tuple[Whole, Caller]]:
    under_test = Whole()
    config = ServerConfig(workers=Workers(replicas=replicas, num_threads=4))
    keyring, catalog = build_keyring(config), build_catalog(config)
    under_test.engine = engine = build_engine(config, ARRAYS, under_test.host_for)
    service = build_service(config, engine, keyring, catalog)
    transport = NativeTransport(
        service_rpcs(service),
        max_message_bytes=config.listen.max_message_bytes,
        status_of=rpc_status,
        http1=http1,
        memory_for=engine.memory_for,
    )
    under_test.port = await transport.listen("127.0.0.1", 0)
    try:
        async with engine:
            await engine.started()
            client = await Client.connect(under_test.port)
            yield under_test, Caller(client)
            client.close()
    finally:
        await transport.close()


@on_loop
async def test_an_array_is_read_by_the_worker_where_it_was_received():
    async with whole() as (under_test, caller):
        await caller.negate(1)  # from now on it is known how messages of this length have to lie
        given, copied = under_test.counts()
        for _ in range(5):
            await caller.negate(8)
        assert under_test.counts() == (given + 40, copied)
        assert await caller.call("keep", array=filled(5)) == 0  # the worker's array is not memory of its own
        assert await caller.call("sums") == [5 * SIZE // 4]
        await caller.call("drop")
        await caller.call("echo", array=filled(1))
        await under_test.all_back()


@on_loop
async def test_with_two_workers_what_lies_with_the_other_one_is_copied():
    async with whole(replicas=2) as (under_test, caller):
        for _ in range(6):
            await caller.negate(8)
        given, copied = under_test.counts()
        assert given + copied == 48
        assert given > 0
        await under_test.all_back()


@on_loop
async def test_a_method_that_may_run_again_gets_a_copy(tmp_path):
    """The first worker has changed it, and died."""
    async with whole() as (under_test, caller):
        await caller.call("echo", array=filled(1))
        answer = await caller.call("die_once", array=filled(5), mark=str(tmp_path / "died"))
        assert (answer == 6).all()
        assert len(under_test.workers) == 2


@on_loop
async def test_a_worker_that_dies_with_what_it_holds_costs_nobody_else_anything():
    async with whole() as (under_test, caller):
        held = [caller.ask("hold", array=filled(number)) for number in range(4)]
        journal = under_test.workers[0].journal
        while [journal.mark_of(call.wire_id) for call in under_test.engine._traffic.calls.values()] != [Mark.RUNS] * 4:
            await turns()
        half = await Client.connect(under_test.port)  # its message lies with the worker that dies
        half.ask(1, b"/clarifai.api.V2/PostModelOutputs", end=False)
        await sent(half, Frame(DATA, 0, 1, SIZE.to_bytes(5, "big") + bytes(1000)))
        os.kill(under_test.workers[0].pid, signal.SIGKILL)
        assert all("worker" in answer for answer in await caller.answers(*held))
        await caller.call("echo", array=filled(1))  # waits for the next worker
        assert len(under_test.workers) == 2
        await caller.negate(8)
        half.close()
        await under_test.all_back()


@on_loop
async def test_an_ingress_process_lays_a_request_where_the_main_process_reads_it():
    rpcs = Rpcs()
    async with hop(rpcs.table(), shared_bytes=8 * MIB) as between:
        writer = between._link._writer
        assert writer is not None
        transport = NativeTransport(
            between.remote.rpcs,
            max_message_bytes=MIB,
            status_of=rpc_status,
            http1=http1,
            memory_for=between._link.draft,
        )
        server = Served(transport, rpcs, await transport.listen("127.0.0.1", 0))
        message = bytes(range(250)) * (SIZE // 250)
        async with server.channel() as channel:
            for _ in range(3):
                assert await channel.unary_unary("/t/Begun")(message, timeout=10) == message
        assert (writer.given, writer.copied) == (3, 0)
        assert all(isinstance(call, Call) for call in between.sent)
        between.sent.clear()
        while taken(writer):
            await turns()
        await transport.close()
