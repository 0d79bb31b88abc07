"""What every test gets."""

from __future__ import annotations

import importlib.util
import os

import pytest
from hypothesis import settings

# Tests share two busy cores in CI: an example's time says more about the neighbours than about the code.
settings.register_profile("shared-machine", deadline=None)
# A change is judged by the same examples each time; new ones are looked for wherever people run the tests.
settings.register_profile("ci", deadline=None, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "shared-machine")


def _has_gpu() -> bool:
    if importlib.util.find_spec("torch") is None:
        return False
    import torch

    return torch.cuda.is_available()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what needs a GPU where there is none; torch is imported only if such a test was collected."""
    wanting = [item for item in items if item.get_closest_marker("gpu")]
    if wanting and not _has_gpu():
        for item in wanting:
            item.add_marker(pytest.mark.skip(reason="needs a CUDA device"))
