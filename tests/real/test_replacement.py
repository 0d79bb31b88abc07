"""Another version of a model on a server that is busy: swap, SIGHUP and --reload."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

from runner.client import Model

pytestmark = pytest.mark.real

SOURCE = """
import time
from collections.abc import Iterator
from runner import ModelClass

class Versioned(ModelClass):
    def load_model(self):
        {load}

    @ModelClass.method
    def predict(self, text: str) -> str:
        time.sleep(0.002)
        return "{version}"

    @ModelClass.method
    def generate(self, count: int) -> Iterator[str]:
        for _ in range(count):
            time.sleep(0.001)
            yield "{version}"
"""


def write(directory: Path, version: str, *, load: str = "pass", config: str = "") -> Path:
    directory.mkdir(exist_ok=True)
    (directory / "model.py").write_text(SOURCE.format(version=version, load=load))
    if config:
        (directory / "config.yaml").write_text(config)
    return directory


@pytest.fixture(autouse=True)
def runtime(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))


def swap(server, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "runner", "swap", "--port", str(server.port), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)


class Load:
    """Callers that call all the time, unary and streams, and count what they are told."""

    def __init__(self, base_url: str, callers: int = 4) -> None:
        self._base_url = base_url
        self._stop = threading.Event()
        self.seen: Counter[str] = Counter()
        self.failures: list[Exception] = []
        self._threads = [threading.Thread(target=self._call, args=(number,)) for number in range(callers)]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(20)

    def until(self, version: str, calls: int = 20) -> None:
        deadline = time.monotonic() + 20
        before = self.seen[version]
        while self.seen[version] < before + calls:
            assert time.monotonic() < deadline, (version, self.seen, self.failures)
            time.sleep(0.005)

    def _call(self, number: int) -> None:
        with Model(base_url=self._base_url, timeout=20) as model:
            while not self._stop.wait(0.002):  # leaves some of a small machine to the workers that are loading
                try:
                    if number % 2:
                        self.seen[model.predict("x")] += 1
                        continue
                    items = list(model.generate(10))
                    assert len(items) == 10
                    (version,) = set(items)  # a stream ends where it began
                    self.seen[version] += 1
                except Exception as exc:
                    self.failures.append(exc)


def test_a_swap_under_load_loses_no_call_and_one_that_fails_changes_nothing(launch, tmp_path):
    first = write(tmp_path / "first", "one")
    second = write(tmp_path / "second", "two", config="model: {version_id: two}\nnum_threads: 3\n")
    broken = write(tmp_path / "broken", "three", load="raise RuntimeError('no weights here')")
    server = launch(first, "--replicas", "2")
    server.wait_ready()
    with Load(server.base_url) as load:
        load.until("one")
        done = swap(server, str(second))
        assert done.returncode == 0, done.stderr
        assert f"{second}, version two, serves on 127.0.0.1:{server.port} after" in done.stdout
        load.until("two")
        refused = swap(server, str(broken))
        assert refused.returncode == 1
        assert "no weights here" in refused.stderr
        missing = swap(server, str(tmp_path / "none"))
        assert missing.returncode == 1
        assert "is not a directory" in missing.stderr
        load.until("two")
        again = swap(server, str(first), "--version-id", "one-again")
        assert again.returncode == 0, again.stderr
        load.until("one")
    assert load.failures == []
    assert set(load.seen) == {"one", "two"}
    assert server.terminate() == 0
    assert list((tmp_path / "runner").iterdir()) == []


def test_hangup_loads_the_directory_again(launch, tmp_path):
    directory = write(tmp_path / "model", "one")
    server = launch(directory)
    server.wait_ready()
    with Load(server.base_url, callers=2) as load:
        load.until("one")
        write(directory, "twotwo")
        server.process.send_signal(signal.SIGHUP)
        load.until("twotwo")
        write(directory, "three", load="import nothing_like_this")
        server.process.send_signal(signal.SIGHUP)
        while "the model is served as it was" not in server.stderr:
            load.until("twotwo", 1)
        assert "nothing_like_this" in server.stderr
    assert load.failures == []
    assert server.terminate() == 0


def test_reload_while_somebody_works_on_the_source(launch, tmp_path):
    directory = write(tmp_path / "model", "a")
    server = launch(directory, "--reload")
    server.wait_ready()
    with Load(server.base_url, callers=2) as load:
        load.until("a")
        write(directory, "b")  # of the same size and second
        load.until("b")
        (directory / "model.py").write_text("class Versioned(\n")
        while "'(' was never closed" not in server.stderr:
            load.until("b", 1)
        load.until("b")
        write(directory, "c")
        load.until("c")
    assert load.failures == []
    assert server.terminate() == 0


def test_nobody_there(tmp_path):
    command = [sys.executable, "-m", "runner", "swap", "--port", "1"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("runner: no server of this user answers at ")
    assert "Traceback" not in done.stderr


def test_a_model_in_the_server_s_process_cannot_be_replaced(launch, tmp_path):
    directory = write(tmp_path / "model", "a")
    server = launch(directory, "--inline", "--reload")
    assert server.wait(20) == 2
    assert "--inline and --reload" in server.stderr
