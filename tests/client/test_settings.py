from __future__ import annotations

import re

import pytest

from runner.client import Model
from runner.client.address import ModelIds
from runner.client.calls import Selector
from runner.client.settings import Settings
from runner.signature.script import CLIENT_NAMES


def test_url_and_ids_exclude_each_other():
    with pytest.raises(ValueError, match="one or the other"):
        Settings.resolve("u/a/models/m", model_id="m")
    ids = ModelIds(user_id="u", app_id="a", model_id="m", version_id="v")
    assert Settings.resolve("u/a/models/m", version_id="v").ids == ids
    assert Settings.resolve(user_id="u", app_id="a", model_id="m", version_id="v").ids == ids
    with pytest.raises(ValueError, match="version_id"):
        Settings.resolve("u/a/models/m/versions/w", version_id="v")


def test_a_server_is_named_once():
    assert str(Settings.resolve("http://127.0.0.1:9").address) == "http://127.0.0.1:9"
    with pytest.raises(ValueError, match="give one of them"):
        Settings.resolve("http://127.0.0.1:9", base_url="http://127.0.0.1:9")


def test_the_key_and_own_metadata_are_sent():
    settings = Settings.resolve(pat="k", metadata={"X-Tenant": "t"})
    assert settings.metadata == (("x-tenant", "t"), ("authorization", "Key k"))


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"pat": "key\n"}, "pat: a key is of printable ASCII; is there a line break or a blank at its end"),
        ({"pat": "schlüssel"}, "pat: a key is of printable ASCII"),
        (
            {"metadata": {"tenant": 5}},
            "metadata 'tenant': needs a str of printable ASCII, no blanks around it, got int",
        ),
        (
            {"metadata": {"tenant": "müller"}},
            "metadata 'tenant': needs a str of printable ASCII, no blanks around it, got other characters",
        ),
        ({"pat": " key"}, "pat: a key is of printable ASCII"),
        ({"metadata": {"tenant": "x "}}, "metadata 'tenant': needs a str of printable ASCII, no blanks around it"),
        ({"metadata": {"two words": "x"}}, "metadata 'two words': a name is of letters, digits, -, _ and . only"),
        ({"metadata": {"": "x"}}, "metadata '': a name is"),
        ({"metadata": {"x-bin": "x"}}, "metadata 'x-bin': needs bytes, since it ends with -bin, got str"),
    ],
)
def test_what_no_header_can_hold_is_refused_by_name(arguments, text):
    with pytest.raises(ValueError, match=re.escape(text)) as refused:
        Settings.resolve(**arguments)
    assert "schlüssel" not in str(refused.value)


def test_a_timeout_is_positive():
    with pytest.raises(ValueError, match="timeout: got 0"):
        Settings.resolve(timeout=0)


def test_a_selector_is_a_deployment_or_a_whole_nodepool():
    with pytest.raises(ValueError, match="both or neither"):
        Selector(nodepool_id="n")
    with pytest.raises(ValueError, match="not both"):
        Selector(deployment_id="d", nodepool_id="n", compute_cluster_id="c")
    assert Selector().message() is None
    deployment = Selector(deployment_id="d", deployment_user_id="u").message()
    assert deployment is not None
    assert (deployment.deployment.id, deployment.deployment.user_id) == ("d", "u")
    nodepool = Selector(compute_cluster_id="c", nodepool_id="n").message()
    assert nodepool is not None
    assert (nodepool.nodepool.id, nodepool.nodepool.compute_cluster.id) == ("n", "c")


def test_a_client_says_what_it_is_and_sends_nothing():
    assert repr(Model("u/a/models/m", base_url="http://h:1")) == (
        "Model('https://clarifai.com/u/a/models/m', base_url='http://h:1')"
    )
    assert repr(Model(base_url="h:1").with_timeout(3)) == "Model(base_url='http://h:1')"


def test_underscored_names_are_never_asked_for():
    model = Model(base_url="http://127.0.0.1:9")
    assert not hasattr(model, "_ipython_display_")
    with pytest.raises(AttributeError):
        model.__wrapped__  # noqa: B018


def test_generated_scripts_know_the_clients_own_names():
    assert {name for name in dir(Model) if not name.startswith("_")} == CLIENT_NAMES
