"""The child of `runner check`: `python -m runner.cli.check_child MODEL_DIR`. Says what it does in lines of JSON."""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from runner.errors import CallError, ConfigError, InvalidInput, LoadError

if TYPE_CHECKING:
    from runner.client.model import Method

_MOST_ITEMS = 20
"""How much of a stream is read: a method may stream for ever."""


def main(model_dir: Path) -> None:
    """Load the model, call each method, and report."""
    tell = _reporter()
    # The service logs what the model raises; here the report says it.
    logging.getLogger("runner").setLevel(logging.CRITICAL)

    from runner.testing import serve

    started = time.perf_counter()
    try:
        serving = serve(model_dir)
        with serving as model:
            tell(event="loaded", seconds=time.perf_counter() - started)
            for name in model.available_methods():
                tell(event="calling", signature=model.method_signature(name))
                started = time.perf_counter()
                outcome, text = _try(model.method(name))
                tell(event="called", outcome=outcome, text=text, seconds=time.perf_counter() - started)
            tell(event="done")
    except (LoadError, ConfigError) as error:
        tell(event="cannot load", text=str(error), details=getattr(error, "details", ""))


def _try(method: Method) -> tuple[str, str]:
    try:
        result = method(**_inputs(method))
        if method.signature.cardinality.streams_output:
            for _ in islice(result, _MOST_ITEMS):
                pass
            result.close()
    except InvalidInput as error:
        return "refused", str(error)
    except CallError as error:
        return "failed", str(error)
    return "ok", ""


def _inputs(method: Method) -> dict[str, Any]:
    """Return values for the arguments that have to be given; the others take their defaults."""
    from runner.signature.sample import sample

    inputs: dict[str, Any] = {}
    for argument in method.signature.arguments:
        if argument.streamed:
            inputs[argument.name] = [sample(argument.node), sample(argument.node)]
        elif argument.required:
            inputs[argument.name] = sample(argument.node)
    return inputs


def _reporter() -> Callable[..., None]:
    """Take stdout for the report; what the model prints goes to stderr."""
    report = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())

    def tell(**event: object) -> None:
        print(json.dumps(event), file=report, flush=True)

    return cast(Callable[..., None], tell)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
