"""Calls that wait until a test opens a gate, a named pipe, and that say when they have begun, through another one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from runner import ModelClass


class Held(ModelClass):
    @ModelClass.method
    def hold(self, call: str, gate: str) -> str:
        self._pass(gate)
        return f"held {call}"

    @ModelClass.method
    def hold_items(self, call: str, gate: str, items: int) -> Iterator[str]:
        yield f"first of {call}"
        self._pass(gate)
        for number in range(items):
            yield f"{call} {number}"

    @ModelClass.method
    def answer(self, call: str, gate: str, words: Iterator[str]) -> Iterator[str]:
        yield f"first of {call}"
        self._pass(gate)
        for word in words:
            yield f"{call} {word}"

    def _pass(self, gate: str) -> None:
        begun = os.open(f"{gate}.begun", os.O_WRONLY)
        os.write(begun, b".")
        os.close(begun)
        Path(gate).read_text()  # waits for a writer, and for it to close
