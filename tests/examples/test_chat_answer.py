"""The chat example's answers: what can be told of tokens as they come."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("torch")

from tests.examples.chatting import END, chat, vocabulary


class Answer(chat.answer.Answer):
    def told(self, tokens: list[int]) -> str:
        self.take(tokens)
        return self.text()


def tell(data: bytes, *, stop: tuple[str, ...] = (), longest: int = 1000, by: int = 1) -> tuple[list[str], object]:
    """Return what is told of bytes, each of them a token, when so many come at once; and the answer."""
    answer = Answer(vocabulary(), stop, longest)
    told = []
    for place in range(0, len(data), by):
        if answer.over:
            break
        told.append(answer.told(list(data[place : place + by])))
    return told, answer


def test_text_is_told_as_it_comes():
    told, answer = tell(b"abc")
    assert told == ["a", "b", "c"]
    assert (answer.count, answer.over, answer.left) == (3, False, 997)


def test_a_character_of_several_tokens_is_told_once_it_is_whole():
    assert tell("aé🙂b".encode())[0] == ["a", "", "é", "", "", "", "🙂", "b"]
    assert tell("é🙂".encode(), by=3)[0] == ["é", "🙂"]


def test_half_a_character_at_the_end_is_not_told():
    told, answer = tell("a🙂".encode(), longest=3)
    assert told == ["a", "", ""]
    assert (answer.count, answer.over) == (3, True)
    answer = Answer(vocabulary(), (), 10)
    assert answer.told([*"é".encode()[:1], END]) == ""


def test_bytes_that_are_no_character_are_replaced():
    assert "".join(tell(b"a\xffb\x80c")[0]) == "a\ufffdb\ufffdc"


def test_a_stop_text_over_several_tokens():
    told, answer = tell(b"one, two, three", stop=("two, t",))
    assert told == ["o", "n", "e", ",", " ", "", "", "", "", "", ""]
    assert answer.over
    assert answer.count == 11  # the tokens of the stop text are counted, and not told


def test_the_begin_of_a_stop_text_is_told_when_it_goes_on_otherwise():
    assert tell(b"aab", stop=("aac",))[0] == ["", "", "aab"]
    assert tell(b"aaac", stop=("aac",))[0] == ["", "", "a", ""]


def test_the_begin_of_a_stop_text_is_told_when_the_answer_ends_there():
    answer = Answer(vocabulary(), ("stop",), 100)
    assert answer.told(list(b"a sto")) == "a "
    assert answer.told([END]) == "sto"
    assert "".join(tell(b"a sto", stop=("stop",), longest=5)[0]) == "a sto"


def test_the_first_of_several_stop_texts_counts():
    told, answer = tell(b"abcdef", stop=("ef", "cd", "", "cde"), by=6)
    assert told == ["ab"]
    assert answer.over


def test_an_answer_ends_at_its_longest_and_at_a_token_that_ends_it():
    told, answer = tell(b"abcdef", longest=4, by=3)
    assert told == ["abc", "d"]
    assert (answer.count, answer.over, answer.left) == (4, True, 0)
    answer = Answer(vocabulary(ends=[ord("x")]), (), 100)
    assert answer.told(list(b"abxcd")) == "ab"
    assert (answer.count, answer.over) == (2, True)
    assert Answer(vocabulary(), (), 0).over


@given(
    st.text(alphabet="ab é🙂", max_size=30),
    st.lists(st.text(alphabet="ab é🙂", min_size=1, max_size=5), max_size=3),
    st.integers(1, 5),
)
def test_what_is_told_is_the_text_up_to_the_first_stop(text, stop, by):
    told, answer = tell(text.encode(), stop=tuple(stop), by=by)
    if not answer.over:
        told.append(answer.told([END]))
    # The stop that is complete first ends the answer; of those complete with the same token, the one that begins first.
    ends = [(text.find(each) + len(each), text.find(each)) for each in stop if each in text]
    data = text.encode()
    if not ends:
        assert "".join(told) == text
        return
    # Tokens come `by` at once but are looked at one by one.
    first_end = min(end for end, _ in ends)
    assert "".join(told) == text[: min(begin for end, begin in ends if end == first_end)]
    assert answer.count <= len(data)
