from __future__ import annotations

import os
from pathlib import Path

import pytest

from runner.api_keys import ApiKey, as_keys
from runner.errors import PermissionDenied, Unauthenticated
from runner.limits import CallerLimits
from runner.server.access import Access, Caller
from runner.server.keyring import Keyring

NO_LIMITS = CallerLimits()


def access(*keys: object, usual: CallerLimits = NO_LIMITS) -> Access:
    return Access(Keyring(as_keys("keys", list(keys))), "m", usual)


def test_without_keys_everybody_may_call():
    access().check([])
    assert access().check([("authorization", "Key whatever")]) == Caller("", None)


@pytest.mark.parametrize("given", ["Key alpha", "Key beta", "key beta", "Bearer beta", "bearer  beta "])
def test_a_key_lets_a_call_pass(given):
    access("alpha", "beta").check([("x-request-id", "1"), ("authorization", given)])


@pytest.mark.parametrize(
    "given",
    ["", "Key", "Key ", "Key gamma", "alpha", "Basic alpha", "Key alphabeta", "Keyalpha", "Key ö", "Key \udc80"],
)
def test_anything_else_is_refused_without_naming_a_key(given):
    with pytest.raises(Unauthenticated) as told:
        access("alpha", "beta").check([("authorization", given)])
    assert "alpha" not in str(told.value)
    assert "gamma" not in str(told.value)


def test_no_key_and_a_key_of_bytes_are_refused():
    for metadata in ([], [("authorization", b"Key alpha")], [("x-authorization", "Key alpha")]):
        with pytest.raises(Unauthenticated):
            access("alpha").check(metadata)


def test_a_key_has_a_name_by_which_its_calls_share():
    under_test = access("one", "two", {"name": "mobile", "key": "three"})
    assert under_test.check([("authorization", "Key two")]).name == "key 2"
    assert under_test.check([("authorization", "Key three")]).name == "mobile"


def test_a_key_may_be_for_some_models_only():
    under_test = access({"key": "one", "models": ["other", "m"]}, {"name": "app", "key": "two", "models": ["other"]})
    under_test.check([("authorization", "Key one")])
    with pytest.raises(PermissionDenied, match="the key 'app' is not for the model 'm'"):
        under_test.check([("authorization", "Key two")])


def test_a_key_has_the_usual_limits_or_its_own():
    usual = CallerLimits(max_calls=5, max_calls_per_second=2.0)
    under_test = access("one", {"key": "two", "max_calls": 9}, {"key": "three", "max_calls": 0}, usual=usual)
    found = [under_test.check([("authorization", f"Key {key}")]).limits for key in ("one", "two", "three")]
    assert found == [
        usual,
        CallerLimits(max_calls=9, max_calls_per_second=2.0),
        CallerLimits(max_calls_per_second=2.0),
    ]
    assert access(usual=usual).check([]) == Caller("", usual)


def test_every_key_is_compared_whichever_fits(monkeypatch: pytest.MonkeyPatch):
    from runner.server import keyring

    compared: list[tuple[bytes, bytes]] = []

    def compare(one: bytes, other: bytes) -> bool:
        compared.append((one, other))
        return one == other

    monkeypatch.setattr(keyring.hmac, "compare_digest", compare)
    under_test = Keyring(as_keys("keys", ["first", "second", "third"]))
    for value in ("first", "third", "none", ""):
        compared.clear()
        under_test.find(value)
        assert len(compared) == 3
        assert len({len(digest) for pair in compared for digest in pair}) == 1


class Clock:
    def __init__(self) -> None:
        self.now = 10.0

    def __call__(self) -> float:
        return self.now


def found(under_test: Keyring, *values: str) -> list[str | None]:
    keys = [under_test.find(value) for value in values]
    return [None if key is None else key.name for key in keys]


def test_a_file_of_keys_is_read_again_when_it_changes(tmp_path: Path):
    file = tmp_path / "keys"
    file.write_text("one\n")
    clock = Clock()
    under_test = Keyring([ApiKey(name="own", value="zero")], file, clock)
    assert found(under_test, "zero", "one", "two") == ["own", "key 1", None]
    file.write_text("- {name: new, key: two}\n")
    assert found(under_test, "two") == [None]  # a busy server looks once a second
    clock.now += 1.0
    assert found(under_test, "zero", "one", "two") == ["own", None, "new"]


def test_a_mounted_secret_is_replaced_by_a_link_above_it(tmp_path: Path):
    for version, key in (("1", "aaa"), ("2", "bbb")):
        (tmp_path / version).mkdir()
        (tmp_path / version / "keys").write_text(key)
    link = tmp_path / "current"
    link.symlink_to("1")
    clock = Clock()
    under_test = Keyring([], link / "keys", clock)
    assert found(under_test, "aaa", "bbb") == ["key 1", None]
    (tmp_path / "next").symlink_to("2")
    (tmp_path / "next").rename(link)
    clock.now += 1.0
    assert found(under_test, "aaa", "bbb") == [None, "key 1"]


def test_a_file_that_could_not_be_read_is_read_when_its_permissions_are_right(tmp_path: Path, monkeypatch, caplog):
    file = tmp_path / "keys"
    file.write_text("one\n")
    clock = Clock()
    under_test = Keyring([], file, clock)

    def refuse(*args: object) -> None:
        raise PermissionError(13, "Permission denied")

    file.write_text("two\n")
    with monkeypatch.context() as unreadable:  # tests may run as a user who may read everything
        unreadable.setattr(Path, "open", refuse)
        clock.now += 1.0
        assert found(under_test, "one", "two") == ["key 1", None]
    file.chmod(0o640)
    clock.now += 1.0
    assert found(under_test, "one", "two") == [None, "key 1"]


def test_a_copy_with_the_same_length_and_time_is_noticed(tmp_path: Path):
    file = tmp_path / "keys"
    file.write_text("one\n")
    before = file.stat()
    clock = Clock()
    under_test = Keyring([], file, clock)
    file.write_text("two\n")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    clock.now += 1.0
    assert found(under_test, "one", "two") == [None, "key 1"]


@pytest.mark.parametrize("text", [None, "- {key: a b}\n", "- {\n", "two words\n"])
def test_a_file_that_has_become_wrong_leaves_the_keys_as_they_were(tmp_path: Path, caplog, text):
    file = tmp_path / "keys"
    file.write_text("one\n")
    clock = Clock()
    under_test = Keyring([], file, clock)
    file.unlink()
    if text is not None:
        file.write_text(text)
    for _ in range(3):
        clock.now += 1.0
        assert found(under_test, "one") == ["key 1"]
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert "the keys stay as they were" in caplog.text


def test_an_empty_file_lets_nobody_in(tmp_path: Path):
    file = tmp_path / "keys"
    file.write_text("# none yet\n")
    under_test = Access(Keyring([], file), "m", NO_LIMITS)
    with pytest.raises(Unauthenticated):
        under_test.check([])
