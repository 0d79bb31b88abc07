"""A program that calls each method of a model once. It runs as printed, without files or other servers."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from runner.signature.method import Argument, Cardinality, MethodSignature
from runner.signature.sample import SENTENCE, sample, sample_argument
from runner.signature.source import value_source
from runner.signature.tree import Kind, Leaf

__all__ = ["client_script"]

CLIENT_NAMES: Final = frozenset(
    (
        "available_methods",
        "close",
        "generate_client_script",
        "method",
        "method_signature",
        "over",
        "statistics",
        "with_timeout",
    )
)
"""Attributes of the client's Model; methods of a model that are called so are reached by `model.method(name)`."""

_TYPE_NAMES = ("Audio", "Concept", "Frame", "Image", "Region", "Text", "Video")

_MEDIA: Final = {
    kind: (name, comment)
    for kind, name, comment in (
        (
            Kind.IMAGE,
            "picture",
            'Two colours. Yours is Image(url="https://..."), Image(bytes=...) or Image.from_pil(...).',
        ),
        (Kind.AUDIO, "sound", 'A moment of silence. Yours is Audio(url="https://...") or Audio(bytes=...).'),
        (Kind.VIDEO, "clip", 'A single frame. Yours is Video(url="https://...") or Video(bytes=...).'),
    )
}
"""The variables of a script that hold files, with a hint about what to put there."""


def client_script(
    signatures: Iterable[MethodSignature],
    *,
    url: str | None = None,
    base_url: str | None = None,
    deployment_id: str | None = None,
    deployment_user_id: str | None = None,
    compute_cluster_id: str | None = None,
    nodepool_id: str | None = None,
) -> str:
    """Return a Python program for `runner.client`.

    Args:
        signatures: the methods, in the order in which they are called.
        url: the model's URL.
        base_url: the server.
        deployment_id: which deployment shall answer.
        deployment_user_id: whose it is.
        compute_cluster_id: with `nodepool_id`, instead of a deployment.
        nodepool_id: with `compute_cluster_id`.
    """
    names = {value_source(sample(Leaf(kind))) or "": name for kind, (name, _) in _MEDIA.items()}
    calls = "\n".join(_call(signature, names) for signature in signatures)
    media = "".join(
        f"# {comment}\n{name} = {value_source(sample(Leaf(kind)))}\n"
        for kind, (name, comment) in _MEDIA.items()
        if re.search(rf"\b{name}\b", calls)
    )
    settings = {
        "url": url,
        "base_url": base_url,
        "deployment_id": deployment_id,
        "deployment_user_id": deployment_user_id,
        "compute_cluster_id": compute_cluster_id,
        "nodepool_id": nodepool_id,
    }
    arguments = "".join(f"    {name}={value!r},\n" for name, value in settings.items() if value)
    model = f"model = Model(\n{arguments})" if arguments else "model = Model()"
    body = "\n".join(part for part in (f"{model}\n", media, calls) if part)
    return f"# The key, if the server wants one, is taken from the environment: RUNNER_PAT.\n{_imports(body)}\n{body}"


def _imports(body: str) -> str:
    standard = "import base64\n" if "base64.b64decode(" in body else ""
    numpy = "import numpy as np\n" if "np.array(" in body else ""
    types = [name for name in _TYPE_NAMES if f"{name}(" in body]
    ours = f"from runner import {', '.join(types)}\n" if types else ""
    return "\n".join(block for block in (standard, numpy, f"{ours}from runner.client import Model\n") if block)


def _call(signature: MethodSignature, names: dict[str, str]) -> str:
    target = f"model.{signature.name}"
    if signature.name in CLIENT_NAMES:
        target = f"model.method({signature.name!r})"
    arguments = [line for argument in signature.arguments if (line := _argument(argument, names))]
    call = f"{target}({', '.join(arguments)})"
    if len(call) > 100:
        call = f"{target}(\n" + "".join(f"    {argument},\n" for argument in arguments) + ")"
    # What a server says stays in its line, whatever Python takes for the end of one.
    comment = "".join(char for char in signature.description.partition("\n")[0] if char.isprintable())
    head = f"# {comment}\n" if comment else ""
    if signature.cardinality in (Cardinality.SERVER_STREAM, Cardinality.BIDI):
        return f"{head}for item in {call}:\n    print(item)\n"
    return f"{head}result = {call}\nprint(result)\n"


def _argument(argument: Argument, names: dict[str, str]) -> str:
    """Return `name=value`, or nothing if the argument is better left out."""
    if argument.streamed:
        items = [sample(argument.node), sample(argument.node)]
        if argument.node == Leaf(Kind.STR):
            items = [SENTENCE, "And its past?"]
        return f"{argument.name}=iter({value_source(items, names)})"
    try:
        source = value_source(sample_argument(argument), names)
    except LookupError:
        return ""
    return "" if source is None else f"{argument.name}={source}"
