"""Clarifai's own SDK for Python. What needs it is skipped where it is not installed, or cannot be imported."""

from __future__ import annotations

import functools
import subprocess
import sys

import pytest


def require_sdk() -> None:
    """Skip the test that runs, or the module that is being imported, unless the SDK can be imported."""
    pytest.importorskip("clarifai")
    if _crashes():
        pytest.skip(
            "clarifai_protocol, which the SDK imports, crashes this Python: it is compiled for a later 3.13",
            allow_module_level=True,
        )


@functools.cache
def _crashes() -> bool:
    # The wheels of clarifai-protocol 0.0.60 to 0.0.62 for 3.13 know where things lie inside the Python they were built
    # with, and look elsewhere in 3.13.0: https://github.com/Nuitka/Nuitka/issues/3776. The SDK takes no older ones.
    # Nothing but trying tells, in a process of its own. Other versions have to be able to.
    if sys.version_info[:2] != (3, 13):
        return False
    tried = subprocess.run([sys.executable, "-c", "import clarifai.client"], capture_output=True, check=False)
    return tried.returncode < 0
