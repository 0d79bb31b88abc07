"""The error tree travels by kind, and no text of it is too long to travel."""

from __future__ import annotations

import pytest

from runner.errors import MAX_TEXT_BYTES, ErrorKind, call_error, clip


@pytest.mark.parametrize("kind", ErrorKind)
def test_every_kind_is_a_class_of_its_own(kind):
    error = call_error(kind, "told", details="more", path="images[3]")
    assert error.kind is kind
    assert str(error) == "images[3]: told"
    assert len({type(call_error(other, "")) for other in ErrorKind}) == len(ErrorKind)


@pytest.mark.parametrize("text", ["x" * 5_000, "ß" * 5_000, "a" + "😀" * 5_000, "\ud800", "\ud800" * 5_000, ""])
def test_a_clipped_text_fits_and_is_valid(text):
    clipped = clip(text)
    assert len(clipped.encode()) <= MAX_TEXT_BYTES
    assert clipped[:1] == text[:1].replace("\ud800", "?")
    assert clipped.endswith("…") == (len(text.encode("utf-8", "replace")) > MAX_TEXT_BYTES)
