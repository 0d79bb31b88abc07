"""Workers as real processes behind an engine: what crosses, and what their death does to the calls on them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import runner
from runner.engine import life
from runner.errors import LoadError, ModelError, WorkerLost
from runner.workers.child import EXIT_ORPHANED
from tests.running import on_loop
from tests.workers.served import MODELS, Served, served

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="counts on signals and descriptors as Linux has them")


@on_loop
async def test_calls_streams_and_large_payloads_cross_and_errors_come_back():
    async with served() as under_test:
        assert under_test.engine.methods == under_test._published
        assert await under_test.call("shout", text="a") == "A"
        stream = under_test.stream("count", stop=1000)
        numbers = [under_test.decode("count", output) async for output in stream]
        assert numbers == list(range(1000))
        size = 20_000_000
        assert await under_test.call("weigh", data="x" * size) == size
        with pytest.raises(ModelError, match="SystemExit: leaving"):
            await under_test.call("leave")
        assert await under_test.call("pid") == under_test.workers[0].pid
        assert len(under_test.workers) == 1


@on_loop
async def test_batches_run_on_the_thread_that_was_warmed_up(tmp_path):
    warmed = MODELS / "warmed"
    async with served(warmed, codecs=warmed, XDG_CACHE_HOME=str(tmp_path)) as under_test:
        loaded_by = await under_test.call("loaded")
        runs = [await under_test.call(method, text="a") for method in ("named", "measured")]
        threads = {thread for of_method in runs for thread, _ in of_method}  # pyright: ignore[reportGeneralTypeIssues]
        assert [size for _, size in runs[0]] == [1, 4, 1]  # pyright: ignore[reportGeneralTypeIssues]
        assert len(threads) == 1
        assert loaded_by not in threads


@on_loop
async def test_all_threads_of_a_worker_keep_to_the_cpus_near_its_gpu():
    everywhere = sorted(os.sched_getaffinity(0))
    async with served(cpus=str(everywhere[-1])) as under_test:
        assert await under_test.call("cpus") == [everywhere[-1:]]
    async with served(cpus="1023") as under_test:  # there is no such CPU, and it works all the same
        assert await under_test.call("cpus") == [everywhere]


@on_loop
async def test_killing_a_worker_loses_its_calls_and_another_takes_its_place():
    async with served() as under_test:
        stream = under_test.stream("hang")
        assert under_test.decode("hang", await anext(stream)) == "hanging"
        (worker,) = under_test.workers
        os.kill(worker.pid, signal.SIGKILL)
        with pytest.raises(WorkerLost):
            await anext(stream)
        assert await under_test.call("shout", text="again") == "AGAIN"
        assert await worker.wait() == "killed by SIGKILL"
        assert len(under_test.workers) == 2


@on_loop
async def test_calls_that_came_with_the_one_that_kills_their_worker_and_have_not_begun_run_elsewhere():
    async with served(calls=8) as under_test:
        texts = ("a", "b", "die", "c", "d")  # all but the first go together
        ends = await asyncio.gather(
            *(under_test.call("live_or_die", text=text) for text in texts), return_exceptions=True
        )
        assert isinstance(ends[2], WorkerLost)
        assert ends[3:] == ["C", "D"]
        assert len(under_test.workers) == 2


@on_loop
async def test_a_worker_that_exits_says_how():
    async with served() as under_test:
        with pytest.raises(WorkerLost):
            await under_test.call("die")
        assert await under_test.workers[0].wait() == "exited with code 7"
        assert await under_test.call("shout", text="again") == "AGAIN"


@on_loop
async def test_a_method_that_never_returns_does_not_keep_a_worker_alive():
    async with served() as under_test:
        stream = under_test.stream("hang")
        await anext(stream)
        stream.close()


@on_loop
async def test_a_program_that_the_model_started_does_not_hold_the_link():
    async with served() as under_test:
        child = await under_test.call("leave_a_child")
        assert isinstance(child, int)
        try:
            assert not [name for name in descriptors(child) if name.startswith("socket:")]
        finally:
            os.kill(child, signal.SIGKILL)


def descriptors(pid: int) -> list[str]:
    found: list[str] = []
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed since we looked: the program is just starting
            found.append(os.readlink(entry))
    return found


@on_loop
async def test_what_a_model_prints_is_in_the_log(capfd, monkeypatch):
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)
    async with served() as under_test:
        assert await under_test.call("say", text="printed in a call") == "said"
    out, err = capfd.readouterr()
    assert out == ""  # the server's own lines go there
    assert "printed while loading\n" in err
    assert "printed in a call\n" in err


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("import os; os._exit(9)", "the worker ended while it was loading the model: exited with code 9"),
        (
            "import os; os.kill(os.getpid(), 9)",
            "the worker ended while it was loading the model: killed by SIGKILL",
        ),
        ("1 / 0", "model.py cannot be imported: ZeroDivisionError: division by zero"),
    ],
)
@on_loop
async def test_a_model_that_cannot_be_loaded_is_told(source, text, tmp_path):
    (tmp_path / "model.py").write_text(source)
    under_test = Served(tmp_path, {})
    async with under_test.engine:
        with pytest.raises(LoadError) as told:
            await under_test.engine.started()
        assert text in str(told.value)
    assert len(under_test.workers) == 1


@on_loop
async def test_files_where_the_server_was_started_shadow_nothing(tmp_path, monkeypatch):
    for name in ("runner", "signal", "uvloop", "typing_extensions"):
        (tmp_path / f"{name}.py").write_text("raise ImportError('shadowed')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(Path(runner.__file__).parents[1]))
    async with served() as under_test:
        assert await under_test.call("shout", text="a") == "A"


@on_loop
async def test_leaving_while_a_worker_is_loading_ends_it(tmp_path):
    (tmp_path / "model.py").write_text("import time; time.sleep(60)")
    under_test = Served(tmp_path, {})
    async with under_test.engine:
        await under_test.spawned.wait()
    (worker,) = under_test.workers
    assert await worker.wait() == "killed by SIGKILL"


@on_loop
async def test_a_model_that_breaks_the_log_while_it_loads_is_served_all_the_same(tmp_path):
    (tmp_path / "model.py").write_text(
        "import logging\n"
        "from runner import ModelClass\n"
        "class Silent(ModelClass):\n"
        "    def load_model(self):\n"
        "        logging.getLogger().handlers[0].addFilter(lambda record: 1 / 0)\n"
        "    @ModelClass.method\n"
        "    def predict(self) -> str: return ''\n"
    )
    async with served(tmp_path, codecs=tmp_path) as under_test:
        assert await under_test.call("predict") == ""
        assert await under_test.call("predict") == ""
        assert len(under_test.workers) == 1


@on_loop
async def test_a_death_is_seen_though_a_forked_process_holds_the_link():
    async with served() as under_test:
        child = await under_test.call("fork")
        try:
            stream = under_test.stream("hang")
            await anext(stream)
            os.kill(under_test.workers[0].pid, signal.SIGKILL)
            with pytest.raises(WorkerLost):
                await anext(stream)
            assert await under_test.call("shout", text="again") == "AGAIN"
        finally:
            assert isinstance(child, int)
            os.kill(child, signal.SIGKILL)


@on_loop
async def test_the_log_has_a_dead_worker_s_last_words_and_its_caller_has_not(caplog):
    async with served() as under_test:
        with pytest.raises(WorkerLost) as told:
            await under_test.call("die_saying", text="no such file: /secret")
        assert "secret" not in str(told.value) + told.value.details
        assert await under_test.call("shout", text="again") == "AGAIN"
    assert "killed by SIGSEGV while it ran die_saying; it is started again" in caplog.text
    last_words = caplog.text.partition("its last words:")[2]
    assert "\n  | printed while loading\n" in last_words
    assert "\n  | no such file: /secret\n  | Fatal Python error: Segmentation fault\n" in last_words
    assert re.search(r"\n  \|   File \".*/spawned/model\.py\", line \d+ in die_saying\n", last_words)


@on_loop
async def test_a_stopped_worker_is_replaced(monkeypatch):
    monkeypatch.setattr(life, "LOOK_EVERY", 0.1)
    async with served() as under_test:
        (worker,) = under_test.workers
        os.kill(worker.pid, signal.SIGSTOP)
        # It is not known to be stopped yet, and so it gets the call. A stopped process begins nothing.
        assert await under_test.call("shout", text="x") == "X"
        assert await worker.wait() == "killed by SIGKILL"
        assert len(under_test.workers) == 2


@on_loop
async def test_a_run_that_takes_too_long_is_told_from_a_long_one(monkeypatch, capfd, caplog):
    monkeypatch.setattr(life, "LOOK_EVERY", 0.05)
    async with served() as under_test:
        stream = under_test.stream("hang")  # may take any time
        await anext(stream)
        assert await under_test.call("hold_the_lock", seconds=1.0) == 1.0
        with pytest.raises(WorkerLost, match=r"ran for longer than 0\.2 s, and its worker was ended"):
            await under_test.call("hang_limited")
        with pytest.raises(WorkerLost):
            await anext(stream)
        assert await under_test.call("shout", text="again") == "AGAIN"
        assert len(under_test.workers) == 2
    assert "ran hang_limited for longer than max_run_seconds, and is ended; its threads are at:" in caplog.text
    assert re.search(r"File \".*/spawned/model\.py\", line \d+ in hang_limited\n", capfd.readouterr().err)
    assert "in hang_limited" not in caplog.text  # its last words are those before


def test_a_worker_whose_server_is_gone_does_not_begin() -> None:
    command = [sys.executable, "-m", "runner.workers.child", "1", "0", "0", "0"]
    assert subprocess.run(command, check=False).returncode == EXIT_ORPHANED
