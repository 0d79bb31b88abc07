"""A type checker reads `models.py` without complaint."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent


@pytest.mark.skipif(importlib.util.find_spec("basedpyright") is None, reason="basedpyright is not installed")
def test_a_decorated_method_keeps_its_types(tmp_path):
    project = {
        "include": [str(HERE / "models.py")],
        "extraPaths": [str(HERE.parents[1])],
        "typeCheckingMode": "standard",
        "pythonVersion": "3.11",
        "reportUnnecessaryTypeIgnoreComment": "error",
    }
    (tmp_path / "pyrightconfig.json").write_text(json.dumps(project))
    checked = subprocess.run(
        [sys.executable, "-m", "basedpyright", "--project", str(tmp_path), "--outputjson"],
        capture_output=True,
        text=True,
        check=False,
    )
    report = json.loads(checked.stdout)
    assert report["summary"]["filesAnalyzed"] == 1
    problems = [
        f"{problem['range']['start']['line'] + 1}: {problem['message']}" for problem in report["generalDiagnostics"]
    ]
    assert problems == []
