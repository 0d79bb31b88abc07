"""The chat example's choice of tokens: as likely as it should be, and the same for the same seed in any company."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from tests.examples.chatting import chat  # noqa: E402

Chances, Choice, Chooser, GREEDY = (getattr(chat.sampling, name) for name in ("Chances", "Choice", "Chooser", "GREEDY"))
pytestmark = pytest.mark.usefixtures("one_thread")


def choose(choices: list[Any], logits: Any, number: int = 0, count: int = 1) -> list[int]:
    tokens = logits.argmax(-1)
    Chooser(choices, count, "cpu")(logits, number, tokens)
    return tokens.tolist()


ODDS = [0.5, 0.25, 0.15, 0.07, 0.03]
LOGITS = torch.tensor(ODDS).log()


def counts(temperature: float, top_p: float, times: int = 4000) -> Counter[int]:
    chances = Chances(7)
    choices = [Choice(temperature, top_p, [chance]) for chance in chances.ahead(times)]
    return Counter(choose(choices, LOGITS.repeat(times, 1)))


def test_temperature_0_takes_the_likeliest():
    logits = torch.randn(3, 50)
    cold = Choice(1e-9, 1.0, [0.999])
    assert choose([GREEDY] * 3, logits) == choose([cold] * 3, logits) == logits.argmax(-1).tolist()


def test_tokens_come_as_often_as_they_are_likely():
    seen = counts(1.0, 1.0)
    # Within 5 standard deviations of a binomial; the seed is fixed.
    for token, odds in enumerate(ODDS):
        assert abs(seen[token] - 4000 * odds) < 5 * (4000 * odds * (1 - odds)) ** 0.5


def test_a_low_temperature_prefers_the_likeliest():
    sharpened = [odds**2 for odds in ODDS]
    seen = counts(0.5, 1.0)
    for token, odds in enumerate(odds / sum(sharpened) for odds in sharpened):
        assert abs(seen[token] - 4000 * odds) < 5 * (4000 * odds * (1 - odds)) ** 0.5


@pytest.mark.parametrize(("top_p", "tokens"), [(0.0, 1), (0.4, 1), (0.6, 2), (0.76, 3), (0.95, 4), (1.0, 5)])
def test_only_the_likeliest_share_is_considered(top_p, tokens):
    assert set(counts(1.0, top_p)) == set(range(tokens))


def test_chances_at_the_ends_are_tokens_too():
    choices = [Choice(1.0, 1.0, [0.0]), Choice(1.0, 1.0, [1 - 2**-53]), Choice(1.0, 0.6, [1 - 2**-53])]
    assert choose(choices, LOGITS.repeat(3, 1)) == [0, 4, 1]


def test_company_does_not_change_a_choice():
    logits = torch.randn(6, 200, generator=torch.Generator().manual_seed(1))
    mixed = [Choice(0.8, 0.9, Chances(row).ahead(3)) if row % 2 else GREEDY for row in range(6)]
    for number in range(3):
        together = choose(mixed, logits, number, 3)
        assert together == [choose([mixed[row]], logits[row : row + 1], number, 3)[0] for row in range(6)]


def test_chances_are_the_same_in_any_portions():
    whole = Chances(3).ahead(20)
    chances, seen = Chances(3), []
    for size, used in ((4, 2), (8, 8), (1, 0), (1, 1), (9, 9)):
        ahead = chances.ahead(size)
        assert len(ahead) == size
        seen += ahead[:used]
        chances.move_on(used)
    assert seen == whole
    assert Chances(4).ahead(3) != whole[:3]
    assert Chances(None).ahead(3) != Chances(None).ahead(3)
