"""The campaign notices what it is there to notice."""

from __future__ import annotations

import time

import pytest

from tests.fuzz import corpus
from tests.fuzz.campaign import MAX_GROWTH, MAX_SECONDS, TooLarge, TooSlow, Watch, run_target
from tests.fuzz.targets import TARGETS, Target


def target(run) -> Target:
    return Target("test", run, lambda: iter([(0, b"seed")]))


def test_what_a_target_raises_gets_out() -> None:
    def run(case: int, message: bytes) -> None:
        raise KeyError(message)

    with pytest.raises(KeyError):
        Watch(target(run))(0, b"x")


def test_a_message_that_takes_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    instants = iter([1.0, 1.0 + MAX_SECONDS * 1.01])
    monkeypatch.setattr(time, "process_time", lambda: next(instants))
    with pytest.raises(TooSlow):
        Watch(target(lambda case, message: None))(0, b"x")


def test_a_message_that_takes_too_much_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.fuzz import campaign

    peaks = iter([0, MAX_GROWTH + 1])
    monkeypatch.setattr(campaign, "_peak", lambda: next(peaks))
    with pytest.raises(TooLarge):
        Watch(target(lambda case, message: None))(0, b"x")


def test_a_campaign_of_one_target() -> None:
    question = next(each for each in TARGETS if each.name == "question")
    seen, slowest = run_target(question, seed=1, messages=700, seconds=0.0)
    assert (seen.messages, slowest.failure, slowest.target) == (700, "", "question")


def test_a_new_corpus_keeps_what_failed(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corpus, "FOLDER", tmp_path)
    (tmp_path / "call.txt").write_text(f"# once\n3 ff00\n{corpus.LINE}\n1 aa\n")
    assert corpus.read("call") == [(3, b"\xff\x00"), (1, b"\xaa")]
    assert corpus.replace_found("call", [(2, b""), (4, bytes(corpus.MAX_BYTES + 1))]) == 1
    assert corpus.read("call") == [(3, b"\xff\x00"), (2, b"")]
