"""The official Node.js client, unmodified, from npm.

It is installed once into `.cache/`; without node, npm or a network on the first run these tests are skipped.
"""

from __future__ import annotations

import base64
import json
import queue
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.real,
    pytest.mark.timeout(240),  # the first run installs the client
    pytest.mark.skipif(not (shutil.which("node") and shutil.which("npm")), reason="node and npm are not installed"),
]

VERSION = "0.4.0"
HOME = Path(__file__).parents[2] / ".cache" / f"clarifai-nodejs-{VERSION}"
DRIVER = Path(__file__).parent / "node" / "driver.cjs"
INSTALLED_WITHIN = 150.0  # seconds; mostly 20 are enough
ANSWER_WITHIN = 10.0  # seconds; the client itself retries some failures for ten minutes


@pytest.fixture(scope="module")
def home() -> Path:
    """Return a directory whose node_modules has the client."""
    if not (HOME / "installed").exists():
        HOME.mkdir(parents=True, exist_ok=True)
        quiet = ["--no-save", "--no-audit", "--no-fund", "--ignore-scripts"]
        command = ["npm", "install", *quiet, "--prefix", str(HOME), f"clarifai-nodejs@{VERSION}"]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=INSTALLED_WITHIN, check=False)
        except subprocess.TimeoutExpired:
            pytest.skip(f"npm did not install clarifai-nodejs@{VERSION} within {INSTALLED_WITHIN:g} s")
        if done.returncode != 0:
            pytest.skip(f"npm could not install clarifai-nodejs@{VERSION}: {done.stderr.strip()[-300:]}")
        (HOME / "installed").touch()
    return HOME


class Node:
    """A node process that makes calls."""

    def __init__(self, home: Path) -> None:
        self._process = subprocess.Popen(
            ["node", str(DRIVER), str(home)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self._answers: queue.Queue[str] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._answers.put(line)

    def ask(self, base: str, kind: str, **args: object) -> dict[str, object]:
        """Return `{"value": ...}` or `{"error": text}`."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"base": base, "kind": kind, "args": args}) + "\n")
        self._process.stdin.flush()
        return json.loads(self._answers.get(timeout=ANSWER_WITHIN))

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join()
        assert self._process.stdout is not None
        self._process.stdout.close()


@pytest.fixture(scope="module")
def node(home) -> Iterator[Node]:
    node = Node(home)
    yield node
    node.close()


@pytest.fixture(scope="module")
def chat(node, serve):
    base = serve("chat", "--allow-private-urls").base_url
    return lambda kind, **args: node.ask(base, kind, **args)


@pytest.fixture(scope="module")
def types(node, serve):
    base = serve("types", "--allow-private-urls").base_url
    return lambda method, **args: node.ask(base, "predict", methodName=method, **args)


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
    answer = node.ask(base, "predict", methodName="fail", text="the cat is out")
    assert "the cat is out" in answer["error"]
    # A failed stream shows its description and nothing else.
    answer = node.ask(base, "generate", methodName="fail_first", text="no first word")
    assert "no first word" in answer["error"]
    assert "factor" in types("scale", text="a", factor=9)["error"]
