"""How large batches should be."""

from __future__ import annotations

import pytest

from runner.batching.autosize import largest_that_pays


@pytest.mark.parametrize(
    ("seconds", "largest", "size"),
    [
        (lambda n: 0.01, 100, 64),  # a batch costs the same whatever its size: as large as may be
        (lambda n: 0.01 * n, 1024, 1),  # nothing is gained
        (lambda n: 0.01 + 0.001 * n, 1024, 64),  # twice 32 bring 13% more, twice 64 only 7%
        (lambda n: 0.01 if n <= 16 else None, 1024, 16),  # the memory ends
    ],
)
def test_it_grows_while_that_pays(seconds, largest, size):
    assert largest_that_pays(seconds, largest) == size


def test_not_even_one():
    with pytest.raises(ValueError, match="not even a batch of one"):
        largest_that_pays(lambda n: None, 8)
