from __future__ import annotations

import pytest

from runner.server.fitness import Fitness
from runner.server.http_app import HttpApp, HttpRequest


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


def test_metrics_say_where_they_are() -> None:
    assert ask(Fitness(), "/metrics") == (
        404,
        "there are no metrics over HTTP; `runner top` shows what the server does",
    )


def test_methods() -> None:
    assert ask(Fitness(), "/livez", "HEAD")[0] == 200
    response = HttpApp(Fitness()).answer(HttpRequest(method="POST", path="/livez"))
    assert response.status == 405
    assert ("allow", "GET, HEAD") in response.headers
