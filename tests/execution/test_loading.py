"""From a directory to a loaded model: what is found, and what the person at the terminal reads if nothing is."""

from __future__ import annotations

import sys
import textwrap
from pathlib import Path

import pytest

from runner.errors import LoadError, SignatureError
from runner.execution.loading import find_model_file, load_class, load_model

MODEL = """
from runner import ModelClass

class Model(ModelClass):
    {body}
"""


@pytest.fixture(autouse=True)
def _clean_imports(monkeypatch):
    """Each test's model.py is imported afresh, and its directory leaves the path."""
    before = set(sys.modules)
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield
    for name in set(sys.modules) - before:
        if (getattr(sys.modules[name], "__file__", None) or "").find("pytest-") >= 0:
            del sys.modules[name]


@pytest.fixture
def directory(tmp_path):
    """Return a function that writes files into a model directory."""

    def write(**files: str) -> Path:
        for name, source in files.items():
            (tmp_path / f"{name}.py").write_text(textwrap.dedent(source))
        return tmp_path

    return write


def with_body(body: str) -> str:
    return MODEL.format(body=textwrap.indent(textwrap.dedent(body), "    ").strip())


def test_a_model_lies_in_the_directory_or_in_its_first_version(tmp_path):
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / "model.py").touch()
    assert find_model_file(tmp_path) == tmp_path / "1" / "model.py"
    (tmp_path / "model.py").touch()
    assert find_model_file(tmp_path) == tmp_path / "model.py"


def test_a_directory_without_a_model(tmp_path):
    with pytest.raises(LoadError, match=r"holds neither model.py nor 1/model.py; `runner init`"):
        find_model_file(tmp_path)
    with pytest.raises(LoadError, match=r"missing is not a directory; give the directory that holds model.py"):
        find_model_file(tmp_path / "missing")
    (tmp_path / "model.py").touch()
    with pytest.raises(LoadError, match="is not a directory"):
        find_model_file(tmp_path / "model.py")


def test_a_model_may_import_what_lies_beside_it(directory):
    path = directory(
        words="WORD = 'hello'",
        model="""
        from runner import ModelClass
        from words import WORD

        class Model(ModelClass):
            word = WORD
        """,
    )
    assert load_class(path).word == "hello"  # pyright: ignore[reportAttributeAccessIssue]


def test_a_models_name_shadows_no_installed_module(directory):
    load_class(directory(model=with_body("pass")))
    assert "model" not in sys.modules


def test_the_model_is_the_class_that_others_do_not_derive_from(directory):
    path = directory(
        model="""
        from runner import ModelClass

        class Base(ModelClass):
            pass

        class Model(Base):
            pass

        class Helper:
            pass
        """
    )
    assert load_class(path).__name__ == "Model"


def test_a_second_name_of_the_same_class_is_no_second_model(directory):
    path = directory(model=with_body("pass") + "\nPredictor = Model\n")
    assert load_class(path).__name__ == "Model"


def test_no_model_and_several(directory):
    with pytest.raises(LoadError, match=r"model.py defines no subclass of ModelClass; derive one"):
        load_class(directory(model="from runner import ModelClass"))
    with pytest.raises(LoadError, match=r"model.py defines several models \(Model, Other\); leave one"):
        load_class(directory(model=with_body("pass") + "\nclass Other(ModelClass): pass\n"))


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("import a_package_that_is_not_there", "ModuleNotFoundError: No module named 'a_package_that_is_not_there'"),
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("import sys; sys.exit(3)", "SystemExit: 3"),
        ("raise KeyboardInterrupt", "KeyboardInterrupt: "),
        ("def f(:\n    pass", "line 1: "),
        ("def f():\npass", "line 2: expected an indented block"),
        ("x = '\0'", ""),
    ],
)
def test_a_file_that_cannot_be_imported(directory, source, text):
    path = directory()
    (path / "model.py").write_text(source)
    with pytest.raises(LoadError) as told:
        load_class(path)
    assert str(told.value).startswith(f"{path}/model.py cannot be imported: ")
    assert text in str(told.value)
    assert "\n" not in str(told.value)


