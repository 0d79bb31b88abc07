"""Keys on a real server: where they come from, what they allow, and that no model learns of them."""

from __future__ import annotations

import os

import pytest

from runner.client import Model
from runner.errors import Overloaded, PermissionDenied, Unauthenticated

pytestmark = pytest.mark.real


def environment(base_url: str, pat: str | None) -> dict[str, str]:
    with Model(base_url=base_url, pat=pat, timeout=20) as model:
        return model.environment()


def test_keys_of_the_environment_and_of_a_file_that_changes(launch, config_file, tmp_path, monkeypatch):
    monkeypatch.setenv("OPENING", "sesame")
    monkeypatch.setenv("SOMEBODY_S_PAT", "from-a-file")
    monkeypatch.setenv("HARMLESS", "something")
    monkeypatch.delenv("RUNNER_PAT", raising=False)
    monkeypatch.delenv("CLARIFAI_PAT", raising=False)
    keys = tmp_path / "keys"
    keys.write_text("from-a-file\n")
    options = """
keys:
  - {name: env, env: OPENING}
  - {name: rare, key: rare-key, max_calls_per_second: 0.001}
  - {name: other, key: other-key, models: [another]}
"""
    server = launch("confiding", "--config", config_file(options), "--keys-file", str(keys))
    server.wait_ready()
    for pat in ("sesame", "from-a-file"):
        seen = environment(server.base_url, pat)
        assert not {"OPENING", "SOMEBODY_S_PAT"} & set(seen)
        assert not {"sesame", "from-a-file", "rare-key"} & set(seen.values())
        assert seen["HARMLESS"] == os.environ["HARMLESS"]
    for pat in (None, "wrong"):
        with pytest.raises(Unauthenticated):
            environment(server.base_url, pat)
    with pytest.raises(PermissionDenied, match="'other' is not for the model 'confiding'"):
        environment(server.base_url, "other-key")
    environment(server.base_url, "rare-key")
    with pytest.raises(Overloaded, match=r"may call 0\.001 times a second") as told:
        environment(server.base_url, "rare-key")
    assert 900 < told.value.retry_after <= 1000
    keys.write_text("newer\n")
    with Model(base_url=server.base_url, pat="newer", timeout=20) as model:
        # Looked at once a second at most: calls go on until the file has been read again.
        while True:
            try:
                model.pid()
                break
            except Unauthenticated:
                continue
    with pytest.raises(Unauthenticated):
        environment(server.base_url, "from-a-file")
    assert "sesame" not in server.stderr
    assert server.terminate() == 0


def test_a_file_of_keys_that_is_not_there(launch, tmp_path):
    server = launch("confiding", "--keys-file", str(tmp_path / "none"))
    assert server.wait(20) == 2
    assert "none: cannot be read: No such file" in server.stderr
    assert "Traceback" not in server.stderr
