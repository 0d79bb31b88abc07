"""Tasks that are cancelled together: who cleans up is waited for, and who goes on is left."""

from __future__ import annotations

import asyncio
import contextlib
import gc
from concurrent.futures import ThreadPoolExecutor

import pytest

from runner import ModelClass, cancelled_tasks
from runner.cancelled_tasks import cancel_all
from runner.errors import CallError
from runner.testing import serve
from tests.running import on_loop


class Stubborn(ModelClass):
    """Takes no notice of being cancelled, until it is let go."""

    def __init__(self) -> None:
        self.entered, self.go = asyncio.Event(), asyncio.Event()

    @ModelClass.method
    async def insist(self) -> str:
        self.entered.set()
        while not self.go.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await self.go.wait()
        return "done all the same"

    @ModelClass.method
    async def insisted(self) -> bool:
        await self.entered.wait()
        return True


@on_loop
async def test_tasks_are_waited_for_while_they_clean_up():
    cleaned: list[str] = []

    async def work(name: str) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            cleaned.append(name)
            if name == "b":
                raise ValueError("of which somebody else tells")

    tasks = [asyncio.create_task(work(name)) for name in "ab"]
    await asyncio.sleep(0)
    await cancel_all(tasks)
    await cancel_all(())
    assert cleaned == ["a", "b"]


@pytest.mark.parametrize("catches", [asyncio.CancelledError, BaseException])
def test_a_task_that_goes_on_keeps_no_loop_from_closing(catches, monkeypatch, caplog):
    monkeypatch.setattr(cancelled_tasks, "PATIENCE", 0.01)
    tasks: list[asyncio.Task[None]] = []
    over = False

    async def insist(entered: asyncio.Event) -> None:
        while not over:
            with contextlib.suppress(catches):
                entered.set()
                await asyncio.Event().wait()

    async def main() -> None:
        entered = asyncio.Event()
        tasks.append(asyncio.create_task(insist(entered), name="insist"))
        await entered.wait()
        await cancel_all(tasks)

    asyncio.run(main())
    assert tasks[0].done() == (catches is asyncio.CancelledError)
    assert "insist goes on although it was cancelled" in caplog.text
    over = True
    tasks.clear()
    gc.collect()  # what is left ends here, and not in the middle of another test


def test_a_server_in_this_process_closes_all_the_same(monkeypatch):
    monkeypatch.setattr(cancelled_tasks, "PATIENCE", 0.01)
    with ThreadPoolExecutor(1) as pool:
        with serve(Stubborn) as model:
            asked = pool.submit(model.insist)
            assert model.insisted()
        with pytest.raises(CallError):
            asked.result(10)
