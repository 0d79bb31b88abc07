from __future__ import annotations

from pathlib import Path

import pytest

from runner.api_keys import MAX_KEYS, ApiKey, as_keys, read_keys_file
from runner.errors import ConfigError
from runner.limits import CallerLimits


def test_a_list_of_keys(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("THE_KEY", "from the environment".replace(" ", "-"))
    keys = as_keys("keys", ["one", {"name": "app", "env": "THE_KEY", "models": ["m"], "max_calls": 3, "key": None}])
    assert keys == (
        ApiKey(name="key 1", value="one"),
        ApiKey(name="app", value="from-the-environment", env="THE_KEY", models=("m",), max_calls=3),
    )
    assert keys[1].limits(CallerLimits(max_calls=9, max_queued_calls=9)) == CallerLimits(
        max_calls=3, max_queued_calls=9
    )
    assert "from-the-environment" not in repr(keys)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("sesame", "keys: needs a list of keys"),
        ([12345], r"keys\[0\]: a key is a text; put quotes around one of digits"),
        (["ok", {"key": 12345}], r"keys\[1\]: a key is a text"),
        ([""], "1 to 512 printable"),
        (["sesame open"], "and no space"),
        (["sésame"], "printable ASCII"),
        (["s" * 513], "1 to 512"),
        ([{"name": "x"}], r"keys\[0\]: needs one of key and env"),
        ([{"key": "sesame", "env": "HOME"}], "needs one of key and env"),
        ([{"env": "NO_SUCH_VARIABLE"}], r"keys\[0\].env: the environment has no NO_SUCH_VARIABLE"),
        ([{"key": "sesame", "rate": 5}], "unknown option; a key has name, key, env, models, max_calls"),
        ([{"key": "sesame", "max_calls": -1}], r"keys\[0\].max_calls: got -1, needs 0 or more"),
        ([{"key": "sesame", "max_calls_per_second": "x"}], r"max_calls_per_second: got 'x', needs 0 or more"),
        (["sesame", "sesame"], "a key is there twice"),
        ([{"name": "a", "key": "sesame"}, {"name": "a", "key": "b"}], "two keys are called 'a'"),
        ([f"sesame{n}" for n in range(MAX_KEYS + 1)], "257 keys, and 256 are the most"),
    ],
)
def test_what_is_wrong_is_named_without_a_key(value, message):
    with pytest.raises(ConfigError, match=message) as told:
        as_keys("keys", value)
    assert "sesame" not in str(told.value)
    assert "12345" not in str(told.value)


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("one", ["one"]),
        ("# old ones\n\n 0123 \r\n1e5\ntrue\n", ["0123", "1e5", "true"]),
        ("- one\n- {name: x, key: two}\n", ["one", "two"]),
        ('# a list\n["a", "b"]\n', ["a", "b"]),
        ("", []),
    ],
)
def test_a_file_is_a_list_or_has_a_key_a_line(tmp_path: Path, text, values):
    file = tmp_path / "keys"
    file.write_text(text)
    assert [key.value for key in read_keys_file(file)] == values


def test_a_file_that_is_none_of_both(tmp_path: Path):
    file = tmp_path / "keys"
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        read_keys_file(file)
    for data, message in (
        (b"\xff\xfe", "is not UTF-8 text"),
        (b"- {sesame", "is not valid YAML"),
        (b"sesame open\n", "no space"),
        (b"x\n" * 600_000, "longer than 1048576 bytes"),
    ):
        file.write_bytes(data)
        with pytest.raises(ConfigError, match=message) as told:
            read_keys_file(file)
        assert str(told.value).startswith(str(file))
        assert "sesame" not in str(told.value)


def test_what_is_said_twice_of_a_key_is_refused(tmp_path: Path):
    file = tmp_path / "keys.yaml"
    file.write_text("- key: sesame\n  max_calls: 1\n  max_calls: 1000\n")
    with pytest.raises(ConfigError, match="is not valid YAML") as caught:
        read_keys_file(file)
    assert "sesame" not in str(caught.value)
