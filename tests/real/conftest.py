"""Real servers in processes of their own, spoken to over real sockets.

A server is started once per model and flags and serves the rest of the session. Each one must take SIGTERM and exit 0:
the last test of the session fails if one does not.
"""

from __future__ import annotations

import contextlib
import io
import os
import queue
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.official import require_sdk

MODELS = Path(__file__).parent / "models"
START_TIMEOUT = 30.0  # seconds until the `serving` line; a loaded machine imports slowly
STOP_TIMEOUT = 10.0
MODEL_URL = "https://clarifai.com/openai/chat-completion/models/o4-mini"
PAT = "a-test-pat"
TRANSPORT = ["--transport", os.environ["RUNNER_TEST_TRANSPORT"]] if "RUNNER_TEST_TRANSPORT" in os.environ else []
"""flags: the same tests pass on either transport."""
INGRESS = ["--ingress", os.environ["RUNNER_TEST_INGRESS"]] if "RUNNER_TEST_INGRESS" in os.environ else []
"""flags: and with ingress processes."""


class ServerProcess:
    """`runner serve` as a subprocess. Its stdout is read by a thread, so that a chatty model never blocks on a pipe."""

    def __init__(self, model_dir: Path, *flags: str) -> None:
        # Ingress processes go with the native transport only.
        ingress = [] if "grpcio" in flags else INGRESS
        transport = [] if "--ingress" in flags else TRANSPORT
        command = [sys.executable, "-m", "runner", "serve", str(model_dir), "--port", "0", *transport, *ingress, *flags]
        self._stderr = tempfile.TemporaryFile("w+")  # noqa: SIM115  read when something fails, closed with the process
        # A process group of its own, as a terminal gives a command: signals to the group reach the workers too.
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=self._stderr, text=True, process_group=0
        )
        self._lines: queue.Queue[str | None] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.port = 0

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put(line)
        self._lines.put(None)

    def wait_ready(self, timeout: float = START_TIMEOUT) -> None:
        """Read stdout up to the line `serving <model> on <host>:<port>`."""
        deadline = time.monotonic() + timeout
        while True:
            try:
                line = self._lines.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                raise AssertionError(f"no `serving` line within {timeout} s\n{self.stderr}") from None
            if line is None:
                raise AssertionError(f"the server exited with {self.process.wait()}\n{self.stderr}")
            if match := re.fullmatch(r"serving (\S+) on (\S+):(\d+)\n", line):
                self.port = int(match[3])
                return

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def base_url(self) -> str:
        return f"http://{self.address}"

    @property
    def pid(self) -> int:
        return self.process.pid

    def worker_pids(self) -> list[int]:
        """Return its workers."""
        return self.children("runner.workers.child")

    def ingress_pids(self) -> list[int]:
        """Return its ingress processes."""
        return self.children("runner.server.ingress.child")

    def children(self, module: str) -> list[int]:
        """Return the processes that the server has started and that run this module, as the kernel tells them."""
        files = Path(f"/proc/{self.pid}/task").glob("*/children")
        pids = [int(pid) for file in files for pid in file.read_text().split()]
        return [pid for pid in pids if module in Path(f"/proc/{pid}/cmdline").read_text().split("\0")]

    @property
    def stderr(self) -> str:
        self._stderr.seek(0)
        return self._stderr.read()

    def terminate(self) -> int:
        """Send SIGTERM and return the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.wait()

    def wait(self, timeout: float = STOP_TIMEOUT) -> int:
        """Return the exit code; a server that does not end is killed and fails the test."""
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"the server did not exit within {timeout} s\n{self.stderr}") from None
        finally:
            self._reader.join(timeout=STOP_TIMEOUT)

    def close(self) -> None:
        """Let go of what the process has printed."""
        assert self.process.stdout is not None
        self.process.stdout.close()
        self._stderr.close()


ServeFixture = Callable[..., ServerProcess]


@pytest.fixture(scope="session")
def serve() -> Iterator[ServeFixture]:
    """Return the server of one model of `models/` with these flags, started on first use."""
    servers: dict[tuple[str, ...], ServerProcess] = {}

    def start(model: str, *flags: str) -> ServerProcess:
        key = (model, *flags)
        if key not in servers or servers[key].process.poll() is not None:
            servers[key] = ServerProcess(MODELS / model, *flags)
            servers[key].wait_ready()
        return servers[key]

    yield start
    # All are asked before any is awaited: they drain side by side.
    for server in servers.values():
        if server.process.poll() is None:
            server.process.send_signal(signal.SIGTERM)
    codes = {" ".join(key): server.wait() for key, server in servers.items()}
    for server in servers.values():
        server.close()
    assert not any(codes.values()), f"exit codes after SIGTERM: {codes}"


@pytest.fixture
def launch() -> Iterator[ServeFixture]:
    """Start a server that belongs to this test alone, without waiting for it; killed afterwards if it still runs."""
    started: list[ServerProcess] = []

    def start(model: str | Path, *flags: str) -> ServerProcess:
        started.append(ServerProcess(MODELS / model, *flags))
        return started[-1]

    yield start
    for server in started:
        if server.process.poll() is None:
            server.process.kill()
        server.wait()
        server.close()


@pytest.fixture
def config_file(tmp_path: Path) -> Callable[[str], str]:
    """Return the path of a server configuration with this YAML text."""

    def write(text: str) -> str:
        path = tmp_path / "config.yaml"
        path.write_text(text)
        return str(path)

    return write


@pytest.fixture(scope="session")
def open_model():
    """Return the official client's `Model` for a server."""
    require_sdk()
    from clarifai.client import Model

    def open(server: ServerProcess, **kwargs: object) -> Model:
        return Model(url=MODEL_URL, base_url=server.base_url, pat=PAT, **kwargs)

    return open


