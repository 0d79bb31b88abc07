"""Batches behind a real server: filled by many callers, shared fairly, and spread over replicas."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from runner.client import AsyncModel, Model
from runner.errors import ModelNotFound
from tests.running import run_on_fresh_loop

pytestmark = pytest.mark.real


@pytest.fixture
def server(serve):
    return serve("batches")


@pytest.fixture
def base_url(server):
    return server.base_url


def test_callers_share_batches(base_url):
    with ThreadPoolExecutor(32) as pool, Model(base_url=base_url) as model:
        answers = list(pool.map(lambda n: model.slow(str(n)), range(64)))
    words = [answer.split() for answer in answers]
    assert [word[0] for word in words] == [str(n) for n in range(64)]
    sizes = [int(word[2]) for word in words]
    assert max(sizes) == 8
    assert sum(1 / size for size in sizes) <= 32  # batches: at most half as many as calls


def test_a_list_of_inputs_fills_batches(base_url):
    with Model(base_url=base_url) as model:
        answers = model.slow([{"text": str(n)} for n in range(16)])
        assert [answer.split()[2] for answer in answers] == ["8"] * 16
        rows = [{"row": np.full(3, float(n))} for n in range(10)]
        assert model.norm(rows) == pytest.approx([np.sqrt(3.0) * n for n in range(10)])
        assert {method.name: method.ended for method in model.statistics().methods}["norm"] >= 10


def test_the_official_client_sees_one_item(server, open_model):
    model = open_model(server)
    assert model.slow(text="a").startswith("a of ")
    assert [answer.split()[2] for answer in model.slow([{"text": "a"}, {"text": "b"}])] == ["2", "2"]
    assert list(model.spell(word="abc")) == ["a", "b", "c"]


def test_streams_share_a_generator(base_url):
    async def run() -> list[list[str]]:
        async with AsyncModel(base_url=base_url) as model:
            await model.available_methods()

            async def spelt(word: str) -> list[str]:
                return [letter async for letter in model.spell(word)]

            return await asyncio.gather(*map(spelt, ("one", "three", "")))

    assert run_on_fresh_loop(run()) == [list("one"), list("three"), []]


def test_steps_of_streams_run_together(base_url):
    async def run() -> list[list[str]]:
        async with AsyncModel(base_url=base_url) as model:
            await model.available_methods()

            async def counted(start: int) -> list[str]:
                return [item async for item in model.count(start, 20)]

            return await asyncio.gather(*(counted(100 * n) for n in range(12)))

    streams = run_on_fresh_loop(run())
    assert [[int(item.split()[0]) for item in items] for items in streams] == [
        [100 * n + step for step in range(1, 21)] for n in range(12)
    ]
    sizes = Counter(int(item.split()[2]) for items in streams for item in items)
    assert sizes.most_common(1)[0][0] >= 8  # no alternating halves, but for the way in and out


def test_timing_tells_the_batch(base_url):
    with Model(base_url=base_url) as model:
        _, times = model.method("slow").timed("x")
        stream = model.spell("word")
        assert "".join(stream) == "word"
    assert times["batch"] >= 1
    assert times["run"] >= 50
    assert stream.times["batch"] >= 1
    assert stream.times["run"] > 0


def test_the_last_batch_says_why_it_left(base_url):
    with Model(base_url=base_url) as model:
        model.norm([{"row": np.ones(3, np.float32)} for _ in range(64)])
        while not (points := [point for point in model.statistics().points if point.name == "norm"]):
            pass  # the worker tells of its batches ten times a second
    (batch,) = (point.latest for point in points)
    assert batch is not None
    assert batch.reason in ("idle", "full")
    assert 1 <= batch.size == batch.cost <= 64
    assert len(batch.key) == 8
    assert batch.seconds > 0


def test_a_caller_who_floods_gets_no_more_than_a_fair_share(launch, config_file):
    server = launch("batches", "--config", config_file("keys: [flood, other]\n"))
    server.wait_ready()
    with Model(base_url=server.base_url, pat="other") as other:
        other.slow("warm")
        alone = latencies(other, 20)
        stop = threading.Event()
        flood = threading.Thread(target=flooding, args=(server.base_url, stop))
        flood.start()
        try:
            while other.statistics().waiting_calls < 50:
                other.slow("the flood has not yet begun")
            under_flood = latencies(other, 20)
        finally:
            stop.set()
            flood.join(30)
    # The batch that runs, two of credit, and its own. Of twenty the slowest is the p99.
    assert max(under_flood) <= 4.5 * max(alone)


def latencies(model: Model, calls: int) -> list[float]:
    seen: list[float] = []
    for number in range(calls):
        started = time.perf_counter()
        model.slow(str(number))
        seen.append(time.perf_counter() - started)
    return seen


def flooding(base_url: str, stop: threading.Event) -> None:
    async def run() -> None:
        async with AsyncModel(base_url=base_url, pat="flood") as model:
            await model.available_methods()

            async def lane() -> None:
                while not stop.is_set():
                    await model.slow("flood")

            await asyncio.gather(*(lane() for _ in range(100)))

    run_on_fresh_loop(run())


def test_deployments_have_replicas_of_their_own(launch, config_file):
    config = config_file(
        "deployments:\n"
        "  - {id: one, devices: cpu, replicas: 1}\n"
        "  - {id: two, nodepool: pool, compute_cluster: here, devices: cpu, replicas: 1}\n"
    )
    server = launch("batches", "--config", config)
    server.wait_ready()

    def worker(**selector: str) -> str:
        with Model(base_url=server.base_url, **selector) as model:
            return model.slow("x").split()[-1]

    one, two = worker(deployment_id="one"), worker(deployment_id="two")
    assert one != two
    assert worker(nodepool_id="pool", compute_cluster_id="here") == two
    assert worker() in (one, two)
    with pytest.raises(ModelNotFound, match="deployment 'three'"):
        worker(deployment_id="three")
