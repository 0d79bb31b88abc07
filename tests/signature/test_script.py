"""A printed script runs as printed, whatever the types."""

from __future__ import annotations

import ast
import sys
import types
from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
import pytest

from runner import JSON, Audio, Concept, Frame, Image, ModelClass, NamedFields, Param, Region, Text, Video
from runner.signature.dialect import Dialect
from runner.signature.publish import from_proto, publish, to_proto
from runner.signature.script import CLIENT_NAMES, client_script
from runner.wire.pb import inference_pb2 as pb


class Model(ModelClass):
    @ModelClass.method
    def predict(self, prompt: str = "", image: Image = None, top_k: int = Param(5), t: float = 0.7) -> str:
        """Answer a question.

        Second paragraph.
        """

    @ModelClass.method
    def generate(self, prompt: str, x: np.ndarray = np.zeros(3)) -> Iterator[str]: ...  # noqa: B008

    @ModelClass.method
    def everything(
        self,
        a: bytes,
        b: Text,
        c: Image,
        d: Audio,
        e: Video,
        f: Concept,
        g: Region,
        h: Frame,
        i: np.ndarray,
        j: list[str],
        k: tuple[str, Image],
        l: NamedFields(x=str, y=int),  # noqa: E741
        m: dict[str, Any],
        n: list[dict],
        o: JSON,
        p: Literal["a", "b"],
        q: int | None,
    ) -> dict: ...

    @ModelClass.method
    def stream(self, items: Iterator[str], language: str = "en") -> Iterator[str]: ...

    @ModelClass.method
    def track(self, frames: Iterator[Frame]) -> Iterator[list[Region]]: ...

    @ModelClass.method
    def collect(self, sounds: Iterator[Audio]) -> str: ...

    @ModelClass.method
    def close(self) -> str: ...


SIGNATURES = {
    name: from_proto(to_proto(signature, dialect=Dialect.NATIVE)) for name, signature in publish(Model)[0].items()
}


class Recorder:
    """Stands for `runner.client.Model`: writes down what it is called with."""

    calls: dict[str, dict[str, Any]]

    def __init__(self, **settings):
        type(self).calls = {"": settings}

    def __getattr__(self, name):
        return self.method(name)

    def method(self, name):
        def call(**arguments):
            type(self).calls[name] = {
                key: list(value) if isinstance(value, Iterator) else value for key, value in arguments.items()
            }
            return []

        return call


def run(script, monkeypatch):
    monkeypatch.setitem(sys.modules, "runner.client", types.SimpleNamespace(Model=Recorder))
    exec(compile(script, "script", "exec"), {})
    return Recorder.calls


def test_every_method_is_called_with_values_of_its_types(monkeypatch):
    calls = run(client_script(SIGNATURES.values(), base_url="http://127.0.0.1:8000"), monkeypatch)
    assert calls[""] == {"base_url": "http://127.0.0.1:8000"}
    assert list(calls)[1:] == list(SIGNATURES)
    assert calls["predict"]["top_k"] == 5
    assert calls["predict"]["prompt"]
    assert list(calls["generate"]) == ["prompt"]  # the array is known to the server only
    assert list(calls["everything"]) == list("abcdefghijklmnopq")
    assert isinstance(calls["everything"]["k"], tuple)
    assert calls["everything"]["l"].keys() == {"x", "y"}
    assert len(calls["stream"]["items"]) == 2
    assert all(isinstance(frame, Frame) for frame in calls["track"]["frames"])
    assert all(isinstance(sound, Audio) for sound in calls["collect"]["sounds"])


def test_the_model_is_opened_as_it_was_here(monkeypatch):
    settings = {"url": "https://clarifai.com/u/a/models/m", "base_url": "http://h:1", "deployment_id": "d"}
    assert run(client_script([], **settings), monkeypatch) == {"": settings}


def test_only_what_is_needed_is_there():
    script = client_script([SIGNATURES["stream"]])
    assert script == (
        "# The key, if the server wants one, is taken from the environment: RUNNER_PAT.\n"
        "from runner.client import Model\n"
        "\n"
        "model = Model()\n"
        "\n"
        "for item in model.stream(items=iter(['What is the future of AI?', 'And its past?']), language='en'):\n"
        "    print(item)\n"
    )


@pytest.mark.parametrize("name", SIGNATURES)
def test_each_method_alone_is_valid_python(name):
    ast.parse(client_script([SIGNATURES[name]]))


def test_the_first_line_of_the_docstring_is_a_comment():
    assert "# Answer a question.\nresult = model.predict(" in client_script([SIGNATURES["predict"]])


def test_a_method_called_like_an_attribute_of_the_client_is_reached():
    from runner.client import Model as Client

    assert "model.method('close')()" in client_script([SIGNATURES["close"]])
    assert {name for name in vars(Client) | vars(Client.__base__) if not name.startswith("_")} == CLIENT_NAMES


def test_a_description_stays_a_comment():
    signature = from_proto(
        pb.MethodSignature(
            name="predict",
            method_type=pb.MethodSignature.UNARY_UNARY,
            description="Answer\rimport os\x0cexit()\0",
            output_fields=[pb.ModelTypeField(name="return", type=pb.ModelTypeField.STR)],
        )
    )
    assert "# Answerimport osexit()\n" in client_script([signature])
