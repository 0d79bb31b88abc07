"""A server as a child process, with real workers, on a free port."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import IO, Self

from runner.errors import LoadError

__all__ = ["ServerProcess"]

_SERVING = re.compile(r"serving .* on (\S+):(\d+)$")
_STOP_SECONDS = 40.0
"""A little more than the grace that a server gives its calls by default."""


class ServerProcess:
    """`python -m runner serve`, from its start to its exit. Its output goes where this process's goes."""

    def __init__(self, model_dir: Path, config_file: Path) -> None:
        command = [sys.executable, "-m", "runner", "serve", str(model_dir), "--port", "0", "--config", str(config_file)]
        # The model may import what the test can import.
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "PYTHONUNBUFFERED": "1"}
        self._process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment, text=True, errors="replace"
        )
        self._base_url: Future[str] = Future()
        self._said: deque[str] = deque(maxlen=50)
        streams = ((self._process.stdout, sys.stdout), (self._process.stderr, sys.stderr))
        self._readers = [
            threading.Thread(target=self._read, args=(source, target), name="server output", daemon=True)
            for source, target in streams
        ]
        for reader in self._readers:
            reader.start()

    @classmethod
    def start(cls, model_dir: Path, config: Mapping[str, object], directory: Path, timeout: float) -> Self:
        """Start a server and wait until it serves.

        Args:
            model_dir: the model's directory.
            config: the server's, by the keys of `config.yaml`.
            directory: where to keep its configuration file.
            timeout: seconds that loading may take.

        Raises:
            LoadError: it exited instead, or is not ready in time; the details are what it said.
        """
        file = directory / "server.yaml"
        file.write_text(json.dumps(config), encoding="utf-8")  # JSON is YAML
        server = cls(model_dir, file)
        try:
            server._base_url.result(timeout)
        except TimeoutError:
            server.close()
            raise LoadError(f"the server was not ready within {timeout:g} s", details=server._output()) from None
        except BaseException:
            server.close()
            raise
        return server

    @property
    def base_url(self) -> str:
        """The server's address, for a client."""
        return self._base_url.result()

    def close(self) -> None:
        """Ask the server to stop, and wait for it; kill it if it does not."""
        self._process.terminate()
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        for reader in self._readers:
            reader.join()

    def _read(self, source: IO[str], target: IO[str]) -> None:
        with source:
            for line in source:
                found = _SERVING.match(line)
                if found and not self._base_url.done():
                    self._base_url.set_result(f"http://{found[1]}:{found[2]}")
                self._said.append(line)
                target.write(line)
        # Its output ends when it exits. Both readers get here; the one of stderr has read the reason.
        if target is sys.stderr and not self._base_url.done():
            code = self._process.wait()
            said = [line for line in self._said if line.strip()]
            last = said[-1] if said else f"exit code {code}"
            reason = next((line for line in said if line.startswith("runner: ")), last)
            message = f"the server did not start: {reason.removeprefix('runner: ').strip()}"
            self._base_url.set_exception(LoadError(message, details=self._output()))

    def _output(self) -> str:
        return "".join(self._said)
