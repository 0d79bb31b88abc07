from __future__ import annotations

import pytest

from runner.workers.gpus import Board, Gpu, visible

NEAR = frozenset({0, 1})
CUT = Board(
    whole=Gpu(name="GPU-bb22", near=NEAR),
    parts=(Gpu(name="MIG-c1", free_bytes=10, near=NEAR), Gpu(name="MIG-c2", free_bytes=20, near=NEAR)),
)
BOARDS = [
    Board(whole=Gpu(name="GPU-aa11", free_bytes=80, near=NEAR)),
    CUT,
    Board(whole=Gpu(name="GPU-aa22", free_bytes=70)),
]


def names(allowed: str | None) -> list[str]:
    return [gpu.name for gpu in visible(BOARDS, allowed)]


def test_everything_is_visible_and_parts_stand_for_what_is_cut():
    assert names(None) == ["GPU-aa11", "MIG-c1", "MIG-c2", "GPU-aa22"]


@pytest.mark.parametrize(
    ("allowed", "found"),
    [
        ("2,0", ["2", "0"]),
        (" GPU-aa22 , 0", ["GPU-aa22", "0"]),
        ("GPU-aa1", ["GPU-aa11"]),
        ("MIG-c2,MIG-c1", ["MIG-c2", "MIG-c1"]),
        ("1", ["MIG-c1"]),  # a program that asks for a GPU that is cut gets its first part
        ("GPU-bb", ["MIG-c1"]),
        ("0,0", ["0"]),
        ("MIG-GPU-bb22/1/0", ["MIG-GPU-bb22/1/0"]),
    ],
)
def test_names_that_mean_something(allowed, found):
    assert names(allowed) == found


@pytest.mark.parametrize(
    "wrong", ["", "-1", "3", "GPU-aa", "GPU-x", "MIG-c", "MIG-x", "MIG-GPU-xx/1/0", "nonsense", "²"]
)
def test_a_name_that_means_nothing_ends_the_list(wrong):
    assert names(wrong) == []
    assert names(f"0,{wrong},2") == ["0"]


def test_what_is_known_of_a_gpu_comes_along():
    assert visible(BOARDS, "0,GPU-aa22,1") == (
        Gpu(name="0", free_bytes=80, near=NEAR),
        Gpu(name="GPU-aa22", free_bytes=70),
        Gpu(name="MIG-c1", free_bytes=10, near=NEAR),
    )


def test_a_gpu_without_any_parts_yet_cannot_be_used():
    empty = [Board(whole=Gpu(name="GPU-aa"), parts=())]
    assert visible(empty, None) == ()
    assert visible(empty, "0") == ()


def test_names_are_believed_where_the_machine_does_not_tell():
    assert visible(None, "1,GPU-a,-1,0") == (Gpu(name="1"), Gpu(name="GPU-a"))
    assert visible(None, "") == visible(None, None) == ()
    assert visible([], "0") == ()