def _photo(background: tuple[int, int, int], cat: tuple[int, int, int]) -> bytes:
    """Return a JPEG of 64 × 48 pixels: a coloured animal-sized blot before a wall."""
    from PIL import Image, ImageDraw

    image = Image.new("RGB", (64, 48), background)
    ImageDraw.Draw(image).ellipse((12, 8, 52, 40), fill=cat)
    file = io.BytesIO()
    image.save(file, "JPEG")
    return file.getvalue()


CAT = _photo((120, 90, 60), (230, 140, 40))
TRAIN = _photo((90, 110, 140), (40, 60, 200))


class _Samples(BaseHTTPRequestHandler):
    """The files the public page loads from samples.clarifai.com, under the same paths."""

    files = {
        "/cat1.jpeg": (CAT, "image/jpeg"),
        "/cat2.jpeg": (CAT, "image/jpeg"),
        "/metro-north.jpg": (TRAIN, "image/jpeg"),
        "/featured-models/redpajama-economic.txt": (b"Prices rise when money is plenty.\n", "text/plain"),
    }

    def do_GET(self) -> None:
        body, content_type = self.files.get(self.path, (b"", ""))
        self.send_response(200 if body else 404)
        self.send_header("content-type", content_type)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture(scope="session")
def samples() -> Iterator[str]:
    """Return the base URL of a loopback HTTP server with the page's pictures."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Samples)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="session")
def cat() -> bytes:
    """Return a JPEG of 64 × 48 pixels that the stub classifier takes for a cat."""
    return CAT


@pytest.fixture
def run_page(samples: str, cat: bytes, tmp_path: Path):
    """Run a snippet of the public page in this process and return what it printed.

    Only URL, base and PAT are changed, and where its pictures come from.
    """
    require_sdk()
    picture = tmp_path / "image.jpg"
    picture.write_bytes(cat)

    def run(snippet: str, server: ServerProcess) -> str:
        snippet = snippet.replace("YOUR_PAT_HERE", PAT).replace("https://samples.clarifai.com", samples)
        snippet = snippet.replace("path/to/your/image.jpg", str(picture))
        snippet = re.sub(r'url="(MODEL_URL_HERE|https://clarifai.com/[^"]+)"', f'url="{MODEL_URL}"', snippet)
        snippet = re.sub(r"Model\((?=.)", f'Model(base_url="{server.base_url}", ', snippet, flags=re.DOTALL)
        printed = io.StringIO()
        environment = dict(os.environ)
        try:
            with contextlib.redirect_stdout(printed):
                exec(compile(snippet, "<snippet>", "exec"), {"__name__": "__main__"})
        finally:
            os.environ.clear()
            os.environ.update(environment)
        return printed.getvalue()

    return run


@pytest.fixture
def run_page_alone(samples: str):
    """Run a snippet in an interpreter of its own whose default base is the server: some clients read it on import."""
    require_sdk()

    def run(snippet: str, server: ServerProcess) -> str:
        snippet = snippet.replace("MODEL_URL_HERE", MODEL_URL).replace("https://samples.clarifai.com", samples)
        environment = {**os.environ, "CLARIFAI_API_BASE": server.base_url, "CLARIFAI_PAT": PAT}
        done = subprocess.run(
            [sys.executable, "-c", snippet], env=environment, capture_output=True, text=True, timeout=30, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run
