"""The configuration: YAML files and flags, mapped once onto frozen values.

Three layers, the later one wins key by key: the model directory's `config.yaml`, the file given with `--config`, and
overrides (command-line flags, or keywords of `runner.testing.serve`). All have the same keys; `config.yaml` beside the
README lists every one with its default. A key carries its unit; inside, times are seconds.

`_KEYS` is the only list of keys: what is not in it is refused with the name that was probably meant.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from runner.api_keys import ApiKey, as_keys
from runner.config_methods import OptionsByMethod, as_methods, merge
from runner.config_values import (
    Reader,
    as_bool,
    as_choice,
    as_devices,
    as_id,
    as_int,
    as_number,
    as_path,
    as_seconds,
    as_text,
)
from runner.config_yaml import read_yaml
from runner.deployments import Deployment, as_deployments
from runner.errors import ConfigError
from runner.limits import CallerLimits, FetchLimits
from runner.logs import FORMATS, LEVELS, Log

GIB = 1024**3

_OF_OTHER_TOOLS = frozenset({"build_info", "checkpoints", "concepts", "inference_compute_info", "train_info"})
"""Sections of a model's config.yaml that tell other tools how to build and place it. They mean nothing here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelIdentity:
    """The names of the one model that is served. `id`: the model directory's name unless configured."""

    id: str = "model"
    user_id: str = "local"
    app_id: str = "local"
    model_type_id: str = "any-to-any"
    version_id: str = "1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Listen:
    """Where the server listens, by what, and the longest request.

    Args:
        host: an address, or `unix:PATH`.
        port: 0: a free one.
        http_port: answers HTTP probes, and tells metrics; 0: a free one; None: not at all.
        transport: what carries calls: `native`, our own HTTP/2, or `grpcio`.
        compress_replies: send replies in a coding that the client takes.
        reuse_port: share the port with other servers of this machine. Native transport only.
        max_connection_age: seconds until clients are asked to connect again; 0: never. Native transport only.
        ingress: processes that own the connections; 0: the server itself does. Native transport only.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    http_port: int | None = None
    transport: str = "native"
    max_message_bytes: int = GIB // 4
    compress_replies: bool = False
    reuse_port: bool = False
    max_connection_age: float = 0.0
    ingress: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """Files of PEM, which are read again when they change. No certificate: the port is not encrypted.

    Args:
        certificate: the server's, and behind it those up to its authority.
        key: the certificate's.
        client_ca: who signs the certificates that clients must have; None: they need none.
    """

    certificate: Path | None = None
    key: Path | None = None
    client_ca: Path | None = None

    def __bool__(self) -> bool:
        """Whether any of it is configured."""
        return any((self.certificate, self.key, self.client_ca))


@dataclass(frozen=True, slots=True, kw_only=True)
class Workers:
    """How many workers there are, where, and how many calls each runs at once, by lane.

    `gpu_memory_bytes`: what one replica takes of its GPU's memory, compared with what is free before any starts; 0:
    not compared. `max_calls`, `max_memory`: answers and bytes after which a fresh worker takes its place; 0: never.
    `shared_memory`: bytes that the server shares with each for long payloads, in each direction; 0: none.
    """

    replicas: int = 1
    devices: tuple[str, ...] = ("auto",)
    gpu_memory_bytes: int = 0
    num_threads: int = 16
    max_streams: int = 256
    max_coroutines: int = 1024
    max_calls: int = 0
    max_memory: int = 0
    shared_memory: int = GIB // 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Admission:
    """What may wait in the server. Beyond it calls are refused at once: a longer queue is latency, not throughput.

    `max_queued_wait`: seconds that a call may be predicted to wait; 0: no such bound.
    """

    max_queued_calls: int = 1024
    max_queued_bytes: int = GIB
    max_queued_wait: float = 0.0
    max_loading_wait: float = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Drain:
    """What happens on SIGTERM.

    Args:
        delay: seconds of serving on, marked as not ready, until load balancers have noticed.
        grace: seconds that calls in flight may take after it.
    """

    delay: float = 0.0
    grace: float = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """Who may call, and under which names the model answers.

    Args:
        strict_ids: refuse calls for other user, app, model and version ids than the configured ones.
        keys: accepted keys; none, and no file of them: anybody may call.
        keys_file: holds further keys, and is read again when it changes.
        deployments: what a runner selector may name; empty: every selector is accepted.
    """

    strict_ids: bool = False
    keys: tuple[ApiKey, ...] = ()
    keys_file: Path | None = None
    deployments: tuple[Deployment, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerConfig:
    """Everything there is to configure.

    Args:
        callers: what each caller may have here at once, unless its key says otherwise.
        fetch: bounds on inputs given by URL.
        log: what the log says, and how.
        allow_private_urls: fetch from private and loopback addresses too.
        hide_model_errors: tell callers that the model raised, but not what.
        debug: tell callers the traceback of an error too.
        methods: options of methods that override what the model says, by method.
    """

    model: ModelIdentity = field(default_factory=ModelIdentity)
    listen: Listen = field(default_factory=Listen)
    tls: Tls = field(default_factory=Tls)
    workers: Workers = field(default_factory=Workers)
    admission: Admission = field(default_factory=Admission)
    drain: Drain = field(default_factory=Drain)
    access: Access = field(default_factory=Access)
    callers: CallerLimits = field(default_factory=CallerLimits)
    fetch: FetchLimits = field(default_factory=FetchLimits)
    log: Log = field(default_factory=Log)
    allow_private_urls: bool = False
    hide_model_errors: bool = False
    debug: bool = False
    methods: OptionsByMethod = field(default_factory=dict[str, Mapping[str, object]])


@dataclass(frozen=True, slots=True)
class _Key:
    """One key: its path in the file, how to read its value, and the place of the value in `ServerConfig`."""

    path: str
    read: Reader
    place: str


_KEYS = tuple(
    _Key(path, read, place)
    for path, read, place in (
        ("model.id", as_id, "model.id"),
        ("model.user_id", as_id, "model.user_id"),
        ("model.app_id", as_id, "model.app_id"),
        ("model.model_type_id", as_id, "model.model_type_id"),
        ("model.version_id", as_id, "model.version_id"),
        ("host", as_text, "listen.host"),
        ("port", as_int(0, 65535), "listen.port"),
        ("http_port", as_int(0, 65535), "listen.http_port"),
        ("transport", as_choice("native", "grpcio"), "listen.transport"),
        ("compress_replies", as_bool, "listen.compress_replies"),
        ("reuse_port", as_bool, "listen.reuse_port"),
        ("max_connection_age_ms", as_seconds(0), "listen.max_connection_age"),
        ("ingress", as_int(0, 256), "listen.ingress"),
        ("tls.certificate", as_path, "tls.certificate"),
        ("tls.key", as_path, "tls.key"),
        ("tls.client_ca", as_path, "tls.client_ca"),
        ("max_message_bytes", as_int(1024, GIB), "listen.max_message_bytes"),
        ("replicas", as_int(1, 1024), "workers.replicas"),
        ("devices", as_devices, "workers.devices"),
        ("gpu_memory_bytes", as_int(0), "workers.gpu_memory_bytes"),
        ("num_threads", as_int(1, 4096), "workers.num_threads"),
        ("max_streams", as_int(1, 4096), "workers.max_streams"),
        ("max_coroutines", as_int(1, 1 << 20), "workers.max_coroutines"),
        ("max_calls_per_worker", as_int(0), "workers.max_calls"),
        ("max_worker_memory_bytes", as_int(0), "workers.max_memory"),
        ("shared_memory_bytes", as_int(0, 4 * GIB), "workers.shared_memory"),
        ("max_queued_calls", as_int(1), "admission.max_queued_calls"),
        ("max_queued_bytes", as_int(1), "admission.max_queued_bytes"),
        ("max_queued_wait_ms", as_seconds(0), "admission.max_queued_wait"),
        ("max_loading_wait_ms", as_seconds(0), "admission.max_loading_wait"),
        ("drain_delay_ms", as_seconds(0), "drain.delay"),
        ("grace_ms", as_seconds(0), "drain.grace"),
        ("strict_ids", as_bool, "access.strict_ids"),
        ("keys", as_keys, "access.keys"),
        ("keys_file", as_path, "access.keys_file"),
        ("callers.max_calls", as_int(0), "callers.max_calls"),
        ("callers.max_queued_calls", as_int(0), "callers.max_queued_calls"),
        ("callers.max_calls_per_second", as_number, "callers.max_calls_per_second"),
        ("deployments", as_deployments, "access.deployments"),
        ("hide_model_errors", as_bool, "hide_model_errors"),
        ("debug", as_bool, "debug"),
        ("allow_private_urls", as_bool, "allow_private_urls"),
        ("methods", as_methods, "methods"),
        ("fetch.timeout_ms", as_seconds(1), "fetch.timeout"),
        ("fetch.max_bytes", as_int(1, GIB), "fetch.max_bytes"),
        ("fetch.max_redirects", as_int(0, 100), "fetch.max_redirects"),
        ("log.level", as_choice(*LEVELS), "log.level"),
        ("log.format", as_choice(*FORMATS), "log.format"),
    )
)
_BY_PATH = {key.path: key for key in _KEYS}
_GROUPS = {path.partition(".")[0] for path in _BY_PATH if "." in path}
_SECTIONS: dict[str, type] = {
    "model": ModelIdentity,
    "listen": Listen,
    "tls": Tls,
    "workers": Workers,
    "admission": Admission,
    "drain": Drain,
    "access": Access,
    "callers": CallerLimits,
    "fetch": FetchLimits,
    "log": Log,
}


def load_server_config(
    path: Path | None = None,
    overrides: Mapping[str, object] | None = None,
    *,
    model_dir: Path | None = None,
) -> ServerConfig:
    """Read the configuration of a server.

    Args:
        path: the file given with `--config`.
        overrides: values by key, nested as in the file; a value of None counts as not given.
        model_dir: the directory whose `config.yaml`, if there is one, lies below the other two.

    Raises:
        ConfigError: a file cannot be read, a key is unknown, or a value is wrong. The text names file and key.
    """
    values: dict[str, object] = {}
    if model_dir is not None:
        # A name on disk is any bytes, and what is published has to be text.
        values["model.id"] = os.fsencode(model_dir.resolve().name).decode(errors="replace")
        file = model_dir / "config.yaml"
        if file.exists():
            document = {key: value for key, value in read_yaml(file).items() if key not in _OF_OTHER_TOOLS}
            _add(values, document, source=f"{file}: ")
    if path is not None:
        _add(values, read_yaml(path), source=f"{path}: ")
    _add(values, overrides or {}, source="")
    return _build(values)


def _add(values: dict[str, object], document: Mapping[str, object], *, source: str) -> None:
    """Add the checked values of a document by key path. A key without a value counts as not given."""
    try:
        for name, value in document.items():
            if name in _GROUPS and isinstance(value, Mapping):
                for inner, inner_value in cast(Mapping[str, object], value).items():
                    _read_into(values, f"{name}.{inner}", inner_value)
            elif name in _GROUPS and value is not None:
                raise ConfigError(f"{name}: got {value!r}, needs keys with values")
            elif name not in _GROUPS:
                _read_into(values, str(name), value)
    except ConfigError as exc:
        raise ConfigError(f"{source}{exc}") from None


def _read_into(values: dict[str, object], path: str, value: object) -> None:
    key = _BY_PATH.get(path)
    if key is None:
        near = difflib.get_close_matches(path, [*_BY_PATH, *_GROUPS], n=1)
        raise ConfigError(f"{path}: no such key" + (f", did you mean {near[0]}?" if near else ""))
    if value is None:
        return
    read = key.read(path, value)
    if path == "methods" and path in values:  # layer by layer, option by option
        read = merge(cast(OptionsByMethod, values[path]), cast(OptionsByMethod, read))
    values[path] = read


def _build(values: Mapping[str, object]) -> ServerConfig:
    top: dict[str, Any] = {}
    sections: dict[str, dict[str, Any]] = {name: {} for name in _SECTIONS}
    for path, value in values.items():
        section, dot, name = _BY_PATH[path].place.partition(".")
        if dot:
            sections[section][name] = value
        else:
            top[section] = value
    return ServerConfig(**top, **{name: _SECTIONS[name](**fields) for name, fields in sections.items()})
