"""Where people speak, said while they do: Silero VAD over many streams of audio, whose steps run together.

Each stream is a coroutine with a row of what the network remembers. A window of audio is a step: `listen` is a
coalescing point, so whatever streams have a window when the device is free are one batch, with their rows gathered and
scattered.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import TypedDict

import numpy as np
import torch
from network import MEMORY, TAIL, WINDOW, Network
from speech import RATE, Speech

from runner import ModelClass, Param, Rows, Slots
from runner.errors import InvalidInput

STREAMS = 64  # at once; who comes later waits for a row


class Event(TypedDict):
    """Speech begins or ends."""

    event: str
    seconds: float


class VoiceActivity(ModelClass):
    """Hears speech in 16 kHz mono audio."""

    def load_model(self) -> None:
        """Read the weights, and run once to warm up."""
        if not self.device.startswith("cuda"):
            torch.set_num_threads(1)  # a step is some 0.1 ms of work: more threads wait for one another
        self.net = Network(self.device)
        self.slots = Slots(STREAMS)
        self.memory = Rows(torch.zeros(2, STREAMS, MEMORY, device=self.device), axis=1)
        self.tails = Rows(torch.zeros(STREAMS, TAIL, device=self.device))
        self.net.step(torch.zeros(1, TAIL + WINDOW, device=self.device), self.memory.tensor[:, :1])

    @ModelClass.method
    async def detect(
        self,
        chunks: AsyncIterator[np.ndarray],
        threshold: float = Param(0.5, "Probability from which on it is speech", min_value=0.15, max_value=1),
        silence_ms: float = Param(100.0, "How long speech has to pause to be over", min_value=0),
        margin_ms: float = Param(30.0, "What is added at both ends of speech", min_value=0, max_value=10_000),
    ) -> AsyncIterator[Event]:
        """Say where speech begins and ends, as soon as that is certain.

        `chunks`: mono audio at 16 kHz in pieces of any length, as floats from -1 to 1 or as 16-bit integers.
        """
        speech = Speech(threshold, silence_ms, margin_ms)
        audio = Windows()
        async with aclosing(self._probabilities(chunks, audio)) as heard:
            async for probability in heard:
                if (found := speech.hear(probability)) is not None:
                    yield _event(*found)
        if (found := speech.finish(audio.samples)) is not None:
            yield _event(*found)

    @ModelClass.method
    async def probabilities(self, chunks: AsyncIterator[np.ndarray]) -> AsyncIterator[float]:
        """Say of each window of 32 ms how probable speech is in it. `chunks` as in `detect`."""
        async with aclosing(self._probabilities(chunks, Windows())) as heard:
            async for probability in heard:
                yield probability

    @ModelClass.batched(max_batch_size=STREAMS)
    def listen(self, windows: list[np.ndarray]) -> list[float]:
        """Hear one window of each of many streams, whose contexts say which rows are theirs."""
        rows = [entry.state["row"] for entry in self.context.entries]
        window = torch.from_numpy(np.stack(windows)).to(self.device)
        heard = torch.cat((self.tails.gather(rows), window), 1)
        probabilities, memory = self.net.step(heard, self.memory.gather(rows))
        self.tails.scatter(rows, heard[:, -TAIL:])
        self.memory.scatter(rows, memory)
        return probabilities.tolist()

    async def _probabilities(self, chunks: AsyncIterator[np.ndarray], audio: Windows) -> AsyncGenerator[float, None]:
        """Hold a row for as long as there is audio, or somebody who listens: hence `aclosing` around it."""
        async with self.slots.lease() as row:
            self.context.state["row"] = row
            async for chunk in chunks:
                for window in audio.cut(chunk):
                    yield await self.listen(window)
            for window in audio.rest():
                yield await self.listen(window)


class Windows:
    """Cuts the audio of a stream, which comes in pieces of any length, into windows of one length."""

    def __init__(self) -> None:
        self.samples = 0
        self._left = np.zeros(0, np.float32)

    def cut(self, chunk: np.ndarray) -> list[np.ndarray]:
        """Return the windows that are full with this piece: float32 (WINDOW,) each."""
        if chunk.ndim != 1 or chunk.dtype.kind not in "if":
            raise InvalidInput(
                f"a chunk is one row of samples, floats or 16-bit integers, not {chunk.dtype}{chunk.shape}",
                path="chunks",
            )
        scale = 1 / 32768 if chunk.dtype.kind == "i" else 1
        self.samples += len(chunk)
        audio = np.concatenate((self._left, chunk.astype(np.float32) * np.float32(scale)))
        full = len(audio) // WINDOW * WINDOW
        self._left = audio[full:]
        return list(audio[:full].reshape(-1, WINDOW))

    def rest(self) -> list[np.ndarray]:
        """Return the last window, filled up with silence, if there is a part of one."""
        left, self._left = self._left, self._left[:0]
        return [np.pad(left, (0, WINDOW - len(left)))] if len(left) else []


def _event(kind: str, place: int) -> Event:
    return {"event": kind, "seconds": place / RATE}
