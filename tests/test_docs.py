"""What the documentation says is true, as far as a program can tell: links, tables, names, and code that runs."""

from __future__ import annotations

import argparse
import ast
import contextlib
import importlib
import io
import re
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import yaml

from runner import errors
from runner.cli.main import _parser
from runner.config import load_server_config
from runner.errors import CallError, ErrorKind, RunnerError
from runner.grpc_protocol.status import StatusCode
from runner.http2.limits import Limits
from runner.model import ModelClass
from runner.options import MethodOptions
from runner.server.ingress import messages as ingress_messages
from runner.server.status import Code, code_of, grpc_code_of
from runner.signature.publish import publish
from runner.testing.server_process import ServerProcess
from runner.workers import messages
from tests.official import require_sdk

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
README, ARCHITECTURE, CLIENT, ERRORS, MODELS, SERVER = (
    ROOT / name
    for name in (
        "README.md",
        "docs/architecture.md",
        "docs/client.md",
        "docs/errors.md",
        "docs/models.md",
        "docs/server-behavior.md",
    )
)


def fences(page: Path, language: str) -> list[str]:
    """Return the fenced blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)


def prose(page: Path) -> str:
    """Return a page without its fenced blocks."""
    return re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)


def anchors(page: Path) -> set[str]:
    """Return the names that a link may give to the page's headings."""
    headings = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def rows(page: Path, *, start: str) -> list[list[str]]:
    """Return the cells of the table whose first line begins with `start`."""
    lines = page.read_text().splitlines()
    first = next(number for number, line in enumerate(lines) if line.startswith(start))
    table: list[list[str]] = []
    for line in lines[first + 2 :]:
        if "|" not in line:
            break
        table.append([cell.strip() for cell in line.strip("|").split(" | ")])
    return table


# --- Names that must exist --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links(page):
    broken: list[str] = []
    for target in re.findall(r"\]\(([^)]+)\)", prose(page)):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        if not file.exists() or (anchor and anchor not in anchors(file)):
            broken.append(target)
    assert not broken


def subcommands() -> set[str]:
    (action,) = (action for action in _parser()._actions if isinstance(action, argparse._SubParsersAction))
    return set(action.choices)


def test_the_readme_names_every_command():
    named = {re.match(r"`runner ([a-z-]+)", row[0])[1] for row in rows(README, start="| command |")}
    assert named == subcommands()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_that_are_named_exist(page):
    # `runner X` in backticks, or at the start of a line that is typed
    named = re.findall(
        r"`runner ([a-z][a-z-]*)|^\$? *(?:\.venv/bin/)?runner ([a-z][a-z-]*)", page.read_text(), re.MULTILINE
    )
    assert {one or other for one, other in named} <= subcommands()
    scripts = re.findall(r"`?\bscripts/([a-z]+)", page.read_text())
    assert [name for name in scripts if not (ROOT / "scripts" / name).exists()] == []


def test_flags_that_are_named_exist():
    (action,) = (action for action in _parser()._actions if isinstance(action, argparse._SubParsersAction))
    known = {flag for parser in action.choices.values() for option in parser._actions for flag in option.option_strings}
    named = {
        flag for page in (README, MODELS, CLIENT, ERRORS, SERVER) for flag in re.findall(r"`(--[a-z-]+)", prose(page))
    }
    assert named <= known


def test_every_file_is_in_the_map():
    source = ARCHITECTURE.read_text()
    named = re.findall(r"^- `(\S+\.py)`:", source, re.MULTILINE)
    modules = [path.relative_to(ROOT / "runner") for path in sorted((ROOT / "runner").rglob("*.py"))]
    existing = [str(path) for path in modules if path.name != "__init__.py" and path.parts[:2] != ("wire", "pb")]
    assert sorted(named) == sorted(existing), "docs/architecture.md, The map: one line for each file"


def defined(file: Path) -> set[str]:
    """Return the names of a module's functions, classes, methods and constants, as `name` or `Class.name`."""
    names: set[str] = set()
    for node in ast.parse(file.read_text()).body:
        match node:
            case ast.ClassDef(name=name, body=body):
                members = [member for member in body if isinstance(member, ast.FunctionDef | ast.AsyncFunctionDef)]
                names |= {name, *(f"{name}.{member.name}" for member in members)}
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                names.add(name)
            case ast.AnnAssign(target=ast.Name(id=name)):
                names.add(name)
            case ast.Assign(targets=targets):
                names |= {target.id for target in targets if isinstance(target, ast.Name)}
            case _:
                pass
    return names


def test_functions_on_the_way_of_a_call_exist():
    text = prose(ARCHITECTURE)
    in_files = re.findall(r"`([a-z_/]+\.py)`\s+`([A-Za-z_.]+)`", text)
    assert len(in_files) > 25
    for file, name in in_files:
        assert name in defined(ROOT / "runner" / file), f"{file} has no {name}"
    everything = set().union(*(defined(path) for path in (ROOT / "runner").rglob("*.py")))
    for name in re.findall(r"`([A-Z]\w+\.\w+)`", text):
        assert name in everything, name


