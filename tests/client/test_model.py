"""What a caller sees, over gRPC and in memory alike."""

from __future__ import annotations

import gc
import inspect
import queue
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable

import numpy as np
import pytest

from runner.client import ENDED, Model
from runner.errors import Cancelled, DeadlineExceeded, InvalidInput, MethodNotFound, ModelError
from runner.types import Text


def test_methods_are_listed_and_described(model: Model):
    methods = model.available_methods()
    assert methods[:2] == ["predict", "negate"]
    assert isinstance(methods, list)
    assert model.method_signature("predict") == "def predict(prompt: str = 'world', n: int = 1) -> str:"
    assert model.method_signature(method_name="total") == "def total(items: Iterator[int]) -> int:"
    with pytest.raises(MethodNotFound, match="'nope'; it has predict, negate"):
        model.method_signature("nope")


def test_a_method_is_an_attribute_with_a_signature(model: Model):
    assert list(inspect.signature(model.predict).parameters) == ["prompt", "n"]
    assert inspect.signature(model.predict).parameters["n"].default == 1
    assert model.predict.__name__ == "predict"
    assert model.predict.__doc__ == "Greet `prompt`."
    assert "generate" in dir(model)
    assert hasattr(model, "predict")
    assert not hasattr(model, "nope")


def test_unary(model: Model):
    assert model.predict("Ada") == "Hello Ada"
    assert model.predict(n=0) == ""
    assert model.predict(prompt="x", n=2) == "Hello xHello x"


def test_arrays_and_json(model: Model):
    pixels = np.arange(6, dtype=np.int16).reshape(2, 3)
    result = model.negate(pixels, picture=None)
    assert result.dtype == np.int16
    assert np.array_equal(result, -pixels)
    messages = [{"role": "user", "content": "Hi"}]
    assert model.chat(messages) == {"answer": "Hi", "count": 1} == model.chat(messages=messages)


def test_a_method_named_like_an_attribute_of_the_client(model: Model):
    assert model.method("close")("x") == "closed x"


def test_a_batch_answers_in_order_and_fails_in_place(model: Model):
    assert model.predict([{"prompt": "a"}, {"prompt": "b", "n": 2}]) == ["Hello a", "Hello bHello b"]
    first, second, third = model.predict([{"prompt": "a"}, {"prompt": "boom"}, {"prompt": "c", "n": 99}])
    assert first == "Hello a"
    assert isinstance(second, ModelError)
    assert str(second) == "ValueError: boom"
    assert isinstance(third, InvalidInput)
    assert third.path == "n"
    [only] = model.predict([{"prompt": "boom"}])
    assert isinstance(only, ModelError)


def test_errors_have_types(model: Model):
    with pytest.raises(ModelError, match="ValueError: boom"):
        model.predict("boom")
    with pytest.raises(InvalidInput, match=r"n: .*9"):
        model.predict("x", n=10)
    with pytest.raises(InvalidInput) as wrong:
        model.predict(3)
    assert wrong.value.path == "prompt"
    with pytest.raises(TypeError, match="temperature"):
        model.predict("x", temperature=1)


def test_an_error_says_where_the_time_went(model: Model):
    with pytest.raises(ModelError) as failed:
        model.predict.timed("boom")
    assert list(failed.value.times) == ["queue", "wait", "decode", "run", "encode", "batch"]
    assert failed.value.times["run"] > 0
    stream = model.generate("boom")
    with pytest.raises(ModelError):
        list(stream)
    assert stream.times["run"] > 0
    with pytest.raises(ModelError) as failed:
        model.total([1, 2])
        model.total.timed([-1])
    assert failed.value.times["run"] > 0


@pytest.mark.parametrize(
    "call",
    [
        lambda model: model.predict("boom"),
        lambda model: list(model.generate("boom")),
        lambda model: model.total(iter([-1])),
    ],
    ids=["unary", "server_stream", "client_stream"],
)
def test_what_failed_is_let_go_of_at_once(server: Model, call: Callable[[Model], object]):
    """Its error, and so the frames that hold the request: a caller that tries again would have two of a long one."""
    gc.collect()
    gc.disable()
    try:
        with pytest.raises(ModelError) as told:
            call(server)
        error = weakref.ref(told.value.__cause__ or told.value)
        del told
        assert error() is None
    finally:
        gc.enable()


def test_of_a_list_the_slowest_is_told(model: Model):
    results, times = model.sleep.timed([{"seconds": 0.001}, {"seconds": 0.05}])
    assert results == [0.001, 0.05]
    assert times["run"] > 40  # loops wake a little early


