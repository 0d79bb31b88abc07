"""Lists of inputs for batched methods, by each transport: the same reply from all, which says of each input what a call
of that input alone is told.

The service, an engine and a model are in this process. Lists are made by Hypothesis, in every way of writing them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from runner import Batch, ModelClass
from runner.config import load_server_config
from runner.errors import InvalidInput
from runner.execution.method import load_methods
from runner.model import instantiate
from runner.server.assembly import build_catalog, build_engine, build_keyring, build_service, inline_host
from runner.server.service_rpcs import service_rpcs
from runner.wire import run, varint
from runner.wire.pb import inference_pb2 as pb
from tests.real.two_transports import Answer, Client, Side, body, cut
from tests.running import fresh_loop

pytestmark = pytest.mark.real

ANSWER_WITHIN = 20.0
LIMIT = 8 << 20  # bytes of a message


class Model(ModelClass):
    @ModelClass.method(max_batch_size=4, idempotent=True)
    def predict(self, text: Batch[str], mark: str = "!") -> Batch[str]:
        if "raise" in text:
            raise ValueError("raised")
        return [InvalidInput("it is bad", path="text") if each == "bad" else each.upper() + mark for each in text]

    @ModelClass.method(max_batch_size=64, idempotent=True)
    def double(self, row: Batch[np.ndarray]) -> Batch[np.ndarray]:
        if (row < 0).any():
            raise ValueError("below zero")
        return row * 2


CODECS = {method.name: method.codec for method in load_methods(instantiate(Model, "cpu"))[0]}


# --- Lists ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Listed:
    """A list, as it is written.

    Attributes:
        inputs: serialized. Each names its method, or is of an old client, who means the same.
        gap: another field stands between the first input and the others.
        longer: lengths are written in more bytes than they need.
        sizes: of the DATA frames.
    """

    inputs: Sequence[bytes]
    gap: bool = False
    longer: bool = False
    sizes: tuple[int, ...] = ()

    def __repr__(self) -> str:
        inputs = [each if len(each) < 200 else f"{len(each)} bytes" for each in self.inputs]
        return f"Listed({inputs}, gap={self.gap}, longer={self.longer}, sizes={self.sizes})"

    def request(self) -> bytes:
        pieces: list[bytes] = []
        for message in self.inputs:
            length = varint.encode(len(message))
            if self.longer:
                length = length[:-1] + bytes((length[-1] | 0x80, 0x80, 0))
            pieces.append(run.INPUT_TAG + length + message)
        if self.gap:
            pieces.insert(1, b"\x1a\x01v")  # version_id
        return b"".join(pieces)


def text(value: str, **more: str) -> bytes:
    return CODECS["predict"].encode_call({"text": value, **more})


def row(*numbers: float, dtype: str = "float32") -> bytes:
    return CODECS["double"].encode_call({"row": np.array(numbers, dtype)})


def turned(message: bytes) -> bytes:
    """Return an input with the same meaning: its parts before its metadata, and in two pieces of data."""
    parsed = pb.Input.FromString(message)
    parts, rest = pb.Input(), pb.Input()
    parts.data.parts.extend(parsed.data.parts)
    rest.data.metadata.CopyFrom(parsed.data.metadata)
    return parts.SerializeToString() + rest.SerializeToString()


def old(value: str) -> bytes:
    message = pb.Input()
    message.data.text.raw = value
    return message.SerializeToString()


UNKNOWN = b"\xfa\x7f\x01x"  # a field that nobody knows
HEAD = pb.Input.FromString(text(""))
HEAD.data.ClearField("parts")
NAMED = HEAD.SerializeToString()
BROKEN = NAMED + b"\x12\x03\x9a\x01\x05"  # a part that ends too soon

WORDS = st.sampled_from(["one", "two", "bad", "raise", "", "six", "é", "x3000", "y3000", "z40000"]).map(
    lambda word: word[0] * int(word[1:]) if word[1:].isdecimal() else word
)
TEXTS = st.one_of(
    WORDS.map(text),
    WORDS.map(text),
    st.builds(lambda word: text(word, mark="?"), WORDS),
    WORDS.map(lambda word: turned(text(word))),
    WORDS.map(lambda word: text(word) + UNKNOWN),
    WORDS.map(old),
    st.just(NAMED),
    st.just(BROKEN),
    st.just(text("a") + text("b")),  # an argument given twice
)
NUMBERS = st.lists(st.sampled_from([0.0, 1.5, -1.0, 3.0]), min_size=2, max_size=3)
ROWS = st.one_of(
    NUMBERS.map(lambda numbers: row(*numbers)),
    NUMBERS.map(lambda numbers: row(*numbers)),
    NUMBERS.map(lambda numbers: row(*numbers, dtype="float64")),
    NUMBERS.map(lambda numbers: turned(row(*numbers))),
    st.integers(0, 3).map(lambda number: row(*[float(number)] * 9000)),
    st.just(row()),
    st.just(CODECS["double"].encode_call({"row": np.float16(1.5)})),
)
SIZES = st.lists(st.integers(0, 12) | st.integers(0, 10_000), max_size=4).map(tuple)
LISTS = st.builds(
    Listed,
    # Of the first input the server reads the method.
    st.lists(TEXTS, min_size=2, max_size=10).filter(lambda inputs: inputs[0] != BROKEN)
    | st.lists(ROWS, min_size=2, max_size=10),
    gap=st.booleans(),
    longer=st.booleans(),
    sizes=SIZES,
)


# --- What serves and calls --------------------------------------------------------------------------------------------


class Everybody:
    """A model behind each of the transports, and a client of each."""

    async def serve(self) -> None:
        """Serve until `stop` is set, once `clients` are there."""
        config = load_server_config()
        async with build_engine(config, None, inline_host(lambda: Model)) as engine:
            await engine.started()
            rpcs = service_rpcs(build_service(config, engine, build_keyring(config), build_catalog(config)))
            sides = [Side(name, rpcs, LIMIT) for name in ("native", "behind", "grpcio")]
            self.clients = [Client() for _ in sides]
            for side, client in zip(sides, self.clients, strict=True):
                await side.listen()
                await client.connect(side.port)
            self.ready.set()
            await self.stop.wait()
            assert not engine._traffic.calls
            for side, client in zip(sides, self.clients, strict=True):
                await client.close()
                await side.close()

    async def start(self) -> None:
        self.ready, self.stop = asyncio.Event(), asyncio.Event()
        self.serving = asyncio.create_task(self.serve())
        ready = asyncio.create_task(self.ready.wait())
        await asyncio.wait((ready, self.serving), return_when=asyncio.FIRST_COMPLETED)
        if self.serving.done():
            self.serving.result()

    async def end(self) -> None:
        self.stop.set()
        await self.serving

    async def replies(self, dialect: str, listed: Listed) -> list[Answer]:
        """Send a list by each transport, one after the other."""
        return [await _call(client, dialect, listed) for client in self.clients]

    async def alone(self, inputs: Sequence[bytes]) -> list[pb.MultiOutputResponse]:
        """Send each input by itself."""
        answers = [await _call(self.clients[0], CLARIFAI, Listed([each])) for each in inputs]
        return [pb.MultiOutputResponse.FromString(answer.messages[0]) for answer in answers]


CLARIFAI, NATIVE = "clarifai.api.V2", "runner.v1.Inference"


async def _call(client: Client, dialect: str, listed: Listed) -> Answer:
    async with asyncio.timeout(ANSWER_WITHIN):
        call = client.open(f"/{dialect}/PostModelOutputs")
        *pieces, last = cut(body(listed.request()), listed.sizes)
        for piece in pieces:
            await call.send(piece)
        await call.send(last, end=True)
        await call.over
    call.answer.metadata.clear()  # times
    return call.answer


@pytest.fixture(scope="module")
def everybody() -> Iterator[tuple[asyncio.Runner, Everybody]]:
    with fresh_loop() as runner:
        everybody = Everybody()
        runner.run(everybody.start())
        yield runner, everybody
        runner.run(everybody.end())


@pytest.fixture(scope="module")
def replies(everybody) -> Callable[[str, Listed], list[Answer]]:
    runner, all_of_them = everybody
    return lambda dialect, listed: runner.run(all_of_them.replies(dialect, listed))


@pytest.fixture(scope="module")
def alone(everybody) -> Callable[[Sequence[bytes]], list[pb.MultiOutputResponse]]:
    runner, all_of_them = everybody
    return lambda inputs: runner.run(all_of_them.alone(inputs))


@settings(max_examples=80, deadline=None)
@given(LISTS, st.sampled_from([CLARIFAI, NATIVE]))
@example(Listed([text(word) for word in ("one", "bad", "two", "six", "one")]), CLARIFAI)
@example(Listed([row(1.0, 2.0), row(-1.0, 2.0), row(3.0, 4.0)]), NATIVE)
@example(Listed([row(*[1.0] * 9000)] * 12), CLARIFAI)
@example(Listed([NAMED] * 3), CLARIFAI)
def test_every_input_is_answered_as_if_it_were_alone_by_every_transport(replies, alone, listed, dialect):
    native, behind, grpcio = replies(dialect, listed)
    assert native == behind == grpcio
    (message,) = native.messages
    outputs = pb.MultiOutputResponse.FromString(message).outputs
    for sent, output, single in zip(listed.inputs, outputs, alone(listed.inputs), strict=True):
        assert output.status.code == single.status.code
        if single.outputs:
            assert output == single.outputs[0]
        elif sent != BROKEN:  # which the server finds out where it is alone, in other words
            assert output.status.description == single.status.description
