"""Every message that is worth keeping, through what it was kept for. What a target raises is a bug."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz import corpus
from tests.fuzz.mutation import Mutator
from tests.fuzz.targets import TARGETS, Target

each_target = pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)


@each_target
def test_messages_that_were_kept(target: Target) -> None:
    kept = corpus.read(target.name)
    assert kept, "scripts/fuzz --guided writes the corpus"
    for case, message in kept:
        target.run(case, message)


@each_target
def test_valid_messages(target: Target) -> None:
    for case, message in target.seeds():
        target.run(case, message)


@each_target
@settings(max_examples=40)
@given(random=st.randoms(use_true_random=True))
def test_new_messages(target: Target, random) -> None:
    case, message = Mutator(random, list(target.seeds())[:40]).message()
    target.run(case, message)
