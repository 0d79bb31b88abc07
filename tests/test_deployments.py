"""How deployments are spelled, and what is said about those that make no sense."""

from __future__ import annotations

import pytest

from runner.deployments import Deployment, as_deployments
from runner.errors import ConfigError


def test_ids_and_records_may_stand_side_by_side() -> None:
    full = {"id": "c", "nodepool": "n", "compute_cluster": "k", "devices": "cuda:0,cpu", "replicas": 4}
    listed = ["a", 7, {"id": "b", "nodepool": None, "devices": "cpu"}, {"id": "d", "replicas": 2}, full]
    assert as_deployments("deployments", listed) == (
        Deployment(id="a"),
        Deployment(id="7"),
        Deployment(id="b", devices=("cpu",), replicas=1),
        Deployment(id="d", devices=("auto",), replicas=2),
        Deployment(id="c", nodepool="n", compute_cluster="k", devices=("cuda:0", "cpu"), replicas=4),
    )
    assert as_deployments("deployments", []) == ()


def test_a_record_that_is_only_a_name_has_no_replicas() -> None:
    assert as_deployments("deployments", [{"id": "a", "nodepool": "n"}]) == (Deployment(id="a", nodepool="n"),)
    assert Deployment(id="a").replicas == 0


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("one", "deployments: got 'one', needs a list"),
        ([""], "deployments[0]: got '', needs a text"),
        ([{"nodepool": "n"}], "deployments[0]: got no id, and it needs one"),
        ([{"id": None}], "deployments[0]: got no id, and it needs one"),
        (
            ["b", {"id": "a", "size": 3}],
            "deployments[1].size: no such key; a deployment has id, nodepool, compute_cluster, replicas, devices",
        ),
        ([{"id": "a", "replicas": 0}], "deployments[0].replicas: got 0, needs a whole number from 1 to 1024"),
        (
            [{"id": "a", "devices": "gpu 1"}],
            "deployments[0].devices: got 'gpu 1', needs auto, or names such as cpu or cuda:0",
        ),
        (
            [{"id": "a", "compute_cluster": "k"}],
            "deployments[0].compute_cluster: needs nodepool beside it; a cluster alone selects nothing",
        ),
        (["a", {"id": "a"}], "deployments: 'a' is there twice; give each deployment an id of its own"),
    ],
)
def test_wrong_deployments(value: object, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        as_deployments("deployments", value)
    assert str(caught.value) == message
