"""The official client's asyncio side, in an interpreter of its own: it keeps one grpc.aio loop per process.

A unary call is awaited twice: the first await gives the call, the second its answer. A stream is awaited once.
"""

from __future__ import annotations

import json

import pytest

pytestmark = pytest.mark.real

PROGRAM = """
import asyncio, json, time
from clarifai.client import Model

async def main():
    model = Model(url="MODEL_URL_HERE")
    client = model.async_client
    started = time.monotonic()
    answer = {
        "echo": await (await client.echo(text="from a loop")),
        "batch": await (await client.fail_if_odd([{"number": 0}, {"number": 2}])),
        "together": await asyncio.gather(*[await client.meet(parties=8) for _ in range(8)]),
        "stream": [item async for item in await client.usage_stream(text="ab")],
    }
    answer["seconds"] = time.monotonic() - started
    print(json.dumps(answer))

asyncio.run(main())
"""


def test_asyncio(run_page_alone, serve):
    answer = json.loads(run_page_alone(PROGRAM, serve("misbehaving")).splitlines()[-1])
    assert answer["echo"] == "from a loop"
    assert answer["batch"] == [0, 2]
    assert sorted(answer["together"]) == list(range(8))
    assert answer["stream"] == ["a", "b", "!"]
    assert answer["seconds"] < 5
