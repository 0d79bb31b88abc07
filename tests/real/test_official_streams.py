"""Streams through the official client: interactive, ended early, abandoned, and many calls at once."""

from __future__ import annotations

import queue
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

pytestmark = [pytest.mark.real, pytest.mark.filterwarnings("ignore")]


@pytest.fixture(scope="module")
def streams(serve, open_model):
    return open_model(serve("streams", "--allow-private-urls"))


@pytest.fixture(scope="module")
def misbehaving(serve, open_model):
    return open_model(serve("misbehaving"))


class Questions:
    """An iterator of requests that is fed by the test, one at a time."""

    def __init__(self) -> None:
        self._items: queue.Queue[object] = queue.Queue()

    def ask(self, item: object) -> None:
        self._items.put(item)

    def end(self) -> None:
        self._items.put(None)

    def __iter__(self) -> Iterator[object]:
        return self

    def __next__(self) -> object:
        item = self._items.get(timeout=10)
        if item is None:
            raise StopIteration
        return item


@pytest.mark.parametrize("method", ["stream", "stream_async"])
def test_ping_pong(streams, method):
    """Each answer leaves before the next question is asked."""
    questions = Questions()
    questions.ask("one")
    call = streams.client.stream if method == "stream" else streams.stream_async
    answers = call(iter(questions))
    heard = [next(answers).text]
    for question in ("two", "three"):
        questions.ask(question)
        heard.append(next(answers).text)
    questions.end()
    assert list(answers) == []
    expected = ["1: one", "2: two", "3: three"] if method == "stream" else ["> one", "> two", "> three"]
    assert heard == expected


def test_items_of_either_kind(streams):
    from clarifai.runners.utils.data_types import Text

    for items in (["a", "b"], [Text("a"), Text("b")]):
        assert [answer.text for answer in streams.stream(iter(items))] == ["1: a", "2: b"]


def test_arguments_beside_the_stream(streams):
    assert [answer.text for answer in streams.stream_async(items=iter(["a", "b"]), prefix="* ")] == ["* a", "* b"]


def test_fewer_answers_than_questions(streams):
    assert list(streams.pairs(items=iter([1, 2, 3, 4, 5]))) == [3, 7, 5]


def test_the_method_may_end_first(streams):
    questions = Questions()
    for item in "abc":
        questions.ask(item)
    # The iterator has not ended, and never will by itself.
    assert [answer.text for answer in streams.first(items=iter(questions), count=2)] == ["a", "b"]
    questions.end()


def test_zero_items_in_a_stream(streams):
    assert list(streams.pairs(items=iter([0, 0, 0]))) == [0, 0]
    assert [answer.text for answer in streams.stream(iter(["", ""]))] == ["1: ", "2: "]


def test_a_stream_of_no_items(streams):
    # The call has no first message, so no method: whatever is answered shows as an exception. It must come at once.
    with pytest.raises(Exception, match=r"."):
        list(streams.pairs(items=iter([])))


def test_long_server_stream(streams):
    assert list(streams.count(until=2000)) == list(range(2000))


def test_client_streams_are_not_published_here(streams):
    assert "total" not in streams.available_methods()


def test_abandoned_server_stream_frees_its_thread(misbehaving):
    stream = misbehaving.endless()
    assert [next(stream) for _ in range(3)] == [0, 1, 2]
    assert misbehaving.wait_open_streams(count=1)
    stream.close()
    assert misbehaving.wait_open_streams(count=0)


def test_abandoned_bidi_stream_frees_its_thread(misbehaving):
    questions = Questions()
    questions.ask("hello")
    stream = misbehaving.bidi_endless(items=iter(questions))
    assert next(stream).text == "hello"
    stream.close()
    del stream
    questions.end()
    assert misbehaving.wait_open_streams(count=0)


def test_open_streams_do_not_block_unary_calls(misbehaving):
    streams = [misbehaving.endless() for _ in range(24)]  # more than `num_threads`
    for stream in streams:
        assert next(stream) == 0
    assert misbehaving.echo(text="through") == "through"
    for stream in streams:
        stream.close()
    assert misbehaving.wait_open_streams(count=0)


def test_sixty_calls_at_once(misbehaving):
    with ThreadPoolExecutor(60) as pool:
        answers = list(pool.map(lambda _: misbehaving.sleep(seconds=0.05), range(60)))
    assert answers == ["awake"] * 60


def test_sixteen_calls_run_together(misbehaving):
    with ThreadPoolExecutor(16) as pool:
        assert sorted(pool.map(lambda _: misbehaving.meet(parties=16), range(16))) == list(range(16))
