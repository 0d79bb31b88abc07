"""What we publish is what the official SDK publishes for the same method, and what its client prints."""

from __future__ import annotations

import importlib.util
import json
import warnings
from pathlib import Path

import pytest

from runner import ModelClass
from runner.signature.dialect import Dialect
from runner.signature.hints import read_method
from runner.signature.publish import from_proto, signatures_json, to_proto
from tests.official import require_sdk

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    require_sdk()
    from clarifai.runners.utils import method_signatures as sdk
    from clarifai_grpc.grpc.api import resources_pb2

_spec = importlib.util.spec_from_file_location("signature_methods", Path(__file__).with_name("methods.py"))
methods = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(methods)

OURS, OFFICIAL = methods.ours(), methods.official()


def publish(function, dialect=Dialect.CLARIFAI):
    owner = type("Model", (ModelClass,), {function.__name__: function})
    return to_proto(read_method(owner, function.__name__, function), dialect=dialect)


@pytest.mark.parametrize("name", OFFICIAL)
def test_the_message_is_the_official_one(name):
    message = resources_pb2.MethodSignature.FromString(publish(OURS[name]).SerializeToString())
    assert message == sdk.build_function_signature(OFFICIAL[name])


def test_a_bidi_method_of_str_is_printed_as_text():
    def stream(self, input_iterator: iter_of_str, language: str = "en") -> iter_of_str: ...  # noqa: F821

    from collections.abc import Iterator

    stream.__annotations__.update({"input_iterator": Iterator[str], "return": Iterator[str]})
    message = resources_pb2.MethodSignature.FromString(publish(stream).SerializeToString())
    assert sdk.get_method_signature(message) == (
        "def stream(input_iterator: Iterator[data_types.Text], language: str = en) -> Iterator[data_types.Text]:"
    )


def test_optional_arguments_may_be_none_in_the_official_client():
    def predict(self, image: bytes | None, n: int | None = None) -> str: ...

    message = resources_pb2.MethodSignature.FromString(publish(predict).SerializeToString())
    assert not sdk.serialize({"image": None, "n": None}, message.input_fields).parts


def test_the_signatures_reply_is_read_by_the_official_client():
    messages = [publish(function) for function in OURS.values()]
    text = signatures_json(messages)
    read = sdk.signatures_from_json(text)
    assert list(read) == list(OURS)
    assert read == {name: sdk.build_function_signature(function) for name, function in OFFICIAL.items()}
    assert json.loads(text)["predict"]["inputFields"] == [{"name": "prompt", "type": "STR"}]


@pytest.mark.parametrize("name", OFFICIAL)
def test_an_official_message_can_be_read(name):
    message = publish(OURS[name])
    assert from_proto(message).name == name