def test_a_server_stream(model: Model):
    assert list(model.generate("a")) == ["a0", "a1", "a2"]
    assert list(model.generate("a", count=0)) == []
    stream = model.generate("boom")
    assert next(stream) == "boom0"
    with pytest.raises(ModelError, match="boom"):
        next(stream)
    assert list(stream) == []


def test_a_batch_of_streams(model: Model):
    entries = [{"prompt": "a", "count": 1}, {"prompt": "b", "count": 2}]
    assert list(model.generate(entries)) == [["a0", "b0"], [ENDED, "b1"]]
    good, bad = list(model.generate([{"prompt": "a", "count": 2}, {"prompt": "boom"}]))[1]
    assert good == "a1"
    assert isinstance(bad, ModelError)
    first, [only] = list(model.generate([{"prompt": "boom"}]))
    assert first == ["boom0"]
    assert isinstance(only, ModelError)


def test_bidi_is_a_conversation(model: Model):
    said: queue.Queue[str | None] = queue.Queue()
    answers = model.stream(iter(said.get, None), suffix="!")
    for word in ("one", "two", "three"):
        said.put(word)  # said only after the last answer was heard
        assert next(answers) == f"{word}!"
    said.put(None)
    assert list(answers) == []


def test_bidi_takes_any_iterable_or_nothing(model: Model):
    assert list(model.stream(["a", "b"])) == ["a", "b"]
    assert list(model.stream(input_iterator=iter([]))) == []
    assert [text.text for text in model.texts([Text("a"), "b"])] == ["A", "B"]
    assert [text.text for text in model.texts(audio=Text("one"))] == ["ONE"]


def test_a_method_may_end_before_its_input_does(model: Model):
    never = threading.Event()

    def endless():
        yield 7
        never.wait()
        yield 8

    assert list(model.first(endless())) == [7]
    never.set()


def test_a_client_stream(model: Model):
    assert model.total(range(10)) == 45
    assert model.total([]) == 0


def test_an_error_of_the_callers_own_iterator_comes_back(model: Model):
    def items():
        yield 1
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        model.total(items())
    with pytest.raises(KeyError, match="mine"):
        list(model.first(item for item in items() if item > 1))
    with pytest.raises(InvalidInput, match="items"):
        model.total([1, "two"])


def test_time_is_up(model: Model):
    with pytest.raises(DeadlineExceeded):
        model.sleep(30.0, timeout=0.1)
    with pytest.raises(DeadlineExceeded):
        model.with_timeout(0.1).sleep(30.0)
    ticks = model.tick(30.0, timeout=0.3)
    assert next(ticks) == 30.0
    with pytest.raises(DeadlineExceeded):
        next(ticks)
    assert model.with_timeout(20).sleep(0.0) == 0.0


def test_what_is_left_of_a_time_may_be_nothing_or_endless(model: Model):
    with pytest.raises(DeadlineExceeded):
        model.sleep(30.0, timeout=-1)
    assert model.sleep(0.0, timeout=float("inf")) == 0.0
    with pytest.raises(TypeError, match="timeout: got 'soon', needs seconds"):
        model.sleep(0.0, timeout="soon")
    with pytest.raises(ValueError, match="timeout: got 0, needs seconds above 0"):
        model.with_timeout(0)


def test_a_closed_stream_is_over(model: Model):
    with model.tick(0.001) as ticks:
        assert next(ticks) == 0.001
    assert list(ticks) == []
    ticks.close()


def test_closing_from_another_thread_wakes_the_reader(model: Model):
    ticks = model.tick(30.0)
    next(ticks)
    threading.Timer(0.05, ticks._replies.close).start()
    with pytest.raises(Cancelled):
        next(ticks)


def test_threads_share_a_client(model: Model):
    results: dict[int, str] = {}
    threads = [
        threading.Thread(target=lambda number=number: results.update({number: model.predict(str(number))}))
        for number in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == {number: f"Hello {number}" for number in range(8)}


def test_metadata_reaches_the_method(server: Model):
    with Model(base_url=str(server._settings.address), metadata={"X-Tenant": "t"}) as model:
        assert model.tenant() == "t"


def test_the_generated_script_runs_as_printed(server: Model, tmp_path):
    script = server.generate_client_script().replace("count=1000000", "count=2")
    (tmp_path / "script.py").write_text(script)
    done = subprocess.run([sys.executable, tmp_path / "script.py"], capture_output=True, text=True, timeout=50)
    assert done.returncode == 0, done.stderr + script
    assert "Hello world" in done.stdout
