from __future__ import annotations

from pathlib import Path

import pytest

from runner.cli.main import main
from runner.errors import LoadError
from runner.server import control


@pytest.fixture
def asked(monkeypatch):
    """Return what the server was asked, where, and what it answers."""
    seen: dict[str, object] = {"done": {"model_dir": "/models/two", "version_id": "2", "seconds": 1.25}}

    def ask(path: Path, request: control.Request) -> object:
        seen.update(path=path, request=request)
        if "error" in seen:
            raise seen["error"]
        return seen["done"]

    monkeypatch.setattr(control, "ask", ask)
    return seen


def test_another_directory(asked, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["swap", "two", "--version-id", "2", "--port", "9000", "--host", "0.0.0.0"]) == 0
    assert asked["request"] == {"swap": {"model_dir": str(tmp_path / "two"), "version_id": "2"}}
    assert asked["path"] == control.socket_path("0.0.0.0", 9000)
    assert capsys.readouterr().out == "/models/two, version 2, serves on 0.0.0.0:9000 after 1.2 s\n"


def test_the_same_directory_again(asked):
    assert main(["swap"]) == 0
    assert asked["request"] == {"swap": {"model_dir": None, "version_id": None}}
    assert asked["path"] == control.socket_path("127.0.0.1", 8000)


def test_what_went_wrong(asked, capsys):
    asked["error"] = LoadError("no weights", details="Traceback: in the model")
    assert main(["swap"]) == 1
    assert capsys.readouterr().err == "runner: no weights\nTraceback: in the model\n"
