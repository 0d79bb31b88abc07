"""`runner init`: a first model directory, with a test that passes."""

from __future__ import annotations

import argparse
import re
import shlex
from pathlib import Path
from typing import cast

from runner.cli.usage import Subcommands, UsageError

__all__ = ["add"]

_DESCRIPTION = """\
Write a first model into the new directory DIR: model.py, config.yaml, requirements.txt and a test.
Files that are there already are never touched.
"""

_MODEL = '''\
"""What this model does, in a sentence."""

from collections.abc import Iterator

from runner import ModelClass, Param


class {class_name}(ModelClass):
    def load_model(self) -> None:
        """Runs once in each worker, before the first call: load weights here, on `self.device`."""
        self.greeting = "Hello"

    @ModelClass.method
    def predict(self, prompt: str = "world") -> str:
        """Greet `prompt`."""
        return f"{{self.greeting}}, {{prompt}}!"

    @ModelClass.method
    def generate(self, prompt: str, times: int = Param(3, "how many", min_value=1, max_value=100)) -> Iterator[str]:
        """Greet `prompt` again and again; each greeting is sent as soon as it is made."""
        for number in range(1, times + 1):
            yield f"{{self.greeting}} no. {{number}}, {{prompt}}!"
'''

_CONFIG = """\
# Every key is optional; the project's own config.yaml explains all of them.
model:
  id: {model_id}
num_threads: 16  # calls of plain functions that run at once in a worker
"""

_REQUIREMENTS = """\
# What model.py imports, one package a line. `runner` itself need not be listed.
"""

_TEST = '''\
"""Run with `pytest`."""

from pathlib import Path

from runner.testing import serve


def test_predict() -> None:
    with serve(Path(__file__).parent) as model:
        assert model.predict(prompt="Ada") == "Hello, Ada!"


def test_generate() -> None:
    with serve(Path(__file__).parent) as model:
        assert len(list(model.generate(prompt="Ada", times=2))) == 2
'''


def add(subcommands: Subcommands) -> None:
    """Add the subcommand."""
    command = subcommands.add_parser(
        "init",
        help="write a first model, with a test",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    command.add_argument("directory", metavar="DIR", help="it gives the model its name")
    command.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    given = cast(str, arguments.directory)
    if not given:  # as a path that would be this directory
        raise UsageError("DIR: got an empty name; give a new directory")
    directory = Path(given)
    name = directory.resolve().name
    words = [word for word in re.split(r"[^0-9A-Za-z]+", name) if word]
    if not words or not words[0][0].isalpha():
        raise UsageError(f"{str(directory)!r}: the directory's name becomes the model's: begin it with a letter")
    files = {
        "model.py": _MODEL.format(class_name="".join(word[0].upper() + word[1:] for word in words)),
        "config.yaml": _CONFIG.format(model_id="-".join(words)),
        "requirements.txt": _REQUIREMENTS,
        f"test_{'_'.join(words).lower()}.py": _TEST,
    }
    there = [file for file in files if (directory / file).exists()]
    if there:
        raise UsageError(f"{directory / there[0]} exists; give a new directory")
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for file, text in files.items():
            (directory / file).write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{given}: cannot be written: {error.strerror}; give another directory") from None
    print(f"Wrote {', '.join(files)} to {directory}. What to type next:\n")
    typed = shlex.quote(given)
    print(f"  pytest {typed}\n  runner check {typed}\n  runner serve {typed}")
    print('  runner call predict --prompt "Ada"      (in another terminal)')
    return 0
