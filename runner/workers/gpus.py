"""Which GPUs this process may use: all that the machine shows, as `CUDA_VISIBLE_DEVICES` narrows them down. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from runner.workers.cpu_list import CpuSet


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpu:
    """One GPU, or one MIG part of a GPU, as a worker may have it.

    Attributes:
        name: what `CUDA_VISIBLE_DEVICES` calls it: an index, or `GPU-...` or `MIG-...`.
        free_bytes: memory that nobody has taken yet; None: not known.
        near: CPUs on its side of the machine; empty: not known, or all are alike.
    """

    name: str
    free_bytes: int | None = None
    near: CpuSet = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Board:
    """What is in one slot of the machine: a GPU, cut into MIG parts or whole.

    Attributes:
        whole: all of it.
        parts: its MIG parts; None: it is not cut. No program can use the whole of one that is.
    """

    whole: Gpu
    parts: tuple[Gpu, ...] | None = None


def visible(boards: Sequence[Board] | None, allowed: str | None) -> tuple[Gpu, ...]:
    """Return the GPUs that may be used, in the order in which `cuda:0`, `cuda:1` ... count them.

    Args:
        boards: all of the machine, in the order of their indexes; None: it does not tell, and every name is believed.
        allowed: the value of `CUDA_VISIBLE_DEVICES`; None if it is not set: everything is allowed.
    """
    if allowed is None:
        return tuple(gpu for board in boards or () for gpu in ((board.whole,) if board.parts is None else board.parts))
    found: dict[str, Gpu] = {}
    for name in (name.strip() for name in allowed.split(",")):
        gpu = Gpu(name=name) if boards is None else _named(boards, name)
        # As CUDA reads it: a name that means nothing ends the list, and -1 is one that never means anything.
        if gpu is None or name in ("", "-1"):
            break
        found.setdefault(gpu.name, gpu)
    return tuple(found.values())


def _named(boards: Sequence[Board], name: str) -> Gpu | None:
    """Return the one GPU of that name, None if there is none or several."""
    if name.isdecimal():
        index = int(name)
        # The name stays the person's: by default CUDA numbers fast GPUs first, which only it can do.
        return _as_allowed(boards[index], name) if index < len(boards) else None
    if name.startswith("GPU-"):
        (board, *others) = [each for each in boards if each.whole.name.startswith(name)] or [None]
        return None if board is None or others else _as_allowed(board, board.whole.name)
    parts = [part for board in boards for part in board.parts or () if part.name.startswith(name)]
    if name.startswith("MIG-") and len(parts) == 1:
        return parts[0]
    # The names of parts under old drivers: MIG-GPU-<uuid>/<instance>/<instance>, of which NVML says nothing.
    old = name.startswith("MIG-GPU-") and any(name[4:].startswith(f"{board.whole.name}/") for board in boards)
    return Gpu(name=name) if old else None


def _as_allowed(board: Board, name: str) -> Gpu | None:
    """Return what a program gets that asks for the board: of one that is cut, its first part."""
    if board.parts is None:
        return Gpu(name=name, free_bytes=board.whole.free_bytes, near=board.whole.near)
    return board.parts[0] if board.parts else None
