"""The child of `runner check`: `python -m runner.cli.check_child MODEL_DIR [METHOD ...]`. Says what it does in lines
of JSON.

The methods are those that another child has tried.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from runner.errors import CallError, ConfigError, InvalidInput, LoadError

if TYPE_CHECKING:
    from runner.client.model import Method

_MOST_ITEMS = 20
"""How much of a stream is read: a method may stream for ever."""

_MOST_TOLD = 300
"""Characters of a method's inputs in the report."""


def main(model_dir: Path, tried: Sequence[str]) -> None:
    """Load the model, call each method that was not tried, and report."""
    tell = _reporter()
    # The service logs what the model raises; here the report says it.
    logging.getLogger("runner").setLevel(logging.CRITICAL)

    from runner.execution.loading import MODULE_NAME, class_in
    from runner.model import methods_of
    from runner.testing import serve

    started = time.perf_counter()
    try:
        serving = serve(model_dir)
        with serving as model:
            tell(event="loaded", seconds=time.perf_counter() - started)
            options = methods_of(class_in(sys.modules[MODULE_NAME]))
            for name in model.available_methods():
                if name in tried:
                    continue
                tell(event="calling", method=name, signature=model.method_signature(name))
                method = model.method(name)
                inputs = _inputs(method, options[name].example or {})
                started = time.perf_counter()
                outcome, text = _try(method, inputs)
                seconds = time.perf_counter() - started
                tell(event="called", outcome=outcome, text=text, inputs=_told(inputs), seconds=seconds)
            tell(event="done")
    except (LoadError, ConfigError) as error:
        tell(event="cannot load", text=str(error), details=getattr(error, "details", ""))


def _try(method: Method, inputs: Mapping[str, Any]) -> tuple[str, str]:
    try:
        result = method(**inputs)
        if method.signature.cardinality.streams_output:
            for _ in islice(result, _MOST_ITEMS):
                pass
            result.close()
    except InvalidInput as error:
        return "refused", str(error)
    except CallError as error:
        return "failed", str(error)
    return "ok", ""


def _inputs(method: Method, example: Mapping[str, object]) -> dict[str, Any]:
    """Return the example, and values for what it leaves out and has to be given; the rest takes its defaults."""
    from runner.signature.sample import sample

    inputs: dict[str, Any] = {}
    for argument in method.signature.arguments:
        if argument.name in example:
            inputs[argument.name] = example[argument.name]
        elif argument.streamed:
            inputs[argument.name] = [sample(argument.node), sample(argument.node)]
        elif argument.required:
            inputs[argument.name] = sample(argument.node)
    return inputs


def _told(inputs: Mapping[str, object]) -> str:
    """Return the inputs as they could be written, in one short line."""
    text = " ".join(", ".join(f"{name}={value!r}" for name, value in inputs.items()).split())
    return text if len(text) <= _MOST_TOLD else f"{text[:_MOST_TOLD]}..."


def _reporter() -> Callable[..., None]:
    """Take stdout for the report; what the model prints goes to stderr."""
    report = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())

    def tell(**event: object) -> None:
        print(json.dumps(event), file=report, flush=True)

    return cast(Callable[..., None], tell)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
