"""Forks helpers that come back, while it is loaded and in its methods."""

from __future__ import annotations

import asyncio
import os
import sys

from runner import ModelClass


class Forking(ModelClass):
    """Each child ends, whatever it does."""

    def load_model(self) -> None:
        child = os.fork()
        if not child:
            sys.exit("the helper is not needed")
        self.helper = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

    @ModelClass.method
    async def helpers_end(self) -> int:
        return self.helper

    @ModelClass.method
    async def fork_and_wait(self) -> int:
        """Leaves a child that waits on the loop; returns how that ended."""
        child = os.fork()
        await asyncio.sleep(0)
        if not child:
            await asyncio.sleep(60)
        _, status = await asyncio.to_thread(os.waitpid, child, 0)
        return os.waitstatus_to_exitcode(status)

    @ModelClass.method
    def return_much(self) -> tuple[int, str]:
        """Leaves a child that returns as much as lies in shared memory; returns how that ended."""
        child = os.fork()
        if not child:
            return 0, "child" * 100_000
        ended = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        return ended, "parent" * 100_000
