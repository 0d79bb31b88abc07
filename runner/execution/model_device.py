"""A model's device as its batches need it: the thread that runs them, and what brings their arrays there.

Made before anything runs there and kept for good: what is warmed up is kept by thread, and by stream. PyTorch keeps
cuDNN's plans, cuBLAS's handles and oneDNN's primitives per thread, and a GPU's memory per stream. A thread that has not
run a shape yet plans it anew, which for a convolutional network was measured to take 0.6 s.
"""

from __future__ import annotations

from runner.batching.device import DeviceThread, Post
from runner.batching.gpu_marks import GpuMarks
from runner.batching.staging import Stager
from runner.execution import torch_threads


class ModelDevice:
    """Owns the thread, made when it is first asked for: a model without batches of plain functions has none."""

    def __init__(self, name: str, post: Post) -> None:
        """Make it without a thread.

        Args:
            name: as torch spells it: `cpu`, `cuda:0`.
            post: to the loop.
        """
        self.stager = Stager(name)
        self._name = name
        self._post = post
        self._thread: DeviceThread | None = None

    @property
    def thread(self) -> DeviceThread:
        """The thread that runs batches. Asked for where the model was loaded, whose ways with torch it takes over."""
        if self._thread is None:
            marks = GpuMarks(self._name) if self._name.startswith("cuda") else None
            self._thread = DeviceThread(self._post, torch_threads.inherited(), marks)
        return self._thread

    def close(self) -> None:
        """Let the thread end after what it has."""
        if self._thread is not None:
            self._thread.close()

    def __repr__(self) -> str:
        return f"<ModelDevice {self._name}, {self._thread}>"
