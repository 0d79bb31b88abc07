"""Flags and files become the configuration; the server's life is tested elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from runner.config import ServerConfig
from tests.cli.conftest import ODD


@pytest.fixture
def started(monkeypatch) -> list[tuple[Path, ServerConfig, bool]]:
    calls: list[tuple[Path, ServerConfig, bool]] = []

    def run(model_dir: Path, configure: Callable[[Path], ServerConfig], *, inline: bool, reload: bool) -> int:
        calls.append((model_dir, configure(model_dir), inline))
        return 0

    monkeypatch.setattr("runner.server.lifecycle.run", run)
    return calls


def test_defaults(runner, started):
    assert runner("serve", str(ODD))[0] == 0
    [(model_dir, config, inline)] = started
    assert (model_dir, inline, config.model.id) == (ODD, False, "odd")
    assert (config.listen.host, config.listen.port, config.workers.replicas) == ("127.0.0.1", 8000, 1)
    assert (config.allow_private_urls, config.access.strict_ids, config.hide_model_errors) == (False, False, False)


def test_flags_win_over_the_file(runner, started, tmp_path):
    file = tmp_path / "server.yaml"
    file.write_text("port: 9000\nhost: 0.0.0.0\nstrict_ids: true\nreplicas: 3\n")
    flags = ["--port", "0", "--devices", "cpu", "--replicas", "2", "--inline", "--allow-private-urls"]
    assert runner("serve", str(ODD), "--config", str(file), *flags, "--hide-model-errors")[0] == 0
    [(_, config, inline)] = started
    assert (config.listen.host, config.listen.port, config.workers.replicas) == ("0.0.0.0", 0, 2)
    assert (config.workers.devices, inline) == (("cpu",), True)
    assert config.allow_private_urls
    assert config.access.strict_ids
    assert config.hide_model_errors


def test_a_wrong_setting_is_one_line(runner, started, tmp_path):
    file = tmp_path / "server.yaml"
    file.write_text("prot: 9000\n")
    code, _, err = runner("serve", str(ODD), "--config", str(file))
    assert (code, err.count("\n")) == (2, 1)
    assert "prot: no such key, did you mean port" in err
    assert runner("serve", str(ODD), "--port", "70000")[0] == 2
    assert started == []
