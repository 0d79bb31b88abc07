"""The official Node.js client, unmodified, from npm.

It is installed once into `.cache/`; without node, npm or a network on the first run these tests are skipped.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.real.npm import Node, installed, needs_node

pytestmark = [pytest.mark.real, pytest.mark.timeout(240), needs_node]  # the first run installs the client

VERSION = "0.4.0"
DRIVER = Path(__file__).parent / "node" / "driver.cjs"


@pytest.fixture(scope="module")
def node() -> Iterator[Node]:
    node = Node(DRIVER, installed("clarifai-nodejs", VERSION))
    yield node
    node.close()


@pytest.fixture(scope="module")
def chat(node, serve):
    base = serve("chat", "--allow-private-urls").base_url
    return lambda kind, **args: node.ask(base=base, kind=kind, args=args)


@pytest.fixture(scope="module")
def types(node, serve):
    base = serve("types", "--allow-private-urls").base_url
    return lambda method, **args: node.ask(base=base, kind="predict", args={"methodName": method, **args})


def replied(answer: dict[str, object]) -> dict[str, object]:
    """Return what the chat model says it received."""
    assert "value" in answer, answer
    return json.loads("".join(data["stringValue"] for data in answer["value"]))


def test_available_methods(chat):
    assert chat("methods") == {"value": ["predict", "generate", "chat"]}


def test_method_signatures(chat):
    (predict, *_) = chat("signatures")["value"]
    assert predict["name"] == "predict"
    assert [field["name"] for field in predict["inputFieldsList"]][:3] == ["prompt", "image", "images"]


def test_text(chat):
    assert replied(chat("predict", methodName="predict", prompt="What is photosynthesis?"))["prompt"] == (
        "What is photosynthesis?"
    )


def test_parameters(chat):
    reply = replied(
        chat("predict", methodName="predict", prompt="x", max_tokens=7, temperature=0.25, reasoning_effort="high")
    )
    assert (reply["max_tokens"], reply["temperature"], reply["reasoning_effort"]) == (7, 0.25, "high")


@pytest.mark.parametrize("source", ["url", "bytes"])
def test_image(chat, samples, cat, source):
    image = {"url": f"{samples}/cat1.jpeg"} if source == "url" else {"base64": base64.b64encode(cat).decode()}
    reply = replied(chat("predict", methodName="predict", prompt="Describe the image", image=image))
    assert reply["image"] == [64, 48]


def test_server_stream(chat):
    assert replied(chat("generate", methodName="generate", prompt="Explain"))["prompt"] == "Explain"


def test_lists_of_objects(chat, cat):
    # This client sends every object inside a list as JSON text.
    tools = [{"type": "function", "function": {"name": "get_weather", "strict": True}}]
    images = [{"base64": base64.b64encode(cat).decode()}]
    answer = chat("generate", methodName="generate", prompt="x", tools=tools, tool_choice="auto", images=images)
    reply = replied(answer)
    assert (reply["tools"], reply["tool_choice"], reply["images"]) == (tools, "auto", [[64, 48]])


def test_conversation(chat):
    messages = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]
    answer = chat("generate", methodName="chat", messages=messages)
    assert [data["stringValue"] for data in answer["value"]] == ["user: Hi\n", "assistant: Hello\n"]


@pytest.mark.parametrize(
    ("method", "value", "field"),
    [
        ("echo_str", "grüße", "stringValue"),
        ("echo_str", "", "stringValue"),
        ("echo_int", 42, "intValue"),
        ("echo_int", 0, "intValue"),
        ("echo_float", 0.5, "floatValue"),
        ("echo_bool", True, "boolValue"),
        ("echo_bool", False, "boolValue"),
    ],
)
def test_plain_values(types, method, value, field):
    (data,) = types(method, value=value)["value"]
    assert data[field] == value


def test_json_is_sent_as_text(types):
    (data,) = types("echo_dict", value={"a": 1})["value"]
    ((key, value),) = data["structValue"]["fieldsMap"]
    assert (key, value["numberValue"]) == ("a", 1)


def test_text_type_is_sent_as_a_string(types):
    (data,) = types("echo_text", value="hello")["value"]
    assert data["text"]["raw"] == "hello"


def test_lists(types):
    (data,) = types("echo_ints", value=[1, 0, 3])["value"]
    assert [part["data"]["intValue"] for part in data["partsList"]] == [1, 0, 3]
    (data,) = types("echo_dicts", value=[{"a": 1}, {}])["value"]
    assert len(data["partsList"]) == 2
    (data,) = types("echo_concepts", value=[{"name": "cat", "value": 0.5}])["value"]
    assert [concept["name"] for concept in data["conceptsList"]] == ["cat"]


def test_calls_without_arguments(types):
    (data,) = types("zero_int")["value"]
    assert data["intValue"] == 0


def test_errors(node, serve, types):
    base = serve("misbehaving").base_url
    answer = node.ask(base=base, kind="predict", args={"methodName": "fail", "text": "the cat is out"})
    assert "the cat is out" in answer["error"]
    # A failed stream shows its description and nothing else.
    answer = node.ask(base=base, kind="generate", args={"methodName": "fail_first", "text": "no first word"})
    assert "no first word" in answer["error"]
    assert "factor" in types("scale", text="a", factor=9)["error"]
