"""From a model directory to a loaded model, with errors for the person at the terminal.

The directory holds `model.py`, or `1/model.py` as model registries lay it out, with one `ModelClass` subclass.
"""

from __future__ import annotations

import importlib.util
import inspect
import sys
import traceback
from pathlib import Path
from types import ModuleType
from typing import Final

from runner.errors import LoadError, SignatureError
from runner.execution.failure import text_of
from runner.model import ModelClass, instantiate

MODULE_NAME = "runner_served_model"
"""Under this name the file is imported, so that it cannot shadow an installed module called `model`."""


def find_model_file(model_dir: Path) -> Path:
    """Return the path of the model's source file.

    Raises:
        LoadError: there is none.
    """
    if not model_dir.is_dir():
        raise LoadError(f"{model_dir} is not a directory; give the directory that holds model.py")
    for candidate in (model_dir / "model.py", model_dir / "1" / "model.py"):
        if candidate.is_file():
            return candidate
    raise LoadError(f"{model_dir} holds neither model.py nor 1/model.py; `runner init` writes a first one")


def load_class(model_dir: Path) -> type[ModelClass]:
    """Import a model directory's file and return its one `ModelClass` subclass.

    The file's directory goes on `sys.path`, so that it can import what lies beside it.

    Raises:
        LoadError: the file is missing, cannot be imported, or holds no such class or several.
        SignatureError: a class in it cannot be published.
    """
    path = find_model_file(model_dir).resolve()
    _look_first_in(list(dict.fromkeys((path.parent, model_dir.resolve()))))
    return class_in(_import(path))


def class_in(module: ModuleType) -> type[ModelClass]:
    """Return the one `ModelClass` subclass of an imported `model.py`.

    Raises:
        LoadError: there is none, or several.
    """
    path = module.__file__
    # A set: a class may have a second name in the module.
    own = {
        member
        for _, member in inspect.getmembers(module, inspect.isclass)
        if issubclass(member, ModelClass) and member is not ModelClass and member.__module__ == module.__name__
    }
    # A helper base class in the same file is not the model: what others derive from is left out.
    leaves = [member for member in own if not any(other is not member and issubclass(other, member) for other in own)]
    if not leaves:
        raise LoadError(f"{path} defines no subclass of ModelClass; derive one class from runner.ModelClass")
    if len(leaves) > 1:
        names = ", ".join(sorted(member.__name__ for member in leaves))
        raise LoadError(f"{path} defines several models ({names}); leave one, or move the others to another file")
    return leaves[0]


def load_model(model_class: type[ModelClass], device: str) -> ModelClass:
    """Create a model on a device and run its `load_model`.

    Raises:
        LoadError: the model's own code raised.
    """
    if wanted := [each.name for each in _arguments_of(model_class) if each.default is inspect.Parameter.empty]:
        raise LoadError(
            f"{model_class.__name__} failed to load: its __init__ wants {', '.join(wanted)}, and a model is made "
            "without arguments; give them defaults, or read what it needs in load_model"
        )
    try:
        model = instantiate(model_class, device)
        # A coroutine would never run, and the model would answer without its weights.
        if inspect.iscoroutinefunction(model.load_model):
            raise LoadError(
                f"{model_class.__name__} failed to load: load_model is `async def`; write it as a plain `def`"
            )
        model.load_model()
    except (SignatureError, LoadError):
        raise
    except BaseException as exc:
        raise _load_error(f"{model_class.__name__} failed to load", exc) from exc
    return model


def _arguments_of(model_class: type[ModelClass]) -> list[inspect.Parameter]:
    """Return what its constructor takes, but for `*args` and `**kwargs`."""
    parameters = list(inspect.signature(model_class.__init__).parameters.values())[1:]
    rest = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [each for each in parameters if each.kind not in rest]


def _look_first_in(directories: list[Path]) -> None:
    """Make imports find what lies beside a model, also in a process that has loaded others: a session of tests does.

    Their modules are forgotten where this model has files of the same names; it would be given theirs.
    """
    names = {file.stem for directory in directories for file in directory.iterdir()}
    others = _directories - set(directories)
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if file and name.partition(".")[0] in names and any(Path(file).is_relative_to(other) for other in others):
            del sys.modules[name]
    for directory in map(str, directories):
        if directory in sys.path:
            sys.path.remove(directory)
        sys.path.insert(0, directory)
    _directories.update(directories)


_directories: Final[set[Path]] = set()
"""Those of the models that this process has loaded."""


def _import(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(MODULE_NAME, path)
    if spec is None or spec.loader is None:
        raise LoadError(f"{path} cannot be imported as a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[MODULE_NAME] = module
    try:
        spec.loader.exec_module(module)
    except (SignatureError, LoadError):
        raise
    except ModuleNotFoundError as exc:
        requirements = path.parent / "requirements.txt"
        hint = f"; `pip install -r {requirements}` may bring it" if requirements.is_file() else ""
        raise _load_error(f"{path} cannot be imported{hint}", exc) from exc
    except ImportError as exc:
        relative = "relative import" in str(exc) and exc.name is None
        hint = f"; {path.name} is in no package: write `from helper import ...`, without a dot" if relative else ""
        raise _load_error(f"{path} cannot be imported{hint}", exc) from exc
    except SyntaxError as exc:
        elsewhere = f"{Path(exc.filename).name}, " if exc.filename and Path(exc.filename) != path else ""
        raise LoadError(f"{path} cannot be imported: {elsewhere}line {exc.lineno}: {exc.msg}") from exc
    except BaseException as exc:
        raise _load_error(f"{path} cannot be imported", exc) from exc
    return module


def _load_error(what: str, exc: BaseException) -> LoadError:
    return LoadError(f"{what}: {type(exc).__name__}: {text_of(exc)}", details=_own_traceback(exc))


def _own_traceback(exc: BaseException) -> str:
    """The traceback from the model's first frame on: how we got there is no help to its author."""
    own_files = (__file__, inspect.getfile(instantiate), "<frozen importlib")
    frames = traceback.extract_tb(exc.__traceback__)
    first = next(
        (index for index, frame in enumerate(frames) if not frame.filename.startswith(own_files)),
        len(frames),
    )
    kept = frames[first:]
    lines = ["Traceback (most recent call last):\n", *traceback.format_list(kept)] if kept else []
    return "".join([*lines, *traceback.format_exception_only(exc)]).rstrip()