def test_files_that_are_named_exist():
    for page in PAGES:
        for path in re.findall(r"`((?:runner|tests|docs|proto|examples|benchmarks)/[\w./-]+\.\w+)`", prose(page)):
            assert (ROOT / path).exists(), f"{page.name}: {path}"


def test_every_message_of_ingress_processes_is_listed():
    listed = {row[0].strip("`"): row[1] for row in rows(ARCHITECTURE, start="| message of an ingress process |")}
    to_ingress, from_ingress = ingress_messages.ToIngress.__args__, ingress_messages.FromIngress.__args__
    assert set(listed) == {message.__name__ for message in (*to_ingress, *from_ingress)}
    for name, direction in listed.items():
        message = getattr(ingress_messages, name)
        ways = {(True, True): "both", (True, False): "to it", (False, True): "from it"}
        assert direction == ways[message in to_ingress, message in from_ingress], name


def test_every_message_is_listed():
    listed = {row[0].strip("`"): row[1:3] for row in rows(ARCHITECTURE, start="| message |")}
    to_worker, from_worker = messages.ToWorker.__args__, messages.FromWorker.__args__
    assert set(listed) == {message.__name__ for message in (*to_worker, *from_worker)}
    for name, (direction, channel) in listed.items():
        message = getattr(messages, name)
        ways = {(True, True): "both", (True, False): "to the worker", (False, True): "from the worker"}
        assert direction == ways[message in to_worker, message in from_worker], name
        assert channel == ("control" if message.CONTROL else "data"), name


# --- Tables -----------------------------------------------------------------------------------------------------------


def call_errors() -> list[type[CallError]]:
    """Return the errors that a call can end with, in the order of the tree."""
    return [type(errors.call_error(kind, "")) for kind in ErrorKind]


def code_table() -> str:
    lines = [
        "| error | Clarifai service | on a bidi call there | our service (gRPC) |",
        "| --- | --- | --- | --- |",
    ]
    for kind in call_errors():
        error = kind("")
        unary, bidi = (Code(code_of(error, streaming_input=streaming).code) for streaming in (False, True))
        other = "the same" if unary is bidi else f"{bidi} `{bidi.name}`"
        grpc = StatusCode(grpc_code_of(error))
        lines.append(f"| `{kind.__name__}` | {unary} `{unary.name}` | {other} | {grpc} `{grpc.name}` |")
    return "\n".join(lines)


def test_codes():
    text = ERRORS.read_text()
    begin, end = "<!-- codes -->\n", "\n<!-- /codes -->"
    assert text.partition(begin)[2].partition(end)[0] == code_table(), f"docs/errors.md needs:\n{code_table()}"


def test_kinds_are_named_after_the_classes():
    for kind in call_errors():
        words = re.sub(r"(?<!^)(?=[A-Z])", "_", kind.__name__).lower()
        assert kind.kind.value == ("internal" if kind is errors.InternalError else words)


def test_the_tree_of_errors():
    (tree, *_) = fences(ERRORS, "text")
    drawn = errors.__doc__ or ""
    assert [line.strip() for line in tree.splitlines()] == [
        line.strip() for line in drawn.splitlines() if re.search(r"[├└│]|^    RunnerError", line)
    ]

    def below(kind: type[RunnerError]) -> Iterator[str]:
        yield kind.__name__
        for child in kind.__subclasses__():
            if child.__module__ == errors.__name__:
                yield from below(child)

    assert set(re.findall(r"\b[A-Z]\w+(?= {2,}|$)", tree, re.MULTILINE)) == set(below(RunnerError))


def test_limits_and_their_defaults():
    defaults: dict[str, object] = {}
    for key, value in yaml.safe_load((ROOT / "config.yaml").read_text()).items():
        inner = value.items() if isinstance(value, dict) else [(None, value)]
        defaults |= {key if name is None else f"{key}.{name}": each for name, each in inner}
    table = rows(SERVER, start="| key |")
    assert len(table) > 10
    for key, default, *_ in table:
        assert str(defaults[key.strip("`")]) == default, key
    numeric = {key for key, value in defaults.items() if isinstance(value, int) and not isinstance(value, bool)}
    assert {key.strip("`") for key, *_ in table} == numeric - {"port"}


def test_fixed_limits():
    for what, value, where in rows(SERVER, start="| limit |"):
        name, file = re.fullmatch(r"`(\w+)` in `(\S+)\.py`", where).groups()
        module = importlib.import_module(file.replace("/", "."))
        assert getattr(module, name) == int(value.removesuffix(" bytes")), what


def test_limits_of_a_connection():
    table = " ".join(value for _, value, *_ in rows(SERVER, start="| limit of one connection |"))
    told = set(re.findall(r"\d+", table))
    untold = {"header_table_bytes"}  # HTTP/2's own
    for field in fields(Limits):
        assert field.name in untold or str(int(field.default)) in told, field.name


