"""What the official client shows when a call fails: the right code, the model's own words, at once and only once."""

from __future__ import annotations

import time

import pytest

pytestmark = [pytest.mark.real, pytest.mark.filterwarnings("ignore")]

INPUT_DOWNLOAD_FAILED = "INPUT_FAILED"  # the first of the two names that 30002 has in the client
PROMPT_SECONDS = 4.5  # what the client's own retries would exceed: they begin at 5 s


@pytest.fixture(scope="module")
def server(serve):
    return serve("misbehaving")


@pytest.fixture(scope="module")
def model(server, open_model):
    return open_model(server)


@pytest.fixture(scope="module")
def types(serve, open_model):
    return open_model(serve("types", "--allow-private-urls"))


def failure(call) -> str:
    """Return the text that a failing call raises with, free of anything that is not the caller's business.

    A call that fails late fails the test: the client has repeated it, whatever it raised in the end.
    """
    started = time.monotonic()
    with pytest.raises(Exception) as caught:
        call()
    assert time.monotonic() - started < PROMPT_SECONDS
    text = str(caught.value)
    assert "Traceback" not in text
    assert "site-packages" not in text
    assert ".py" not in text
    return text


def test_the_model_s_own_error(model):
    text = failure(lambda: model.fail(text="the cat is out"))
    assert "MODEL_PREDICTION_FAILED" in text
    assert 'description: "ValueError: the cat is out"' in text
    assert 'details: "ValueError: the cat is out"' in text


def test_long_errors_are_cut(model):
    assert len(failure(lambda: model.fail(text="x" * 100_000))) < 10_000


def test_hidden_errors(serve, open_model):
    model = open_model(serve("misbehaving", "--hide-model-errors"))
    text = failure(lambda: model.fail(text="the cat is out"))
    assert "MODEL_PREDICTION_FAILED" in text
    assert "cat" not in text
    assert "ValueError" not in text


def test_a_result_of_another_type(model):
    text = failure(lambda: model.wrong_result())
    assert "MODEL_PREDICTION_FAILED" in text
    assert "int" in text


def test_out_of_range(types):
    text = failure(lambda: types.scale(text="a", factor=6))
    assert "MODEL_INVALID_REQUEST" in text
    assert "factor" in text
    assert "6" in text


def test_unknown_choice(types):
    text = failure(lambda: types.colour(name="blue"))
    assert "MODEL_INVALID_REQUEST" in text
    assert "name" in text
    assert "blue" in text


def test_bytes_that_are_no_image(types):
    from clarifai.runners.utils.data_types import Image

    text = failure(lambda: types.image_size(image=Image(bytes=b"not a picture")))
    assert "MODEL_INVALID_REQUEST" in text
    assert "image" in text


def test_url_that_cannot_be_fetched(types, samples):
    from clarifai.runners.utils.data_types import Image

    assert INPUT_DOWNLOAD_FAILED in failure(lambda: types.image_size(image=Image(url=f"{samples}/no-such-cat")))


@pytest.mark.parametrize("url", ["file:///etc/hostname", "/etc/hostname", "ftp://127.0.0.1/x"])
def test_urls_that_are_never_opened(types, url):
    from clarifai.runners.utils.data_types import Image

    assert INPUT_DOWNLOAD_FAILED in failure(lambda: types.echo_image(value=Image(url=url)))


def test_private_urls_are_refused(serve, open_model, samples):
    from clarifai.runners.utils.data_types import Image

    model = open_model(serve("types"))
    assert INPUT_DOWNLOAD_FAILED in failure(lambda: model.echo_image(value=Image(url=f"{samples}/cat1.jpeg")))


def test_wrong_key(serve, open_model, config_file):
    server = serve("streams", "--config", config_file("keys: [the-right-key]\n"))
    assert "CONN_CREDENTIALS_INVALID" in failure(lambda: open_model(server))


