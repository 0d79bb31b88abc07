"""A model directory for a class that is defined somewhere else, a test module for example."""

from __future__ import annotations

import inspect
import textwrap
from pathlib import Path
from typing import Final

from runner.model import ModelClass

__all__ = ["FILE_MODULE", "write_model_directory"]

FILE_MODULE: Final = "file_of_the_model"
"""Under this name a worker imports the file in which the class is defined."""


def write_model_directory(model_class: type[ModelClass], directory: Path) -> None:
    """Write a `model.py` that imports the class's own file and derives the model from it.

    Raises:
        ValueError: the class is defined in a function or without a file, so that no other process can import it.
    """
    name = model_class.__qualname__
    try:
        file = Path(inspect.getfile(model_class)).resolve()
    except (OSError, TypeError):
        file = Path()
    if "<locals>" in name or not file.is_file():
        raise ValueError(f"workers=True: {name} has to be defined at the top level of a file, for a worker imports it")
    source = f'''\
        """Derives the model from where it is defined: {name}."""

        import importlib.util
        import sys

        sys.path.append({str(file.parent)!r})
        spec = importlib.util.spec_from_file_location({FILE_MODULE!r}, {str(file)!r})
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module
        spec.loader.exec_module(module)


        class {model_class.__name__}(module.{name}):
            __doc__ = module.{name}.__doc__
    '''
    (directory / "model.py").write_text(textwrap.dedent(source), encoding="utf-8")
