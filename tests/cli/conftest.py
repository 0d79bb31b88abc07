from __future__ import annotations

from pathlib import Path

import pytest

from runner.testing import serve

ODD = Path(__file__).parent / "models" / "odd"


@pytest.fixture(scope="session")
def served():
    """The address of a real server of the odd model."""
    with serve(ODD, workers=True) as model:
        yield str(model._settings.address)


@pytest.fixture
def runner(capsys, monkeypatch):
    """Runs a command line in this process: exit code, stdout, stderr."""
    from runner.cli.main import main

    monkeypatch.delenv("RUNNER_API_BASE", raising=False)

    def run(*argv: str) -> tuple[int, str, str]:
        try:
            code = main(argv)
        except SystemExit as exit:  # --help
            code = int(exit.code or 0)
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run
