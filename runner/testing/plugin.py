"""pytest fixtures: `serve` for one test, `serve_session` for models that are slow to load.

    def test_greeting(serve):
        assert serve(Hello).predict("Ada") == "Hello, Ada!"

Installed packages are found by pytest itself; otherwise, in the top-level conftest.py:
`pytest_plugins = ["runner.testing.plugin"]`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any, TypeAlias

import pytest

from runner.client import Model
from runner.model import ModelClass
from runner.testing import serving

__all__ = ["Serve", "serve", "serve_session"]

Serve: TypeAlias = Callable[..., Model]
"""`runner.testing.serve`, except that it returns the client: the fixture is the `with` block."""


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Serve models until the end of the test; the arguments are those of `runner.testing.serve`."""
    with ExitStack() as stack:

        def serve_until_the_end(model: type[ModelClass] | str | os.PathLike[str], /, **options: Any) -> Model:
            return stack.enter_context(serving.serve(model, **options))

        yield serve_until_the_end


@pytest.fixture(scope="session")
def serve_session() -> Iterator[Serve]:
    """Serve models until the end of the session; the same model with the same options is loaded once."""
    served: dict[object, Model] = {}
    with ExitStack() as stack:

        def serve_once(model: type[ModelClass] | str | os.PathLike[str], /, **options: Any) -> Model:
            key = (model if isinstance(model, type) else os.fspath(model), repr(sorted(options.items())))
            if key not in served:
                served[key] = stack.enter_context(serving.serve(model, **options))
            return served[key]

        yield serve_once
