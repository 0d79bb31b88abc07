from __future__ import annotations

import pytest

from runner.server.fitness import Fitness
from runner.server.http_app import HttpApp, HttpRequest
from runner.statistics import EngineStatistics, Latency

RECORD = EngineStatistics(
    at=1.0,
    waiting_calls=0,
    waiting_bytes=0,
    tasks=3,
    cancel_latency_seconds=Latency(count=0, total=0.0, p50=0.0, p99=0.0, longest=0.0),
    lanes=(),
    replicas=(),
    methods=(),
    points=(),
)


def ask(fitness: Fitness, path: str, method: str = "GET") -> tuple[int, str]:
    response = HttpApp(fitness).answer(HttpRequest(method=method, path=path))
    return response.status, response.body.decode().strip()


def test_live_started_and_ready_are_three_things() -> None:
    fitness = Fitness()
    paths = ("/livez", "/startupz", "/readyz")
    assert [ask(fitness, path) for path in paths] == [
        (200, "ok"),
        (503, "the model is loading"),
        (503, "the model is loading"),
    ]
    fitness.set_ready(True)
    assert [ask(fitness, path) for path in paths] == [(200, "ok")] * 3
    fitness.set_ready(False)
    assert [ask(fitness, path)[0] for path in paths] == [200, 200, 503]
    fitness.drain()
    assert [ask(fitness, path) for path in paths] == [
        (200, "ok"),
        (200, "ok"),
        (503, "the server is shutting down"),
    ]


@pytest.mark.parametrize("path", ["/", "", "/livez/", "/../livez", "*", "/\xff", "http://x/livez"])
def test_there_is_nothing_else(path: str) -> None:
    status, text = ask(Fitness(), path)
    assert status == 404
    assert "/livez, /readyz, /startupz" in text


def test_metrics_where_they_are_told() -> None:
    app = HttpApp(Fitness(), lambda: RECORD)
    response = app.answer(HttpRequest(method="GET", path="/metrics"))
    assert (response.status, response.content_type) == (200, "text/plain; version=0.0.4; charset=utf-8")
    assert b"\nrunner_waiting_calls 0\n" in response.body
    assert app.answer(HttpRequest(method="POST", path="/metrics")).status == 405


def test_metrics_say_where_they_are() -> None:
    assert ask(Fitness(), "/metrics") == (404, "metrics are at the port that http_port names")


def test_methods() -> None:
    assert ask(Fitness(), "/livez", "HEAD")[0] == 200
    response = HttpApp(Fitness()).answer(HttpRequest(method="POST", path="/livez"))
    assert response.status == 405
    assert ("allow", "GET, HEAD") in response.headers
