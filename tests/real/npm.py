"""Packages from npm, each installed once into `.cache/` with a fixed version."""

from __future__ import annotations

import json
import queue
import shutil
import subprocess
import threading
from pathlib import Path

import pytest

CACHE = Path(__file__).parents[2] / ".cache"
INSTALLED_WITHIN = 150.0  # seconds; mostly 20 are enough
ANSWER_WITHIN = 10.0  # seconds; a client's own retries may go on for ten minutes

needs_node = pytest.mark.skipif(
    not (shutil.which("node") and shutil.which("npm")), reason="node and npm are not installed"
)


def installed(package: str, version: str) -> Path:
    """Return a directory whose node_modules has the package, or skip the test where npm cannot install it."""
    home = CACHE / f"{package.rpartition('/')[2]}-{version}"
    if not (home / "installed").exists():
        home.mkdir(parents=True, exist_ok=True)
        quiet = ["--no-save", "--no-audit", "--no-fund", "--ignore-scripts"]
        command = ["npm", "install", *quiet, "--prefix", str(home), f"{package}@{version}"]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=INSTALLED_WITHIN, check=False)
        except subprocess.TimeoutExpired:
            pytest.skip(f"npm did not install {package}@{version} within {INSTALLED_WITHIN:g} s")
        if done.returncode != 0:
            pytest.skip(f"npm could not install {package}@{version}: {done.stderr.strip()[-300:]}")
        (home / "installed").touch()
    return home


class Node:
    """A node process that makes calls: one line of JSON in, one out."""

    def __init__(self, driver: Path, home: Path) -> None:
        self._process = subprocess.Popen(
            ["node", str(driver), str(home)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self._answers: queue.Queue[str] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._answers.put(line)

    def ask(self, **call: object) -> dict[str, object]:
        """Return what the driver answers to a call."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(call) + "\n")
        self._process.stdin.flush()
        return json.loads(self._answers.get(timeout=ANSWER_WITHIN))

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join()
        assert self._process.stdout is not None
        self._process.stdout.close()
