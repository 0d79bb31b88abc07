from __future__ import annotations

import pytest

from runner.client.address import Address, ModelIds, default_base_url, default_pat, parse_model_url


@pytest.mark.parametrize(
    ("base_url", "target", "secure"),
    [
        ("http://127.0.0.1:8000", "127.0.0.1:8000", False),
        ("http://127.0.0.1:8000/", "127.0.0.1:8000", False),
        ("HTTP://Example.org", "example.org:80", False),
        ("https://example.org", "example.org:443", True),
        ("https://example.org:8443/", "example.org:8443", True),
        ("example.org:443", "example.org:443", True),
        ("example.org:8000", "example.org:8000", False),
        ("localhost", "localhost:8000", False),
        ("http://[::1]:8000", "[::1]:8000", False),
        (" [::1]:9 ", "[::1]:9", False),
    ],
)
def test_an_address_says_host_port_and_encryption(base_url, target, secure):
    address = Address.parse(base_url)
    assert (address.target, address.secure) == (target, secure)
    assert Address.parse(str(address)) == address


@pytest.mark.parametrize(
    "base_url", ["", "http://", "ftp://a:1", "http://a:b", "http://a:99999", "http://a:1/v2", ":80"]
)
def test_what_is_no_address_is_refused_by_name(base_url):
    with pytest.raises(ValueError, match="base_url"):
        Address.parse(base_url)


FULL = ModelIds(user_id="u", app_id="a", model_id="m")
VERSION = ModelIds(user_id="u", app_id="a", model_id="m", version_id="v")


@pytest.mark.parametrize(
    ("url", "ids"),
    [
        ("https://clarifai.com/u/a/models/m", FULL),
        ("https://clarifai.com/u/a/models/m/", FULL),
        ("https://clarifai.com/u/a/models/m/versions/v", VERSION),
        ("http://127.0.0.1:8000/u/a/models/m", FULL),
        ("clarifai.com/u/a/models/m", FULL),
        ("localhost/u/a/models/m", FULL),
        ("u/a/models/m", FULL),
        ("www.clarifai.com/u/a/m", FULL),  # as scripts of the documentation print it
        ("https://clarifai.com/u/a%20b/models/m", ModelIds(user_id="u", app_id="a b", model_id="m")),
    ],
)
def test_a_model_url_names_ids_and_its_host_is_ignored(url, ids):
    assert parse_model_url(url) == (ids, None)


@pytest.mark.parametrize("url", ["http://127.0.0.1:8000", "http://127.0.0.1:8000/", "127.0.0.1:8000", "example.org"])
def test_a_url_without_a_path_is_the_server(url):
    assert parse_model_url(url) == (ModelIds(), url)


@pytest.mark.parametrize(
    "url", ["", "https://", "https://clarifai.com/u", "https://c.com/u/a/models/m/v", "u/a/models/", "u/a/b/m"]
)
def test_what_is_no_model_url_is_refused(url):
    with pytest.raises(ValueError, match="model URL"):
        parse_model_url(url)


def test_ids_make_a_url_and_back():
    for ids in (FULL, VERSION):
        assert ids.url is not None
        assert parse_model_url(ids.url) == (ids, None)
    assert ModelIds(model_id="m").url is None


def test_the_environment_is_asked_in_order(monkeypatch):
    for name in ("RUNNER_API_BASE", "CLARIFAI_API_BASE", "RUNNER_PAT", "CLARIFAI_PAT"):
        monkeypatch.delenv(name, raising=False)
    assert default_base_url() == "http://127.0.0.1:8000"
    assert default_pat() is None
    monkeypatch.setenv("CLARIFAI_API_BASE", "http://theirs:1")
    monkeypatch.setenv("CLARIFAI_PAT", "theirs")
    assert (default_base_url(), default_pat()) == ("http://theirs:1", "theirs")
    monkeypatch.setenv("RUNNER_API_BASE", "http://ours:1")
    monkeypatch.setenv("RUNNER_PAT", "ours")
    assert (default_base_url(), default_pat()) == ("http://ours:1", "ours")
