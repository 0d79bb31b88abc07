"""A service in front of an engine with scripted workers, and the messages that clients send it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from runner.api_keys import as_keys
from runner.config import ModelIdentity
from runner.limits import CallerLimits
from runner.server.access import Access
from runner.server.catalog import Catalog
from runner.server.keyring import Keyring
from runner.server.rpcs import CallInfo
from runner.server.service import Service, ServiceOptions
from runner.signature.dialect import Dialect
from runner.wire.pb import inference_pb2 as pb
from runner.workers.messages import Call
from tests.engine.scripted import Scripted, ScriptedWorker, scripted
from tests.running import one_by_one

CLARIFAI, NATIVE = Dialect.CLARIFAI, Dialect.NATIVE
PLAIN = CallInfo()


def request(method: str | None, *texts: str) -> bytes:
    """Return a request with one input for each text."""
    message = pb.PostModelOutputsRequest()
    for text in texts:
        data = message.inputs.add().data
        data.parts.add(id="text", data=pb.Data(string_value=text))
        if method is not None:
            data.metadata["_method_name"] = method
    return message.SerializeToString()


def output(text: str) -> bytes:
    """Return what a worker answers."""
    return pb.Output(
        status=pb.Status(code=10000), data=pb.Data(parts=[pb.Part(id="return", data=pb.Data(string_value=text))])
    ).SerializeToString()


def text_of(call: Call) -> str:
    """Return the text that a call was made with."""
    return pb.Input.FromString(bytes(call.payload)).data.parts[0].data.string_value


class Reply:
    """A reply, in short."""

    def __init__(self, data: bytes) -> None:
        message = pb.MultiOutputResponse.FromString(data)
        self.code = message.status.code
        self.description = message.status.description
        self.details = message.status.details
        self.message = message
        self.texts = [each.data.parts[0].data.string_value if each.data.parts else "" for each in message.outputs]
        self.codes = [each.status.code for each in message.outputs]
        self.kinds = [each.status.developer_notes for each in message.outputs]
        self.paths = [each.status.internal_details for each in message.outputs]

    def __repr__(self) -> str:
        return f"<Reply {self.code} {self.description!r} {self.texts} {self.codes}>"


class Desk:
    """The four ways into a service."""

    def __init__(self, under_test: Scripted, service: Service) -> None:
        self.scripted = under_test
        self.engine = under_test.engine
        self.service = service

    @property
    def worker(self) -> ScriptedWorker:
        return self.scripted.workers[-1]

    def post(self, message: bytes, dialect: Dialect = CLARIFAI, call: CallInfo = PLAIN) -> asyncio.Task[Reply]:
        async def answered() -> Reply:
            return Reply(await self.service.unary(dialect, "PostModelOutputs", message, call))

        return asyncio.ensure_future(answered())

    async def generate(
        self, message: bytes, dialect: Dialect = CLARIFAI, call: CallInfo = PLAIN
    ) -> AsyncIterator[Reply]:
        async for data in one_by_one(self.service.server_stream(dialect, "GenerateModelOutputs", message, call)):
            yield Reply(data)

    async def chat(
        self, requests: AsyncIterator[bytes], dialect: Dialect = CLARIFAI, call: CallInfo = PLAIN
    ) -> AsyncIterator[Reply]:
        async for data in one_by_one(self.service.bidi(dialect, "StreamModelOutputs", requests, call)):
            yield Reply(data)

    def collect(self, requests: AsyncIterator[bytes], dialect: Dialect = NATIVE) -> asyncio.Task[Reply]:
        async def answered() -> Reply:
            return Reply(await self.service.client_stream(dialect, "CollectModelOutputs", requests, CallInfo()))

        return asyncio.ensure_future(answered())


class Typing:
    """A client's stream of requests, which the test writes as it goes."""

    def __init__(self, *messages: bytes) -> None:
        self._queue: asyncio.Queue[bytes | Exception | None] = asyncio.Queue()
        self.taken = 0
        for message in messages:
            self.write(message)

    def write(self, message: bytes | Exception) -> None:
        self._queue.put_nowait(message)

    def done(self) -> Typing:
        self._queue.put_nowait(None)
        return self

    def __aiter__(self) -> Typing:
        return self

    async def __anext__(self) -> bytes:
        message = await self._queue.get()
        if message is None:
            raise StopAsyncIteration
        if isinstance(message, Exception):
            raise message
        self.taken += 1
        return message


@asynccontextmanager
async def desk(
    *,
    ready: bool = True,
    keys: Sequence[object] = (),
    callers: CallerLimits | None = None,
    strict_ids: bool = False,
    max_message_bytes: int = 1 << 20,
    max_loading_wait: float = 60.0,
    max_loading_calls: int = 10,
    hide_model_errors: bool = False,
    debug: bool = False,
    **options: object,
) -> AsyncIterator[Desk]:
    """Run a service."""
    async with scripted(ready=ready, **options) as under_test:
        service = Service(
            under_test.engine,
            Catalog(ModelIdentity(id="m", user_id="u", app_id="a"), strict_ids=strict_ids),
            Access(Keyring(as_keys("keys", keys)), "m", callers or CallerLimits()),
            ServiceOptions(
                max_message_bytes=max_message_bytes,
                max_loading_wait=max_loading_wait,
                max_loading_calls=max_loading_calls,
                hide_model_errors=hide_model_errors,
                debug=debug,
            ),
        )
        yield Desk(under_test, service)