def test_a_file_beside_the_model_that_cannot_be_read_is_named(directory):
    path = directory(model="\n\nimport broken_words", broken_words="def f(:")
    with pytest.raises(LoadError, match=r"cannot be imported: broken_words.py, line 1: "):
        load_class(path)


def test_a_relative_import_is_answered_with_one_that_works(directory):
    with pytest.raises(LoadError, match=r"model.py is in no package: write `from helper import ...`, without a dot: "):
        load_class(directory(model="from .helper import words", helper="words = []"))


def test_a_missing_package_may_be_among_the_requirements(directory):
    path = directory(model="import a_package_that_is_not_there")
    (path / "requirements.txt").touch()
    with pytest.raises(LoadError, match=r"cannot be imported; `pip install -r .*requirements.txt` may bring it: "):
        load_class(path)


def test_a_hint_that_cannot_be_published_is_refused_where_it_stands(directory):
    path = directory(
        model=with_body("""
        def __init_subclass__(cls): pass
        """)
    )
    load_class(path)
    from runner.execution.method import load_methods

    path = directory(
        model=with_body("""
        @ModelClass.method
        def predict(self, x: complex) -> str: return ""
        """)
    )
    model = load_model(load_class(path), "cpu")
    with pytest.raises(SignatureError, match=r"Model.predict cannot be published: argument 'x' of type complex"):
        load_methods(model)


def test_a_model_knows_its_device_from_the_start(directory):
    path = directory(
        model=with_body("""
        def __init__(self):
            self.first = self.device
        def load_model(self):
            self.second = self.device
        """)
    )
    model = load_model(load_class(path), "cuda:0")
    assert (model.first, model.second) == ("cuda:0", "cuda:0")  # pyright: ignore[reportAttributeAccessIssue]


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ("def load_model(self): open('/nowhere/weights.bin')", "FileNotFoundError: "),
        ("def load_model(self): raise SystemExit(3)", "SystemExit: 3"),
        ("def load_model(self): raise KeyboardInterrupt", "KeyboardInterrupt: "),
        ("def __init__(self): raise ValueError('no weights')", "ValueError: no weights"),
        (
            "def __init__(self, size, *rest, weight=1, **more): pass",
            "its __init__ wants size, and a model is made without arguments",
        ),
        ("async def load_model(self): pass", "load_model is `async def`"),
    ],
)
@pytest.mark.filterwarnings("error")
def test_a_model_that_cannot_be_loaded(directory, body, text):
    model_class = load_class(directory(model=with_body(body)))
    with pytest.raises(LoadError) as told:
        load_model(model_class, "cpu")
    assert str(told.value).startswith("Model failed to load: ")
    assert text in str(told.value)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("name", ["__init__", "load_model"])
def test_the_traceback_begins_in_the_models_own_file(directory, name):
    path = directory(
        model=with_body(f"""
        def {name}(self):
            self.weigh()
        def weigh(self):
            raise ValueError("no weights")
        """)
    )
    with pytest.raises(LoadError) as told:
        load_model(load_class(path), "cpu")
    frames = [line for line in told.value.details.splitlines() if line.startswith("  File")]
    assert len(frames) == 2
    assert all(str(path) in line for line in frames)
    assert told.value.details.endswith("ValueError: no weights")


def test_the_traceback_of_an_import_begins_in_the_models_own_file(directory):
    path = directory(model="import broken_numbers", broken_numbers="1 / 0")
    with pytest.raises(LoadError) as told:
        load_class(path)
    frames = [line for line in told.value.details.splitlines() if line.startswith("  File")]
    assert f'File "{path}/model.py", line 1' in frames[0]
    assert f'File "{path}/broken_numbers.py", line 1' in frames[-1]


def test_models_that_are_loaded_one_after_the_other_have_their_own_helpers(tmp_path):
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "words.py").write_text(f"word = {name!r}")
        (tmp_path / name / "model.py").write_text("import words\n" + with_body("word = words.word"))
    assert [load_class(tmp_path / name).word for name in ("first", "second", "first")] == ["first", "second", "first"]
