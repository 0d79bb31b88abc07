"""Every snippet of the public page, run by the official Python client with only URL, base and PAT changed.

What the page prints as an example is replaced by what our models answer. Where the page's own text cannot run with any
server (the client refuses it), the nearest text that can is used, and a comment says what is different.
"""

from __future__ import annotations

import json

import pytest

pytestmark = [pytest.mark.real, pytest.mark.filterwarnings("ignore")]  # the official client warns about itself

HEADER = """
import os
from clarifai.client import Model
from clarifai.runners.utils.data_types import Audio, Image, Text

os.environ["CLARIFAI_PAT"] = "YOUR_PAT_HERE"
"""

CHAT = 'model = Model(url="https://clarifai.com/openai/chat-completion/models/o4-mini")\n'

MODEL = """
model = Model(
    url="MODEL_URL_HERE",
    # deployment_id="DEPLOYMENT_ID_HERE"
)
"""

PIL_IMAGE = """
import PIL.Image
pil_image = PIL.Image.open("path/to/your/image.jpg")
"""

LOCAL_IMAGE = """
local_image_path = "path/to/your/image.jpg"
with open(local_image_path, "rb") as f:
    image_bytes = f.read()
"""

IMAGES = {
    "url": ("", 'Image(url="https://samples.clarifai.com/cat1.jpeg")'),
    "bytes": (LOCAL_IMAGE, "Image(bytes=image_bytes)"),
    "pil": (PIL_IMAGE, "Image.from_pil(pil_image)"),
}

TOOLS = """
tools = [
    {
        "type": "function",
        "function": {
            "name": "get_weather",
            "description": "Get current temperature for a given location.",
            "parameters": {
                "type": "object",
                "properties": {
                    "location": {"type": "string", "description": "City and country e.g. Bogotá, Colombia"},
                    "units": {"type": "string", "enum": ["Celsius", "Fahrenheit"]},
                },
                "required": ["location"],
                "additionalProperties": False,
            },
            "strict": True,
        },
    }
]
"""


@pytest.fixture(scope="module")
def chat(serve):
    return serve("chat", "--allow-private-urls")


@pytest.fixture(scope="module")
def streams(serve):
    return serve("streams", "--allow-private-urls")


@pytest.fixture(scope="module")
def classifiers(serve):
    return serve("classifiers", "--allow-private-urls")


def test_model_by_ids(run_page, chat):
    snippet = HEADER + 'model = Model(user_id="model_user_id", app_id="model_app_id", model_id="model_id")\n'
    assert json.loads(run_page(snippet + 'print(model.predict("hi"))', chat))["prompt"] == "hi"


def test_available_methods(run_page, chat):
    snippet = HEADER + CHAT + "model_methods = model.available_methods()\nprint(model_methods)\n"
    assert run_page(snippet, chat) == "dict_keys(['predict', 'generate', 'chat'])\n"


def test_method_signature(run_page, chat):
    snippet = """
method_name = "predict" # Or, "generate", "chat", etc
method_signature = model.method_signature(method_name= method_name)
print(method_signature)
"""
    # How this version of the client prints what the spec says about defaults.
    assert run_page(HEADER + CHAT + snippet, chat) == (
        "def predict(prompt: str, image: data_types.Image = 'null', images: List[data_types.Image] = None, "
        "chat_history: List[data_types.JSON] = None, max_tokens: int = 512, temperature: float = 1.0, "
        "top_p: float = 0.8, reasoning_effort: str = low) -> str:\n"
    )


def test_client_script(run_page, run_page_alone, chat):
    script = run_page(HEADER + CHAT + "model_script = model.generate_client_script()\nprint(model_script)\n", chat)
    assert 'model = Model(\n    "https://clarifai.com/openai/chat-completion/models/o4-mini"' in script
    # It runs as printed, given the variables that its first lines ask for.
    first, *_ = run_page_alone(script, chat).splitlines()
    assert json.loads(first)["prompt"] == "What is the future of AI?"