def test_options_of_methods():
    tables = rows(MODELS, start="| option of `@ModelClass.method` |") + rows(MODELS, start="| option of any method |")
    told = {name for first, *_ in tables for name in re.findall(r"`(\w+)`", first)}
    assert told == {field.name for field in fields(MethodOptions)}


@pytest.mark.parametrize("page", [MODELS, SERVER], ids=lambda page: page.name)
def test_configurations_are_valid(page, tmp_path):
    for number, text in enumerate(fences(page, "yaml")):
        file = tmp_path / f"{number}.yaml"
        file.write_text(text)
        load_server_config(file)


# --- Code -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_python_is_valid(page):
    for number, source in enumerate(fences(page, "python")):
        compile(source, f"{page.name}, block {number}", "exec")


@pytest.mark.filterwarnings("ignore")
def test_the_models_of_the_guide():
    """Everything on the page runs, from top to bottom, in one namespace."""
    pytest.importorskip("torch")
    names: dict[str, Any] = {"__name__": "models_page"}
    for number, source in enumerate(fences(MODELS, "python")):
        exec(compile(source, f"{MODELS.name}, block {number}", "exec"), names)
    models = [each for each in names.values() if isinstance(each, type) and issubclass(each, ModelClass)]
    published = [method.name for model in models if model is not ModelClass for method in publish(model)[1]]
    assert published == ["predict", "generate", "shout", "total", "echo", "predict", "count", "running_sum", "predict"]


def test_the_types_of_the_guide():
    """Each hint of the table can be published, and what is said to have no place cannot."""
    import numpy as np
    import PIL.Image
    from numpy.typing import NDArray

    import runner
    from runner.signature.hints import read_method

    names: dict[str, Any] = {"np": np, "PIL": PIL, "NDArray": NDArray, **vars(runner)}
    names |= {name: getattr(runner, name) for name in runner.__all__}
    exec("from typing import *", names)

    class M:
        x: int

    def function(hint: str) -> Any:
        scope = {**names, "M": M}
        exec(f"def f(self, x: {hint}) -> str: ...", scope)
        return scope["f"]

    table = rows(MODELS, start="| hint |")
    hints = [hint.replace(r"\|", "|") for row in table for hint in re.findall(r"`([^`]+)`", row[0])]
    generic = {"list[T]": "list[str]", "tuple[T, U]": "tuple[str, int]", "Iterator[T]": "Iterator[str]"}
    generic |= {"T | None": "str | None", "Optional[T]": "Optional[str]"}
    for hint in hints:
        if hint not in ("torch.Tensor", "TypedDict"):
            read_method(M, "f", function(generic.get(hint, hint)))
    for hint in ("Any", "set[str]", "tuple[str, ...]", "int | str", "M"):
        with pytest.raises(errors.SignatureError):
            read_method(M, "f", function(hint))


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Any]:
    """Return what serves the first Python block of a page as a model directory, and gives its port."""
    with contextlib.ExitStack() as stack:

        def serve(page: Path, name: str) -> int:
            directory = tmp_path / name
            directory.mkdir()
            (directory / "model.py").write_text(fences(page, "python")[0])
            process = ServerProcess.start(directory, {}, tmp_path, 60.0)
            stack.callback(process.close)
            return int(process.base_url.rpartition(":")[2])

        yield serve


def run(source: str, port: int, names: dict[str, Any]) -> str:
    """Run a block against another port than the one it prints, and return what it printed."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(source.replace("127.0.0.1:8000", f"127.0.0.1:{port}"), "<documentation>", "exec"), names)
    return printed.getvalue()


@pytest.mark.real
@pytest.mark.filterwarnings("ignore")  # the official client warns about itself
def test_the_readme_from_top_to_bottom(served, tmp_path, monkeypatch):
    _, ours, official, test = fences(README, "python")
    (answer,) = fences(README, "text")
    port = served(README, "greeter")
    assert run(ours, port, {}) == answer
    require_sdk()
    assert run(official, port, {}) == answer
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(test, names)
    names["test_greeting"]()
    with pytest.raises(errors.InvalidInput) as caught:
        run(ours.replace("times=2", "times=12"), port, {})
    assert f"`{caught.value}`" in README.read_text()


@pytest.mark.real
@pytest.mark.filterwarnings("ignore")
def test_the_client_page_from_top_to_bottom(served):
    _, *blocks = fences(CLIENT, "python")
    (first_answer,) = fences(CLIENT, "text")
    port = served(CLIENT, "shop")
    names: dict[str, Any] = {"__name__": "client_page"}
    printed = [run(block, port, names) for block in blocks if "clarifai" not in block]
    assert printed[0] == first_answer
    assert printed[2] == "chunk 0\nchunk 1\nchunk 2\nchunk 0\n"
    for block in blocks:
        if "clarifai" in block:
            require_sdk()
            assert run(block, port, names) == "HELLO\n['chunk 0', 'chunk 1']\n"
    names["model"].close()