@pytest.mark.parametrize("transport", ["grpcio", "native"])
def test_the_local_client_is_told_too(serve, config_file, transport):
    from clarifai.client.model_client import ModelClient

    open_to_all = serve("streams", "--transport", transport)
    local = ModelClient.from_local_grpc(int(open_to_all.address.rpartition(":")[2]))
    assert "stream" in local.available_methods()
    closed = serve("streams", "--transport", transport, "--config", config_file("keys: [the-right-key]\n"))
    local = ModelClient.from_local_grpc(int(closed.address.rpartition(":")[2]))
    assert "CONN_CREDENTIALS_INVALID" in failure(local.available_methods)


def test_strict_ids(serve, open_model):
    server = serve("streams", "--strict-ids")
    assert "MODEL_DOES_NOT_EXIST" in failure(lambda: open_model(server))


def test_server_stream_that_fails_at_once(model):
    text = failure(lambda: list(model.fail_first(text="no first word")))
    assert "MODEL_PREDICTION_FAILED" in text
    assert "no first word" in text


def test_server_stream_that_fails_midway(model):
    received = []

    def read() -> None:
        received.extend(model.fail_midway(count=3))  # extends item by item: what came before the failure is kept

    assert "gave up after 3" in failure(read)
    assert received == [0, 1, 2]


def test_server_stream_of_bad_input(serve, open_model):
    chat = open_model(serve("chat"))
    text = failure(lambda: list(chat.generate(prompt="x", temperature=9.0)))
    assert "MODEL_INVALID_REQUEST" in text
    assert "temperature" in text


def test_bidi_that_fails_at_once(model):
    assert "not today" in failure(lambda: list(model.bidi_fail_first(items=iter(["a", "b"]))))


def test_bidi_that_fails_midway(model):
    received = []
    text = failure(lambda: received.extend(item.text for item in model.bidi_fail_midway(items=iter(["a", "b", "c"]))))
    assert "one was enough" in text
    assert received == ["a"]


def test_empty_server_stream(model):
    # The client cannot show a stream without messages; what matters is that it ends.
    with pytest.raises(RuntimeError, match="StopIteration"):
        list(model.nothing())


def test_batch(model):
    assert model.fail_if_odd([{"number": 0}, {"number": 2}, {"number": 4}]) == [0, 2, 4]


def test_partial_failure_of_a_batch(model):
    text = failure(lambda: model.fail_if_odd([{"number": 0}, {"number": 1}, {"number": 2}]))
    assert "MIXED_STATUS" in text
    assert "ValueError: 1 is odd" in text


def test_bad_input_fails_its_entry_only(types):
    assert "MIXED_STATUS" in failure(lambda: types.scale([{"text": "a"}, {"text": "b", "factor": 99}]))


def test_empty_batch(model):
    # The client sends no input at all: an answer is due, and no server error.
    assert "INTERNAL" not in failure(lambda: model.fail_if_odd([]))
    assert model.echo(text="still here") == "still here"


def test_batch_runs_side_by_side(model):
    # Each entry waits for the three others.
    assert sorted(model.meet([{"parties": 4}] * 4)) == [0, 1, 2, 3]


def test_batch_of_server_streams(serve, open_model):
    streams = open_model(serve("streams", "--allow-private-urls"))
    chunks = list(streams.count([{"until": 3}, {"until": 1}]))
    # The client shows the empty outputs of the generator that has finished as `{}`.
    assert [chunk[0] for chunk in chunks] == [0, 1, 2]
    assert chunks[0][1] == 0


def test_usage(model):
    value, response = model.usage(text="four", with_proto=True)
    output = response.outputs[0]
    assert value == "four"
    assert (output.prompt_tokens, output.completion_tokens, output.cached_tokens) == (4, 2, 1)


def test_usage_of_a_batch(model):
    _, response = model.usage([{"text": "a"}, {"text": "bcd"}], with_proto=True)
    assert [output.prompt_tokens for output in response.outputs] == [1, 3]


def test_usage_of_a_stream(model):
    responses = [response for _, response in model.usage_stream(text="ab", with_proto=True)]
    assert [response.outputs[0].completion_tokens for response in responses] == [0, 0, 2]


def test_a_worker_that_dies(launch, open_model):
    server = launch("misbehaving")
    server.wait_ready()
    model = open_model(server)
    assert "RUNNER_PROCESSING_FAILED" in failure(lambda: model.die())
