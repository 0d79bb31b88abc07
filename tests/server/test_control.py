"""The control socket: what is asked, what is answered, and who is not listened to."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import stat
from pathlib import Path

import pytest

from runner.errors import LoadError, RunnerError
from runner.server import control
from runner.server.control import Answer, Request, ask, control_socket, socket_path
from tests.running import on_loop


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    return socket_path("127.0.0.1", 8000)


async def echo(request: Request) -> Answer:
    return {"heard": request}


async def refuse(request: Request) -> Answer:
    raise LoadError("it does not load", details="x" * 200_000 + "the last line")


async def raw(path: Path, data: bytes) -> bytes:
    reader, writer = await asyncio.open_unix_connection(path)
    try:
        writer.write(data)
        writer.write_eof()
        return await reader.read()
    except ConnectionError:
        return b""  # it had closed while we were still talking
    finally:
        writer.close()


def test_where_it_is(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert path == tmp_path / "runner" / "127.0.0.1_8000.sock"
    assert socket_path("[::1]", 1).name == "::1_1.sock"
    assert socket_path("unix:/run/model.sock", 0) == tmp_path / "runner" / "unix:_run_model.sock_0.sock"
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert socket_path("h", 1) == tmp_path / f"runner-{os.getuid()}" / "h_1.sock"


@on_loop
async def test_a_question_and_its_answer(path):
    async with control_socket(path, echo):
        assert await asyncio.to_thread(ask, path, {"swap": {}}, 10) == {"heard": {"swap": {}}}
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert not path.exists()


@on_loop
async def test_what_went_wrong_comes_back_and_no_more_of_it_than_is_useful(path):
    async with control_socket(path, refuse):
        with pytest.raises(LoadError, match="it does not load") as told:
            await asyncio.to_thread(ask, path, {}, 10)
    assert told.value.details.endswith("the last line")
    assert len(told.value.details) <= control.MAX_LINE_BYTES


@pytest.mark.parametrize(
    "data", [b"", b"\n", b"not json\n", b"[]\n", b'"swap"\n', b"[" * 50_000 + b"\n", b"x" * 200_000, b"\xff\xfe\n"]
)
@on_loop
async def test_who_does_not_know_how_to_ask_gets_no_answer(path, data):
    async with control_socket(path, echo):
        assert await raw(path, data) == b""
        assert json.loads(await raw(path, b"{}\n")) == {"done": {"heard": {}}}


@on_loop
async def test_who_says_nothing_is_not_waited_for(path, monkeypatch):
    monkeypatch.setattr(control, "_PATIENCE", 0.02)
    async with control_socket(path, echo):
        reader, writer = await asyncio.open_unix_connection(path)
        assert await reader.read() == b""
        writer.close()


@on_loop
async def test_other_users_are_not_listened_to(path, monkeypatch, caplog):
    monkeypatch.setattr(os, "getuid", lambda: 12345)
    monkeypatch.setattr(control, "_make_way", lambda path: path.parent.mkdir())

    class Stranger:
        def getsockopt(self, *args: object) -> bytes:
            return control._CREDENTIALS.pack(1, 54321, 1)

    monkeypatch.setattr(asyncio.StreamWriter, "get_extra_info", lambda self, name: Stranger())
    async with control_socket(path, echo):
        assert await raw(path, b"{}\n") == b""
    assert "user 54321 is not listened to" in caplog.text


@on_loop
async def test_so_many_at_once_and_no_more(path, monkeypatch):
    monkeypatch.setattr(control, "MAX_REQUESTS", 2)
    waiting, go = asyncio.Semaphore(0), asyncio.Event()

    async def slow(request: Request) -> Answer:
        waiting.release()
        await go.wait()
        return {}

    async with control_socket(path, slow):
        two = [asyncio.ensure_future(raw(path, b"{}\n")) for _ in range(2)]
        for _ in two:
            await waiting.acquire()
        assert await raw(path, b"{}\n") == b""
        go.set()
        assert await asyncio.gather(*two) == [b'{"done": {}}\n'] * 2


@on_loop
async def test_a_server_that_goes_answers_nobody(path):
    started = asyncio.Event()

    async def forever(request: Request) -> Answer:
        started.set()
        await asyncio.Event().wait()
        return {}

    async with control_socket(path, forever):
        asking = asyncio.ensure_future(asyncio.to_thread(ask, path, {}, 10))
        await started.wait()
    with pytest.raises(RunnerError, match="went away without an answer"):
        await asking


@on_loop
async def test_a_socket_that_was_left_there_is_replaced(path):
    path.parent.mkdir(mode=0o700)
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    with pytest.raises(RunnerError, match="no server of this user answers at"):
        await asyncio.to_thread(ask, path, {}, 10)
    async with control_socket(path, echo):
        assert await asyncio.to_thread(ask, path, {}, 10) == {"heard": {}}


@pytest.mark.parametrize("found", ["open to others", "a link", "a file"])
@on_loop
async def test_a_directory_that_is_not_ours_alone_is_refused(path, tmp_path, found):
    if found == "open to others":
        path.parent.mkdir(mode=0o755)
    elif found == "a link":
        (tmp_path / "other").mkdir(mode=0o700)
        path.parent.symlink_to(tmp_path / "other")
    else:
        path.parent.touch(0o600)
    with pytest.raises(PermissionError, match="only this user can enter"):
        async with control_socket(path, echo):
            pass
