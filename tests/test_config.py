"""Layers of configuration: which one wins, and what is said about a wrong value."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from runner import config
from runner.config import ServerConfig, load_server_config
from runner.deployments import Deployment
from runner.errors import ConfigError
from runner.limits import FetchLimits

ROOT = Path(__file__).parents[1]


def paths(document: Mapping[str, object], prefix: str = "") -> set[str]:
    """The dotted names of all leaves of a document."""
    found: set[str] = set()
    for key, value in document.items():
        found |= paths(value, f"{prefix}{key}.") if isinstance(value, dict) and value else {prefix + key}
    return found


def test_nothing_configured() -> None:
    assert load_server_config() == ServerConfig()


def test_the_commented_file_has_every_key_with_its_default() -> None:
    document = yaml.safe_load((ROOT / "config.yaml").read_text())
    assert paths(document) == {key.path for key in config._KEYS}
    assert load_server_config(ROOT / "config.yaml") == ServerConfig()


def test_every_key_sets_something() -> None:
    samples: dict[object, object] = {
        config.as_bool: True,
        config.as_devices: "cpu",
        config.as_id: "x",
        config.as_keys: ["x"],
        config.as_path: "x",
        config.as_deployments: ["x"],
        config.as_methods: {"predict": {"priority": 1}},
        config.as_text: "x",
    }
    for key in config._KEYS:
        special = {"max_message_bytes": 4096, "transport": "grpcio", "log.level": "debug", "log.format": "json"}
        document: object = special.get(key.path, samples.get(key.read, 7))
        for name in reversed(key.path.split(".")):
            document = {name: document}
        assert isinstance(document, dict)
        assert load_server_config(None, document) != ServerConfig(), key


def test_layers(tmp_path: Path) -> None:
    model_dir = tmp_path / "classifier"
    model_dir.mkdir()
    assert load_server_config(model_dir=model_dir).model.id == "classifier"
    (model_dir / "config.yaml").write_text("model: {user_id: me}\nnum_threads: 2\nport: 1\ngrace_ms: 1500\n")
    file = tmp_path / "server.yaml"
    file.write_text("port: 2\nreplicas: 3\nfetch: {timeout_ms: 500}\n")
    found = load_server_config(file, {"replicas": 4, "host": None, "fetch": {"max_bytes": 5}}, model_dir=model_dir)
    default = ServerConfig()
    assert found == ServerConfig(
        model=replace(default.model, id="classifier", user_id="me"),
        listen=replace(default.listen, port=2),
        workers=replace(default.workers, num_threads=2, replicas=4),
        drain=replace(default.drain, grace=1.5),
        fetch=FetchLimits(timeout=0.5, max_bytes=5),
    )


def test_a_directory_whose_name_is_no_text_has_an_id_that_is(tmp_path: Path) -> None:
    model_dir = tmp_path / os.fsdecode(b"m\xf6del")
    model_dir.mkdir()
    assert load_server_config(model_dir=model_dir).model.id == "m\ufffddel"


@pytest.mark.parametrize("text", ["port: 1\nnum_threads: 2\nport: 3\n", "methods:\n  a: {}\n  a: {}\n"])
def test_what_is_said_twice_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "server.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=r"server.yaml: line 3: is not valid YAML: (port|a) is there twice"):
        load_server_config(file)


def test_sections_for_other_tools_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("build_info: {python_version: '3.12'}\nnum_threads: 4\n")
    assert load_server_config(model_dir=tmp_path).workers.num_threads == 4
    with pytest.raises(ConfigError, match="build_info: no such key"):
        load_server_config(tmp_path / "config.yaml")


@pytest.mark.parametrize(("text", "devices"), [("cuda:0,cuda:1", ("cuda:0", "cuda:1")), ("cpu", ("cpu",))])
def test_devices(text: str, devices: tuple[str, ...]) -> None:
    assert load_server_config(None, {"devices": text}).workers.devices == devices
    assert load_server_config(None, {"devices": [*devices]}).workers.devices == devices


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"num_thread": 1}, "num_thread: no such key, did you mean num_threads?"),
        ({"fetch": {"timeout": 1}}, "fetch.timeout: no such key, did you mean fetch.timeout_ms?"),
        ({"fetch": 5}, "fetch: got 5, needs keys with values"),
        ({"port": 70_000}, "port: got 70000, needs a whole number from 0 to 65535"),
        ({"port": "8000"}, "port: got '8000', needs a whole number from 0 to 65535"),
        ({"replicas": True}, "replicas: got True, needs a whole number from 1 to 1024"),
        ({"max_queued_calls": 0}, "max_queued_calls: got 0, needs 1 or more"),
        ({"grace_ms": -1}, "grace_ms: got -1, needs 0 or more milliseconds"),
        ({"grace_ms": float("nan")}, "grace_ms: got nan, needs 0 or more milliseconds"),
        ({"strict_ids": "no"}, "strict_ids: got 'no', needs true or false"),
        ({"deployments": "one"}, "deployments: got 'one', needs a list"),
        ({"deployments": ["a", ""]}, "deployments[1]: got '', needs a text"),
        ({"devices": "auto,cpu"}, "devices: got 'auto,cpu', needs auto, or names such as cpu or cuda:0"),
        ({"devices": "GPU 1"}, "devices: got 'GPU 1', needs auto, or names such as cpu or cuda:0"),
        ({"model": {"id": ""}}, "model.id: got '', needs a text"),
        ({"model": {"id": "\ud800"}}, "model.id: got '\\ud800', needs a text"),
        (
            {"max_message_bytes": 2**31},
            "max_message_bytes: got 2147483648, needs a whole number from 1024 to 1073741824",
        ),
    ],
)
def test_wrong_values(document: dict[str, object], message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load_server_config(None, document)
    assert str(caught.value) == message
    file = tmp_path / "server.yaml"
    file.write_text(yaml.safe_dump(document))
    with pytest.raises(ConfigError) as caught:
        load_server_config(file)
    assert str(caught.value) == f"{file}: {message}"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"port: [1", "line 1: is not valid YAML"),
        (b"- a\n- b", "got list, needs keys with values"),
        (b"\xff\xfe\xff", "is not UTF-8 text"),
        (b"a: \x01", "is not valid YAML"),
        (b"1: 2", "1: no such key"),
    ],
)
def test_unreadable_files(data: bytes, message: str, tmp_path: Path) -> None:
    file = tmp_path / "server.yaml"
    file.write_bytes(data)
    with pytest.raises(ConfigError, match="^" + str(file)) as caught:
        load_server_config(file)
    assert message in str(caught.value)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        load_server_config(tmp_path / "none.yaml")


def test_keys_are_not_printed() -> None:
    assert "sesame" not in repr(load_server_config(None, {"keys": ["sesame"]}))


def test_options_of_methods_are_merged_layer_by_layer(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("methods: {embed: {max_batch_size: 8, priority: 2}, other: {slo_ms: 5}}\n")
    file = tmp_path / "server.yaml"
    file.write_text("methods: {embed: {max_batch_size: auto, priority: }}\n")
    found = load_server_config(file, {"methods": {"third": {"idempotent": True}}}, model_dir=tmp_path)
    assert found.methods == {
        "embed": {"max_batch_size": "auto", "priority": 2},
        "other": {"slo_ms": 5},
        "third": {"idempotent": True},
    }


def test_deployments_of_a_later_layer_replace_those_below(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("deployments: [a, {id: b, replicas: 2}]\n")
    below = load_server_config(model_dir=tmp_path).access.deployments
    assert below == (Deployment(id="a"), Deployment(id="b", replicas=2))
    assert load_server_config(None, {"deployments": ["c"]}, model_dir=tmp_path).access.deployments == (
        Deployment(id="c"),
    )
