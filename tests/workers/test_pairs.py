from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from runner.workers.pairs import pack_pair, pack_pairs, unpack_pairs

texts = st.text(st.characters(codec="utf-8"), max_size=20)


@given(st.lists(st.tuples(texts, texts), max_size=4))
def test_pairs_survive_packing(pairs: list[tuple[str, str]]) -> None:
    assert unpack_pairs(pack_pairs(pairs)) == tuple(pairs)


def test_a_pair_packed_alone_is_put_behind_others() -> None:
    assert unpack_pairs(pack_pairs([("a", "1")]) + pack_pair("b", "")) == (("a", "1"), ("b", ""))
