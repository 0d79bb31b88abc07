"""A loop that goes on whatever a model's tasks and callbacks do."""

from __future__ import annotations

import asyncio

import pytest
import uvloop

from runner.execution.undeterred import run_undeterred


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop])
def loop(request):
    loop = request.param()
    yield loop
    loop.close()


async def raising(error: BaseException) -> None:
    await asyncio.sleep(0)
    raise error


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt()])
def test_who_waits_for_a_task_that_wants_to_exit_is_told_and_nobody_else(loop, error, caplog):
    async def main() -> str:
        other = asyncio.create_task(asyncio.sleep(0.02, "other"))
        with pytest.raises(type(error)):
            await asyncio.gather(raising(error))
        with pytest.raises(type(error)):
            await asyncio.wait_for(raising(error), 10)
        return await other

    assert run_undeterred(loop, main()) == "other"
    assert caplog.messages == [f"a task or a callback of the model raised {type(error).__name__}"] * 2


def test_a_callback_that_exits_and_a_loop_that_is_stopped_hold_up_nothing(loop, caplog):
    def leave() -> None:
        raise SystemExit

    async def main() -> str:
        told = asyncio.get_running_loop().create_future()
        loop = asyncio.get_running_loop()
        loop.call_soon(leave)
        loop.stop()
        loop.call_soon(told.set_result, "told")
        return await told

    assert run_undeterred(loop, main()) == "told"
    assert caplog.messages


@pytest.mark.parametrize("error", [SystemExit(3), RuntimeError("its own"), ValueError()])
def test_what_the_coroutine_itself_raises_is_raised(loop, error):
    with pytest.raises(type(error)):
        run_undeterred(loop, raising(error))
