from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_scaffold_is_a_model_with_a_passing_test(runner, tmp_path):
    directory = tmp_path / "my-first.model"
    code, out, _ = runner("init", str(directory))
    assert code == 0
    assert f"runner serve {directory}" in out
    assert sorted(path.name for path in directory.iterdir()) == [
        "config.yaml",
        "model.py",
        "requirements.txt",
        "test_my_first_model.py",
    ]
    assert "class MyFirstModel(ModelClass):" in (directory / "model.py").read_text()
    assert "id: my-first-model" in (directory / "config.yaml").read_text()
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(directory)],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=50,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert runner("check", str(directory))[0] == 0


def test_nothing_is_overwritten(runner, tmp_path):
    (tmp_path / "model.py").write_text("mine")
    code, _, err = runner("init", str(tmp_path))
    assert code == 2
    assert "model.py exists; give a new directory" in err
    assert [path.name for path in tmp_path.iterdir()] == ["model.py"]


def test_a_name_begins_with_a_letter(runner, tmp_path):
    assert runner("init", str(tmp_path / "2fast"))[0] == 2


def test_an_empty_name_is_no_directory(runner, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, _, err = runner("init", "")
    assert code == 2
    assert "give a new directory" in err
    assert not list(tmp_path.iterdir())


def test_what_to_type_next_is_quoted(runner, tmp_path):
    out = runner("init", str(tmp_path / "my first"))[1]
    assert f"runner serve '{tmp_path}/my first'" in out


def test_a_directory_that_cannot_be_made(runner, tmp_path):
    (tmp_path / "file").write_text("")
    code, _, err = runner("init", str(tmp_path / "file" / "model"))
    assert code == 2
    assert "cannot be written: Not a directory; give another directory" in err
    assert err.count("\n") == 1
