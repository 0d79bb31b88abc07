"""The HTTP application: a request in, a response out. Knows nothing of sockets, or of how HTTP is written.

/livez      the process answers; restart it if it does not
/startupz   every replica has been ready once
/readyz     a new call would be accepted; the text says why not
/metrics    what the model has done so far, for Prometheus, where that is to be told
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from runner.server.fitness import Fitness
from runner.server.metrics import CONTENT_TYPE, exposition
from runner.statistics import EngineStatistics, IngressStatistics


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpRequest:
    """What a client asks. `path`: without the query, as it was sent. Header names are in lower case."""

    method: str
    path: str
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpResponse:
    """What it is told. Length and date are added by whoever sends it."""

    status: int = 200
    body: bytes = b""
    content_type: str = "text/plain; charset=utf-8"
    headers: tuple[tuple[str, str], ...] = field(default=())


_PATHS = ("/livez", "/readyz", "/startupz")


class HttpApp:
    """Answers at once, whatever it is asked.

    Args:
        fitness: of the server.
        statistics: returns what the model has done; None: whoever asks here is not told.
        ingress: returns how the ingress processes are, if there are some.
    """

    def __init__(
        self,
        fitness: Fitness,
        statistics: Callable[[], EngineStatistics] | None = None,
        ingress: Callable[[], IngressStatistics] | None = None,
    ) -> None:
        self._fitness = fitness
        self._statistics = statistics
        self._ingress = ingress

    def answer(self, request: HttpRequest) -> HttpResponse:
        """Return the response to a request. Never raises."""
        metrics = request.path == "/metrics"
        if metrics and self._statistics is None:
            return _text(404, "metrics are at the port that http_port names")
        if request.path not in _PATHS and not metrics:
            paths = _PATHS if self._statistics is None else (*_PATHS, "/metrics")
            return _text(404, f"there is {', '.join(paths)}; calls are made over gRPC")
        if request.method not in ("GET", "HEAD"):
            return HttpResponse(status=405, body=b"GET and HEAD only\n", headers=(("allow", "GET, HEAD"),))
        if metrics and self._statistics is not None:
            ingress = None if self._ingress is None else self._ingress()
            return HttpResponse(body=exposition(self._statistics(), ingress).encode(), content_type=CONTENT_TYPE)
        match request.path:
            case "/livez":
                return _text(200, "ok")
            case "/startupz":
                return _text(200, "ok") if self._fitness.started else self._not_yet()
            case _:
                return _text(200, "ok") if self._fitness.ready else self._not_yet()

    def _not_yet(self) -> HttpResponse:
        return _text(503, self._fitness.condition.value)


def _text(status: int, text: str) -> HttpResponse:
    # Whoever asks wants to know how it is now.
    return HttpResponse(status=status, body=f"{text}\n".encode(), headers=(("cache-control", "no-store"),))