def test_deployment(run_page_alone, chat):
    # Without `deployment_user_id` this client asks its default base for the user, so it gets an interpreter of its own.
    snippet = """
from clarifai.client import Model
model = Model(
    url="MODEL_URL_HERE",
    deployment_id="DEPLOYMENT_ID_HERE",
)
print(model.predict("hi"))
"""
    assert json.loads(run_page_alone(snippet, chat))["prompt"] == "hi"


def test_nodepool(run_page_alone, chat):
    snippet = """
from clarifai.client import Model
model = Model(
    url="MODEL_URL_HERE",
    compute_cluster_id = "COMPUTE_CLUSTER_ID_HERE",
    nodepool_id = "NODEPOOL_ID_HERE"
)
print(model.predict("hi"))
"""
    assert json.loads(run_page_alone(snippet, chat))["prompt"] == "hi"


@pytest.mark.parametrize("arguments", ['"What is photosynthesis?"', 'prompt="What is photosynthesis?"'])
def test_predict_text(run_page, chat, arguments):
    printed = run_page(HEADER + CHAT + f"response = model.predict({arguments})\nprint(response)\n", chat)
    assert json.loads(printed) == {
        "prompt": "What is photosynthesis?",
        "image": None,
        "images": None,
        "chat_history": None,
        "max_tokens": 512,
        "temperature": 1.0,
        "top_p": 0.8,
        "reasoning_effort": "low",
    }


@pytest.mark.parametrize("source", IMAGES)
def test_predict_image(run_page, chat, source):
    before, image = IMAGES[source]
    call = f'response = model.predict(\n    prompt="Describe the image",\n    image={image}\n)\nprint(response)\n'
    reply = json.loads(run_page(HEADER + CHAT + before + call, chat))
    assert reply["prompt"] == "Describe the image"
    assert reply["image"] == [64, 48]


def test_generate_text(run_page, chat):
    snippet = """
response_stream = model.generate(
    prompt="Explain quantum computing in simple terms"
)
for text_chunk in response_stream:
    print(text_chunk, end="", flush=True)
"""
    assert json.loads(run_page(HEADER + CHAT + snippet, chat))["prompt"] == "Explain quantum computing in simple terms"


def test_generate_text_of_url(run_page, chat):
    snippet = """
import requests
prompt_from_url = requests.get("https://samples.clarifai.com/featured-models/redpajama-economic.txt")
prompt_text = prompt_from_url.text.strip()
response_stream = model.generate(
    prompt=prompt_text
)
for text_chunk in response_stream:
    print(text_chunk, end="", flush=True)
"""
    assert json.loads(run_page(HEADER + CHAT + snippet, chat))["prompt"] == "Prices rise when money is plenty."


@pytest.mark.parametrize("source", IMAGES)
def test_generate_image(run_page, chat, source):
    before, image = IMAGES[source]
    call = f"""
response_stream = model.generate(
    prompt="Describe the image",
    image={image}
)
for text_chunk in response_stream:
    print(text_chunk, end="", flush=True)
"""
    reply = json.loads(run_page(HEADER + CHAT + before + call, chat))
    assert reply["prompt"] == "Describe the image"
    assert reply["image"] == [64, 48]


def test_stream_text(run_page, streams):
    snippet = """
# Create a list of input Texts to simulate a stream
input_texts = iter([
    Text(text="First input."),
    Text(text="Second input."),
    Text(text="Third input.")
])
response_iterator = model.stream(input_texts)
print("Streaming output:\\n")
for response in response_iterator:
    print(response.text)
"""
    printed = run_page(HEADER + MODEL + snippet, streams)
    assert printed == "Streaming output:\n\n1: First input.\n2: Second input.\n3: Third input.\n"


