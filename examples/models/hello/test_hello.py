"""A model is a plain class: its test needs no server."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest


@pytest.fixture
def hello():
    spec = importlib.util.spec_from_file_location("hello_model", Path(__file__).with_name("model.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    model = module.Hello()
    model.load_model()
    return model


def test_one_greeting(hello):
    assert hello.predict("Ada") == "Hello, Ada!"
    assert hello.predict() == "Hello, world!"


def test_an_omitted_param_takes_its_default(hello):
    assert len(list(hello.generate("Ada"))) == 3
    assert list(hello.generate("Ada", times=2)) == ["Hello no. 1, Ada!", "Hello no. 2, Ada!"]


def test_each_answer_comes_before_the_next_question(hello):
    asked = []

    def people():
        for name in ("Ada", "Grace"):
            asked.append(name)
            yield name

    answers = hello.stream(people())
    assert next(answers) == "Hello, Ada!"
    assert asked == ["Ada"]
    assert list(answers) == ["Hello, Grace!"]
