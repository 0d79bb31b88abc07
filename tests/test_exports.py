"""Exporting a name is a decision: this list is it."""

from __future__ import annotations

import subprocess
import sys

import runner
import runner.errors
import runner.types


def test_the_package():
    assert sorted(runner.__all__) == [
        "Audio",
        "Batch",
        "CallContext",
        "Concept",
        "END",
        "Frame",
        "Image",
        "JSON",
        "ModelClass",
        "NamedFields",
        "Pad",
        "Param",
        "Region",
        "Rows",
        "SKIP",
        "Slots",
        "Text",
        "Video",
    ]
    assert all(hasattr(runner, name) for name in runner.__all__)


def test_the_types():
    assert sorted(runner.types.__all__) == [
        "Audio",
        "Concept",
        "Frame",
        "Image",
        "JSON",
        "NamedFields",
        "Region",
        "Text",
        "Video",
    ]


def test_the_errors():
    raised = {name for name, value in vars(runner.errors).items() if isinstance(value, type)}
    assert {name for name in raised if issubclass(getattr(runner.errors, name), BaseException)} <= set(
        runner.errors.__all__
    )


def test_importing_the_package_loads_nothing_heavy():
    heavy = ("numpy", "PIL", "torch", "google.protobuf", "grpc", "uvloop", "asyncio")
    program = f"import sys, runner; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
