"""Tells what a model can learn of the process it runs in."""

from __future__ import annotations

import os

from runner import ModelClass


class Confiding(ModelClass):
    @ModelClass.method
    def environment(self) -> dict[str, str]:
        return dict(os.environ)

    @ModelClass.method
    def pid(self) -> int:
        return os.getpid()
