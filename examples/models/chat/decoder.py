"""Steps of running answers in fixed shapes, several in a row, so that a GPU runs them as recorded graphs.

A step of a small network is some 500 kernels of a few microseconds each; a GPU that is told of them one by one waits
for Python most of the time. So each shape is recorded once, when the model is loaded, and a step is one launch. Shapes
are few: slots from the lowest on, up to a power of two, and a window of positions that covers the longest answer. The
tokens chosen in one step are the next one's input on the device; the host looks at them after the last.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product

import torch
from network import Cache, Llama, Piece
from torch import Tensor

SHORTEST = 256  # positions of the smallest window


class Decoder:
    """Takes steps with all the slots of a cache, of which some take part."""

    def __init__(self, net: Llama, cache: Cache, *, record: bool) -> None:
        """Make the buffers, and record a graph for each shape if told so, which takes CUDA."""
        self._net = net
        self._cache = cache
        self.batches = _powers(1, cache.slots)
        self.windows = _powers(min(SHORTEST, cache.length), cache.length)
        slots, device = cache.slots, net.device
        # Tokens, their places, and what to add to a place after a step: 1 where a slot takes part.
        self._given = torch.zeros((3, slots), dtype=torch.int64, device=device)
        self._slots = torch.arange(slots, device=device)
        self._staged = torch.zeros((3, slots), dtype=torch.int64, pin_memory=device != "cpu")
        size = (slots, net.shape.vocabulary)
        self._logits = torch.zeros(size, dtype=net.embedding.dtype, device=device)
        self._graphs: dict[tuple[int, int], torch.cuda.CUDAGraph] = {}
        if record:
            self._record()

    @torch.inference_mode()
    def run(
        self, pieces: Sequence[Piece], steps: int, choose: Callable[[Tensor, int, Tensor], None]
    ) -> list[list[int]]:
        """Take so many steps.

        Args:
            pieces: one token each; each slot has room for it.
            steps: tokens beyond a slot's room, or beyond what its caller wants, are for the caller to drop.
            choose: given logits (rows, vocabulary), of which row and slot have the same number, the number of the
                step, and the likeliest tokens (rows,), puts others in their place. See `sampling.Chooser`.

        Returns:
            For each piece, the token of each step.
        """
        length = self._cache.length
        rows = next(size for size in self.batches if size > max(piece.slot for piece in pieces))
        reach = min(max(piece.end for piece in pieces) + steps - 1, length)
        window = next(size for size in self.windows if size >= reach)
        given = [[0] * self._cache.slots, [length] * self._cache.slots, [0] * self._cache.slots]
        for piece in pieces:
            given[0][piece.slot], given[1][piece.slot], given[2][piece.slot] = piece.tokens[0], piece.start, 1
        # The last run has ended, and with it the copy out of this memory: its tokens were waited for.
        self._staged.copy_(torch.tensor(given))
        self._given.copy_(self._staged, non_blocking=True)
        tokens = self._given[0, :rows]
        chosen = torch.empty((steps, rows), dtype=torch.int64, device=self._net.device)
        for number in range(steps):
            if (graph := self._graphs.get((rows, window))) is not None:
                graph.replay()
            else:
                self._step(rows, window)
            choose(self._logits[:rows], number, tokens)
            chosen[number] = tokens
        by_slot = chosen.t().tolist()
        return [by_slot[piece.slot] for piece in pieces]

    def _step(self, rows: int, window: int) -> None:
        """Read the given tokens, and have the likeliest next ones given, each at the next place."""
        tokens, places, moves = self._given[:, :rows]
        x = self._net.step(tokens, places, self._slots[:rows], self._cache, window)
        self._logits[:rows] = self._net.logits(x)
        tokens.copy_(self._logits[:rows].argmax(-1))
        places.add_(moves).clamp_(max=self._cache.length)

    @torch.inference_mode()
    def _record(self) -> None:
        """Record every shape. Nobody has a slot yet: all places are where nothing looks."""
        self._given[1] = self._cache.length
        pool = None
        side = torch.cuda.Stream(self._net.device)
        # The largest first: the others find its memory free in the pool that they share.
        for rows, window in product(reversed(self.batches), reversed(self.windows)):
            side.wait_stream(torch.cuda.current_stream(self._net.device))
            with torch.cuda.stream(side):
                for _ in range(2):  # what a library makes ready at its first call is no part of a graph
                    self._step(rows, window)
            torch.cuda.current_stream(self._net.device).wait_stream(side)
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph, pool=pool):
                self._step(rows, window)
            pool = graph.pool()
            self._graphs[rows, window] = graph
        torch.cuda.synchronize(self._net.device)


def _powers(first: int, last: int) -> list[int]:
    """Return `first`, twice that, and so on, up to `last` itself."""
    sizes = [first]
    while sizes[-1] < last:
        sizes.append(min(2 * sizes[-1], last))
    return sizes
