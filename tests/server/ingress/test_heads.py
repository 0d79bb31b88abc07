"""Heads of calls as bytes, and back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.server.ingress import heads
from runner.server.ingress.heads import Head, HeadPacker, pack_trailers, read_head, read_trailers

PATH = "/runner.v1.Inference/PostModelOutputs"
NAMES = st.from_regex(r"[a-z0-9_.-]{1,12}", fullmatch=True)
TEXTS = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0\r\n"))
PAIRS = st.lists(
    st.tuples(NAMES.filter(lambda name: not name.endswith("-bin")), TEXTS)
    | st.tuples(NAMES.map(lambda name: f"{name}-bin"), st.binary()),
    max_size=6,
).map(tuple)


@given(st.sampled_from(["127.0.0.1", "::1", "unix", ""]), PAIRS)
def test_what_is_packed_is_read(peer, metadata):
    assert read_head(HeadPacker(PATH)(peer, metadata)) == Head(PATH, peer, metadata)


@given(st.lists(st.tuples(NAMES.filter(lambda name: not name.endswith("-bin")), TEXTS)))
def test_trailers(pairs):
    assert read_trailers(pack_trailers(pairs)) == pairs


def test_what_is_repeated_is_packed_once():
    pack = HeadPacker(PATH)
    metadata = (("x-a", "1"), ("x-b-bin", b"\0\n"))
    packed = pack("peer", metadata)
    assert pack("peer", metadata) is packed
    assert pack("another", metadata) != packed
    assert pack("peer", (("x-a", "2"),)) != packed


def test_the_same_place_in_memory_is_not_the_same_metadata():
    pack = HeadPacker(PATH)
    for number in range(100):  # each of them may come to lie where the last one lay
        assert f"x-a\n{number}".encode() in pack("peer", (("x-a", str(number)),))


def test_only_so_much_is_remembered(monkeypatch):
    monkeypatch.setattr(heads, "KEPT", 3)
    pack = HeadPacker(PATH)
    for number in range(10):
        pack("peer", (("x-a", str(number)),))
        assert len(pack._packed) <= 3
    before = len(pack._packed)
    assert b"bbbbb" in pack("peer", (("x-a", "b" * 5000),))
    assert len(pack._packed) == before


NONSENSE = [b"", b"a", b"a\nb", b"a\nb\nc", b"a\nb\nc\nd\ne", b"\xff\n\n", b"a\nb\nc-bin\nxyz"]


@pytest.mark.parametrize("nonsense", NONSENSE)
def test_nonsense_is_refused(nonsense):
    with pytest.raises(ValueError, match=r"unpack|argument|decode|hex"):
        read_head(nonsense)
