"""The names that a caller's runner selector may give, and how the configuration spells them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from runner.config_values import Reader, as_devices, as_id, as_int
from runner.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """A name that a caller's runner selector may give, and the replicas that belong to it.

    Args:
        id: its name.
        nodepool: the nodepool that selects it too; empty: none.
        compute_cluster: the compute cluster of that nodepool; empty: any.
        replicas: workers of its own; 0: any replica runs its calls.
        devices: where those are.
    """

    id: str
    nodepool: str = ""
    compute_cluster: str = ""
    replicas: int = 0
    devices: tuple[str, ...] = ("auto",)


_KEYS: dict[str, Reader] = {
    "id": as_id,
    "nodepool": as_id,
    "compute_cluster": as_id,
    "replicas": as_int(1, 1024),
    "devices": as_devices,
}


def as_deployments(path: str, value: object) -> tuple[Deployment, ...]:
    """Read a list whose items are ids, or mappings with an id."""
    if not isinstance(value, list | tuple):
        raise ConfigError(f"{path}: got {value!r}, needs a list")
    items = cast("list[object]", value)
    found = tuple(_read(f"{path}[{position}]", item) for position, item in enumerate(items))
    names = [deployment.id for deployment in found]
    if repeated := next((name for name in names if names.count(name) > 1), None):
        raise ConfigError(f"{path}: {repeated!r} is there twice; give each deployment an id of its own")
    return found


def _read(path: str, value: object) -> Deployment:
    if not isinstance(value, Mapping):
        return Deployment(id=as_id(path, value))
    given: dict[str, Any] = {}
    for name, inner in cast(Mapping[str, object], value).items():
        if name not in _KEYS:
            raise ConfigError(f"{path}.{name}: no such key; a deployment has {', '.join(_KEYS)}")
        if inner is not None:  # a key without a value counts as not given
            given[name] = _KEYS[name](f"{path}.{name}", inner)
    if "id" not in given:
        raise ConfigError(f"{path}: got no id, and it needs one")
    if "compute_cluster" in given and "nodepool" not in given:
        raise ConfigError(f"{path}.compute_cluster: needs nodepool beside it; a cluster alone selects nothing")
    if "devices" in given:
        given.setdefault("replicas", 1)
    return Deployment(**given)
