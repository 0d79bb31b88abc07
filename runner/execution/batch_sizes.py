"""Batch sizes before the model is ready: those left to us are measured, and those that were named are run once.

Both on the thread that will run the batches: what a run plans or compiles is kept for the thread that it ran on.

`max_batch_size="auto"` leaves the size to us. What was found is kept in a file in the user's cache directory, under the
source of the model's classes and the name of the device: the second start on the same kind of machine measures nothing.
"""

from __future__ import annotations

import contextlib
import hashlib
import inspect
import json
import os
import platform
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Final, cast

from runner import context
from runner.batching.autosize import largest_that_pays
from runner.batching.results import to_host_each
from runner.batching.staging import Stager
from runner.context import BatchContext, CallContext
from runner.errors import InvalidInput, LoadError
from runner.execution.failure import text_of
from runner.execution.method import BatchPlan, LoadedMethod
from runner.execution.model_device import ModelDevice
from runner.model import ModelClass
from runner.signature.published import Published
from runner.signature.sample import sample
from runner.sturdy_log import SturdyLog

logger = SturdyLog("runner.model")

_RUNS: Final = 3
"""Runs of each size; the fastest counts."""

_MOST_REMEMBERED: Final = 256


def settle(
    model: ModelClass,
    methods: Sequence[LoadedMethod],
    published: Sequence[Published],
    device: ModelDevice,
    *,
    memory: Path | None = None,
) -> tuple[tuple[LoadedMethod, ...], tuple[Published, ...]]:
    """Return the methods with the batch sizes that pay, in place of "auto"; run the others in each of `batch_sizes`.

    Args:
        model: the loaded model.
        methods: its methods.
        published: what the server will be told of them.
        device: where its batches will run. The caller's thread waits for it.
        memory: the file in which sizes are remembered; by default in the user's cache directory.

    Raises:
        LoadError: a method cannot be run on its example.
    """
    file = memory_file() if memory is None else memory
    settled: list[LoadedMethod] = []
    told: list[Published] = []
    for method, words in zip(methods, published, strict=True):
        if method.plan is None or not method.plan.automatic:
            if method.plan is not None and method.plan.sizes:
                device.thread.call(partial(_warm_up, method, method.plan, device.stager))
            settled.append(method)
            told.append(words)
            continue
        name = _name_of(model, method)
        size = _remembered(file).get(name)
        if size is None:
            size = device.thread.call(partial(_measured, method, method.plan, device.stager))
            _remember(file, name, size)
        logger.info("%s: batches of up to %d", method.name, size)
        plan = replace(method.plan, limits=replace(method.plan.limits, max_size=size))
        settled.append(replace(method, plan=plan))
        told.append(replace(words, max_batch_size=size))
    return tuple(settled), tuple(told)


def _warm_up(method: LoadedMethod, plan: BatchPlan, stager: Stager) -> None:
    """Run a method once in each of its sizes, so that no caller waits for what a first run has to plan or compile."""
    arguments = _example(method, plan)
    for size in plan.sizes:
        try:
            _run(method, plan, stager, arguments, size)
        except Exception as exc:
            raise LoadError(
                f"{method.name}: it raised on a batch of {size} at warm-up: {type(exc).__name__}: {text_of(exc)}; give "
                "it another example with example=, or other batch_sizes"
            ) from exc


def memory_file() -> Path:
    """Return where sizes are remembered unless it is said otherwise."""
    cache = os.environ.get("XDG_CACHE_HOME")
    return (Path(cache) if cache else Path.home() / ".cache") / "runner" / "batch-sizes.json"


def _measured(method: LoadedMethod, plan: BatchPlan, stager: Stager) -> int:
    arguments = _example(method, plan)

    def seconds_of(size: int) -> float | None:
        best: float | None = None
        try:
            for _ in range(_RUNS):
                started = time.perf_counter()
                _run(method, plan, stager, arguments, size)
                taken = time.perf_counter() - started
                best = taken if best is None else min(best, taken)
        except Exception as exc:
            if size == 1:
                raise LoadError(
                    f"{method.name}: its batch size cannot be found out, since it raised on its example: "
                    f"{type(exc).__name__}: {text_of(exc)}; give it another with example=, or a max_batch_size"
                ) from exc
            logger.info("%s: a batch of %d raised %s, so that is too large", method.name, size, type(exc).__name__)
            return None
        return best

    return largest_that_pays(seconds_of, plan.limits.max_size)


def _run(method: LoadedMethod, plan: BatchPlan, stager: Stager, arguments: Mapping[str, object], size: int) -> None:
    given = dict(arguments)
    for name, stacking in zip(plan.names, plan.stackings, strict=True):
        staged = stager.stage([arguments[name]] * size, stacking, plan.padding)
        given[name] = staged.take()
        if staged.mask is not None and plan.padding is not None and plan.padding.mask is not None:
            given[plan.padding.mask] = staged.mask
    token = context.current.set(BatchContext([CallContext(request_id="warm-up")] * size))
    try:
        result: Any = method.function(**given)
    finally:
        context.current.reset(token)
    to_host_each(result)
    stager.wait()


def _example(method: LoadedMethod, plan: BatchPlan) -> dict[str, object]:
    """Return arguments as a call would bring them: the example's, or generated from the types.

    Raises:
        LoadError: the example does not fit.
    """
    example = plan.example or {}
    given = {
        argument.name: example.get(argument.name, sample(argument.node))
        for argument in method.arguments
        if argument.required or argument.name in example
    }
    codec = method.codec
    try:
        return codec.finish(codec.decode_call(codec.encode_call(given)))
    except InvalidInput as exc:
        raise LoadError(f"{method.name}: its example does not fit, {exc}; give it another with example=") from exc


def _name_of(model: ModelClass, method: LoadedMethod) -> str:
    """What the size depends on: the code, the method, and the device."""
    source = ""
    for owner in type(model).__mro__[:-1]:
        try:
            source += inspect.getsource(owner)
        except (OSError, TypeError):
            source += owner.__qualname__
    device = platform.processor() or platform.machine()
    torch: Any = sys.modules.get("torch")
    if torch is not None and model.device.startswith("cuda"):
        device = cast(str, torch.cuda.get_device_name(model.device))
    else:
        device = f"{device}, {os.cpu_count()} cores"
    return hashlib.sha256(f"{source}\n{method.name}\n{device}".encode()).hexdigest()[:32]


def _remembered(file: Path) -> dict[str, int]:
    try:
        document: object = json.loads(file.read_text())
    except (OSError, ValueError):  # there is none yet, or it is not ours
        return {}
    if not isinstance(document, dict):
        return {}
    items = cast("dict[object, object]", document).items()
    return {str(name): size for name, size in items if isinstance(size, int) and 1 <= size <= 65535}


def _remember(file: Path, name: str, size: int) -> None:
    known = {**_remembered(file), name: size}
    while len(known) > _MOST_REMEMBERED:
        del known[next(iter(known))]
    # A home that cannot be written to only costs the measurement at the next start.
    with contextlib.suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        draft = file.with_name(f"{file.name}.{os.getpid()}")
        draft.write_text(json.dumps(known))
        draft.replace(file)
