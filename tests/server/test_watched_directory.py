"""Hearing of changes to a model's source."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from runner.server import watched_directory
from runner.server.watched_directory import WatchedDirectory
from tests.running import Signal, on_loop


def write(path: Path, text: str = "x") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def replace(path: Path) -> None:
    """As most editors save."""
    write(path.with_name("4913"))
    path.with_name("4913").rename(path)


CHANGES = {
    "written": lambda top: write(top / "model.py"),
    "replaced": lambda top: replace(top / "model.py"),
    "removed": lambda top: (top / "model.py").unlink(),
    "new": lambda top: write(top / "helper.py"),
    "configured": lambda top: write(top / "config.yaml"),
    "below": lambda top: write(top / "package" / "deep" / "more.py"),
    "a directory": lambda top: write(top / "new" / "more.py"),
    "moved in": lambda top: (top.parent / "elsewhere").rename(top / "package" / "moved"),
}


@pytest.fixture
def model_dir(tmp_path: Path) -> Path:
    top = tmp_path / "model"
    write(top / "model.py")
    write(top / "package" / "deep" / "helper.py")
    write(tmp_path / "elsewhere" / "more.py")
    return top


@pytest.mark.parametrize("change", CHANGES)
@on_loop
async def test_changes_are_told(model_dir, change):
    told = Signal()
    with WatchedDirectory(model_dir, told.set):
        CHANGES[change](model_dir)
        await told.wait()


@on_loop
async def test_a_directory_that_came_later_is_watched_as_well(model_dir):
    told = Signal()
    with WatchedDirectory(model_dir, told.set):
        (model_dir / "new").mkdir()
        await told.wait(1)
        write(model_dir / "new" / "model.py")
        await told.wait(2)


@on_loop
async def test_another_directory_in_its_place_is_watched(model_dir):
    told = Signal()
    with WatchedDirectory(model_dir, told.set):
        model_dir.rename(model_dir.with_name("old"))
        write(model_dir / "model.py")
        await told.wait(1)
        write(model_dir / "model.py", "y")
        await told.wait(2)


@on_loop
async def test_what_a_link_leads_to_now_is_watched(model_dir):
    current, later = model_dir.with_name("current"), model_dir.with_name("later")
    current.symlink_to(model_dir)
    write(later / "model.py")
    told = Signal()
    with WatchedDirectory(current, told.set):
        model_dir.with_name("next").symlink_to(later)
        model_dir.with_name("next").rename(current)
        await told.wait(1)
        write(later / "model.py", "y")
        await told.wait(2)


@on_loop
async def test_changes_that_come_together_are_told_once_and_those_of_other_files_not_at_all(model_dir):
    told = Signal()
    with WatchedDirectory(model_dir, told.set):
        for name in ("weights.bin", "notes.txt", ".#model.py", "__pycache__/model.py", ".git/hook.py", "model.pyc"):
            write(model_dir / name)
        write(model_dir.parent / "neighbour.py")
        write(model_dir.parent / "elsewhere" / "more.py")
        for number in range(20):
            write(model_dir / f"part{number}.py")
        await told.wait()
        assert told.count == 1
        write(model_dir / "__pycache__" / "other.py")
        write(model_dir / ".git" / "other.py")
        write(model_dir.parent / "neighbour.py")
        write(model_dir / "model.py")
        await told.wait(2)


@on_loop
async def test_nothing_is_told_after_it_was_left(model_dir):
    told = Signal()
    with WatchedDirectory(model_dir, told.set):
        write(model_dir / "model.py")
    with WatchedDirectory(model_dir, told.set) as again:
        write(model_dir / "model.py")
        await told.wait()
        assert told.count == 1
        assert again._timer is None


@on_loop
async def test_too_many_directories_are_said_to_be_too_many(model_dir, monkeypatch, caplog):
    monkeypatch.setattr(watched_directory, "MAX_DIRECTORIES", 2)
    told = Signal()
    with WatchedDirectory(model_dir, told.set):
        assert "has over 2 directories; not all are watched" in caplog.text
        write(model_dir / "model.py")
        await asyncio.wait_for(told.wait(), 10)


@on_loop
async def test_a_directory_that_cannot_be_watched(tmp_path):
    with pytest.raises(OSError, match="cannot be watched"), WatchedDirectory(tmp_path / "none", lambda: None):
        pass
