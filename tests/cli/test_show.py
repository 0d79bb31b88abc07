from __future__ import annotations

import numpy as np
import pytest

from runner.cli.show import save, show
from runner.cli.usage import UsageError
from runner.types import JSON, Audio, Concept, Image, NamedFields, Region, Text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("as it is\n", "as it is\n"),
        (Text("hi"), "hi"),
        (None, "null"),
        (True, "true"),
        (0.5, "0.5"),
        ({"ä": [1, "b"]}, '{"ä": [1, "b"]}'),
        (JSON([1]), "[1]"),
        ((1, Text("a")), '[1, "a"]'),
        (NamedFields(a=1, b=Concept("cat", 0.5)), '{"a": 1, "b": {"name": "cat", "value": 0.5}}'),
        (Region(box=[0, 0, 1, 1], id="r"), '{"box": [0, 0, 1, 1]}'),
        (b"abc", "<3 bytes; --save FILE keeps them>"),
        (Image(bytes=b"abc"), "<image, 3 bytes; --save FILE keeps it>"),
        ([Audio(url="http://a/b")], '["<audio at http://a/b>"]'),
        (JSON("<text>"), '"<text>"'),
        (np.array([[1, 2]]), "[[1, 2]]"),
        (np.zeros((200, 200), np.float32), "<float32 array, 200 x 200; --save FILE.npy keeps it>"),
    ],
)
def test_a_value_as_text(value, text):
    assert show(value) == text


def test_a_value_as_a_file(tmp_path):
    file = tmp_path / "file"
    save(Audio(bytes=b"abc"), str(file))
    assert file.read_bytes() == b"abc"
    save(np.arange(3), str(file))
    assert np.array_equal(np.load(file), np.arange(3))
    assert save({"a": 1}, str(file)) == 9
    assert file.read_text() == '{"a": 1}\n'
    with pytest.raises(UsageError, match="has a URL and no bytes"):
        save(Image(url="http://a/b"), str(file))
