"""Imports point down. Each test names the edge that breaks the drawing below.

cli, testing
server                      client (stands on wire)
engine
dispatch, workers
execution, batching         what runs in a worker process
processes                   under workers and server
wire                        grpc_protocol (under server only)
signature                   http2
errors, types, limits, ...  the base: modules directly in `runner`, and `runner.types`
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "runner"

# part -> the parts it may import, beside itself and the base
MAY_IMPORT: dict[str, set[str]] = {
    "base": set(),
    "types": set(),
    "pb": set(),
    "signature": set(),
    "wire": {"signature"},
    "batching": {"signature", "wire"},
    "execution": {"signature", "wire", "batching"},
    "dispatch": {"signature"},
    "processes": {"signature", "wire"},
    "workers": {"signature", "wire", "processes", "batching", "execution"},
    "engine": {"signature", "wire", "processes", "batching", "execution", "dispatch", "workers"},
    "http2": set(),
    "grpc_protocol": {"http2"},
    "server": {
        "signature",
        "wire",
        "batching",
        "execution",
        "dispatch",
        "processes",
        "workers",
        "engine",
        "http2",
        "grpc_protocol",
    },
    "client": {"signature", "wire"},
    "testing": {
        "signature",
        "wire",
        "batching",
        "execution",
        "dispatch",
        "processes",
        "workers",
        "engine",
        "server",
        "client",
        "http2",
        "grpc_protocol",
    },
    "cli": {
        "signature",
        "wire",
        "batching",
        "execution",
        "dispatch",
        "processes",
        "workers",
        "engine",
        "server",
        "client",
        "http2",
        "grpc_protocol",
        "testing",
    },
}
BASE = {"base", "types", "pb"}

GRPC = {"server", "client"}
"""The only parts that know gRPC: transports, not what travels on them."""

DECIDES_ONLY = ("dispatch", "batching/policy.py", "http2", "grpc_protocol")
"""Events and instants in, decisions out: these never look at a clock, wait, or touch a socket."""


def modules() -> list[Path]:
    return [path for path in sorted(PACKAGE.rglob("*.py")) if path.parent != PACKAGE / "wire" / "pb"]


def name_of(path: Path) -> str:
    """runner/wire/codec.py -> runner.wire.codec"""
    return ".".join(("runner", *path.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(".__init__")


def part_of(module: str) -> str:
    """runner.wire.codec -> wire; runner.wire.pb.inference_pb2 -> pb; runner.errors -> base"""
    names = module.split(".")
    if names[1:3] == ["wire", "pb"]:
        return "pb"
    if len(names) > 1 and names[1] in MAY_IMPORT:
        return names[1]
    return "cli" if names[1:] == ["__main__"] else "base"


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """Every import of a file, wherever it stands: (line, full name of the module or of what is taken from it)."""
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: imports inside the package are written out in full"
            for alias in node.names:
                yield node.lineno, f"{node.module}.{alias.name}"


def offences(paths: list[Path], wrong: set[str]) -> list[str]:
    return [
        f"{path.relative_to(PACKAGE.parent)}:{line} imports {name}"
        for path in paths
        for line, name in imports(path)
        if name.split(".")[0] in wrong
    ]


def loaded_after(statement: str) -> set[str]:
    """The top-level modules a fresh interpreter has after running `statement`."""
    code = f"import sys\n{statement}\nprint(*{{name.split('.')[0] for name in sys.modules}})"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=PACKAGE.parent, timeout=50, check=False
    )
    assert result.returncode == 0, result.stderr
    return set(result.stdout.split())


def test_every_part_has_a_place():
    parts = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert parts <= set(MAY_IMPORT), "say in MAY_IMPORT what the new part may import"


def test_imports_point_down():
    wrong: list[str] = []
    for path in modules():
        here = part_of(name_of(path))
        allowed = MAY_IMPORT[here] | BASE | {here}
        wrong += [
            f"{path.relative_to(PACKAGE.parent)}:{line} imports {name}: {here} may not know {part_of(name)}"
            for line, name in imports(path)
            if name.split(".")[0] == "runner" and part_of(name) not in allowed
        ]
    assert not wrong, "\n".join(wrong)


def test_only_transports_know_grpc():
    elsewhere = [path for path in modules() if part_of(name_of(path)) not in GRPC]
    assert not offences(elsewhere, {"grpc", "grpc_health", "grpc_reflection"})


def test_the_official_client_is_for_tests():
    assert not offences(modules(), {"clarifai", "clarifai_grpc"})


def test_nothing_is_pickled():
    assert not offences(modules(), {"pickle", "cloudpickle", "marshal", "dill"})


def test_torch_is_never_imported_by_us():
    """A model imports torch; what handles its tensors finds it in `sys.modules`, or has none to handle."""
    assert not [
        f"{path.relative_to(PACKAGE.parent)}:{node.lineno} imports torch"
        for path in modules()
        for node in ast.parse(path.read_bytes()).body
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in ([node.module] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names])
        if name is not None and name.split(".")[0] == "torch"
    ]


def test_what_decides_does_nothing_else():
    pure = [path for path in modules() if path.relative_to(PACKAGE).as_posix().startswith(DECIDES_ONLY)]
    assert not offences(pure, {"asyncio", "time", "socket", "threading", "selectors", "uvloop"})


def test_importing_the_package_is_cheap():
    loaded = loaded_after("import runner")
    assert not loaded & {"numpy", "PIL", "grpc", "google", "torch", "httpx", "httpcore", "asyncio", "yaml"}


@pytest.mark.real
def test_the_server_process_has_no_torch_and_no_arrays():
    names = [name_of(path) for path in modules() if part_of(name_of(path)) in ("server", "engine", "dispatch")]
    loaded = loaded_after("\n".join(f"import {name}" for name in names if not name.endswith("transport_grpcio")))
    assert "google" in loaded
    assert not loaded & {"grpc", "torch", "numpy", "PIL", "httpx", "clarifai", "clarifai_grpc"}


@pytest.mark.real
def test_a_worker_process_never_pays_for_grpc():
    names = [name_of(path) for path in modules() if part_of(name_of(path)) in ("workers", "execution", "batching")]
    loaded = loaded_after("\n".join(f"import {name}" for name in names))
    assert not loaded & {"grpc", "torch", "clarifai", "clarifai_grpc"}


@pytest.mark.real
def test_an_ingress_process_loads_what_carries_bytes_and_nothing_else():
    loaded = loaded_after("import runner.server.ingress.child")
    assert "uvloop" in loaded
    assert not loaded & {"grpc", "google", "numpy", "torch", "PIL", "yaml", "h11", "httpx"}


def test_weights_are_loaded_as_numbers_and_never_as_programs():
    """`torch.load` unpickles unless it is told not to."""
    root = PACKAGE.parent
    for path in [
        file for folder in ("runner", "examples", "benchmarks", "tests") for file in (root / folder).rglob("*.py")
    ]:
        for node in ast.walk(ast.parse(path.read_bytes())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("torch.load", "torch.hub.load", "joblib.load"):
                told = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
                assert told.get("weights_only") == "True", f"{path.relative_to(root)}:{node.lineno}"