@pytest.mark.parametrize(
    ("audio", "heard"),
    [
        ("Audio(bytes=b'')", "0 bytes "),
        ('Audio(url="https://samples.clarifai.com/cat1.jpeg")', "{cat} bytes "),
    ],
)
def test_stream_audio(run_page, streams, audio, heard, cat):
    # The page writes `iter(Audio(...))` and `audio=Audio(...)`; the client wants an iterator of Audio.
    snippet = f"""
response_stream = model.transcribe_audio(
    audio=iter([{audio}])
)
for text_chunk in response_stream:
    print(text_chunk.text, end="", flush=True)
"""
    assert run_page(HEADER + MODEL + snippet, streams) == heard.format(cat=len(cat))


def test_batch_of_images(run_page, classifiers):
    snippet = """
batch_results = model.predict_image([
    {"image": Image(url="https://samples.clarifai.com/cat1.jpeg")},
    {"image": Image(url="https://samples.clarifai.com/cat2.jpeg")},
])
for i, pred in enumerate(batch_results):
    print(f"Image {i+1} cat confidence: {pred['cat']:.2%}")
"""
    lines = run_page(HEADER + MODEL + snippet, classifiers).splitlines()
    assert [line.partition(": ")[0] for line in lines] == ["Image 1 cat confidence", "Image 2 cat confidence"]
    assert all(50 < float(line.partition(": ")[2].rstrip("%")) <= 100 for line in lines)


def test_batch_of_texts(run_page, classifiers):
    snippet = """
batch_results = model.predict([
    {"text": Text("Positive review")},
    {"text": Text("Positive review")},
    {"text": Text("Positive review")},
])
"""
    assert run_page(HEADER + MODEL + snippet + "print(batch_results)", classifiers) == "[0.75, 0.75, 0.75]\n"


def test_multimodal(run_page, chat):
    snippet = """
result = model.predict(
    prompt="What is the future of AI?",
    image=Image(url="https://samples.clarifai.com/metro-north.jpg"),
    max_tokens=512,
    temperature=0.7,
    top_p=0.8
)
print(result)
"""
    reply = json.loads(run_page(HEADER + MODEL + snippet, chat))
    assert (reply["image"], reply["max_tokens"], reply["temperature"], reply["top_p"]) == ([64, 48], 512, 0.7, 0.8)


def test_example_of_the_page_s_script(run_page, chat):
    # The calls of the page's generated script; older software published `max_tokens` as a float.
    snippet = """
response = model.generate(prompt='What is the future of AI?', image=Image(url='https://samples.clarifai.com/metro-north.jpg'), images=None, chat_history=None, max_tokens=512, temperature=0.7, top_p=0.8, reasoning_effort='low')
for res in response:
    print(res, end='')
print()
response = model.chat(messages=None, max_tokens=750, temperature=0.7, top_p=0.8, reasoning_effort='low')
response = model.chat(messages=[{'role': 'user', 'content': 'Hi'}], max_tokens=750)
for res in response:
    print(res)
"""  # noqa: E501  the page's lines
    generated, chatted, *_ = run_page(HEADER + CHAT + snippet, chat).splitlines()
    assert json.loads(generated)["image"] == [64, 48]
    assert chatted == "user: Hi"


def test_tool_calling(run_page, chat):
    snippet = """
model = Model(url="https://clarifai.com/anthropic/completion/models/claude-sonnet-4")
response = model.generate(
    prompt="What is the temperature in Tokyo in Celsius?",
    tools=tools,
    tool_choice='auto',
    max_tokens=1024,
    temperature=0.5,
)
print("".join(response))
"""
    reply = json.loads(run_page(HEADER + TOOLS + snippet, chat))
    scope: dict[str, object] = {}
    exec(TOOLS, scope)
    assert reply["tools"] == scope["tools"]
    assert (reply["tool_choice"], reply["max_tokens"], reply["temperature"]) == ("auto", 1024, 0.5)
