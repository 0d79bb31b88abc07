"""How many cores there are to use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from runner.workers.cores import usable_cores


@pytest.mark.parametrize(
    ("inner", "outer", "cores"),
    [("max 100000", "max 100000", 1000), ("150000 100000", "max 100000", 2), ("max 100000", "50000 100000", 1)],
)
def test_the_limits_of_all_groups_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, inner: str, outer: str, cores: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(1000))
    (tmp_path / "cgroup").write_text("0::/pod/worker\n")
    (tmp_path / "groups" / "pod" / "worker").mkdir(parents=True)
    (tmp_path / "groups" / "pod" / "worker" / "cpu.max").write_text(inner + "\n")
    (tmp_path / "groups" / "pod" / "cpu.max").write_text(outer + "\n")
    assert usable_cores(tmp_path, tmp_path / "groups") == cores


def test_without_control_groups_the_affinity_counts(tmp_path: Path) -> None:
    assert usable_cores(tmp_path, tmp_path) == len(os.sched_getaffinity(0))
