"""What the server says about itself, to both kinds of client."""

from __future__ import annotations

import json
from typing import TypeVar

import pytest
from google.protobuf.message import Message

from runner.config import Deployment, ModelIdentity
from runner.errors import InvalidInput, MessageTooLarge, MethodNotFound, ModelNotFound
from runner.server.catalog import Catalog
from runner.signature.dialect import Dialect
from runner.signature.method import Cardinality
from runner.signature.published import Lane, Published
from runner.wire.envelope import MAX_HEAD_BYTES, Target
from runner.wire.pb import inference_pb2 as pb

IDENTITY = ModelIdentity(id="cat", user_id="ann", app_id="zoo", model_type_id="visual-classifier", version_id="7")

Reply = TypeVar("Reply", bound=Message)


def published(name: str, cardinality: Cardinality = Cardinality.UNARY, kind: str = "IMAGE") -> Published:
    """A method with one argument; the two dialects are told apart by their descriptions."""

    def message(description: str) -> bytes:
        signature = pb.MethodSignature(name=name, method_type="UNARY_UNARY", description=description)
        signature.input_fields.add(name="value", type=kind, required=True)
        return signature.SerializeToString()

    return Published(
        name=name,
        cardinality=cardinality,
        lane=Lane.THREADS,
        clarifai=b"" if cardinality is Cardinality.CLIENT_STREAM else message("clarifai"),
        native=message("native"),
    )


METHODS = [published("predict"), published("gather", Cardinality.CLIENT_STREAM)]


def catalog(**options: object) -> Catalog:
    made = Catalog(IDENTITY, **options)  # type: ignore[arg-type]
    made.publish(METHODS)
    return made


def ask(
    rpc: str, request: Message, reply_type: type[Reply], dialect: Dialect = Dialect.CLARIFAI, **options: object
) -> Reply:
    message = reply_type.FromString(catalog(**options).reply(dialect, rpc, request.SerializeToString()))
    assert message.status.code == 10000  # type: ignore[attr-defined]
    return message


def test_get_model() -> None:
    model = ask("GetModel", pb.GetModelRequest(model_id="whatever"), pb.SingleModelResponse).model
    assert (model.id, model.app_id, model.user_id, model.model_type_id) == ("cat", "zoo", "ann", "visual-classifier")
    assert model.model_version.id == "7"
    assert [method.name for method in model.model_version.method_signatures] == ["predict"]


def test_get_model_version_in_both_dialects() -> None:
    request = pb.GetModelVersionRequest()
    version = ask("GetModelVersion", request, pb.SingleModelVersionResponse).model_version
    assert [(method.name, method.description) for method in version.method_signatures] == [("predict", "clarifai")]
    version = ask("GetModelVersion", request, pb.SingleModelVersionResponse, Dialect.NATIVE).model_version
    assert [(method.name, method.description) for method in version.method_signatures] == [
        ("predict", "native"),
        ("gather", "native"),
    ]


def test_list_model_versions_ends() -> None:
    for page, count in ((0, 1), (1, 1), (2, 0), (1000, 0)):
        found = ask("ListModelVersions", pb.ListModelVersionsRequest(page=page), pb.MultiModelVersionResponse)
        assert len(found.model_versions) == count


def test_get_model_type() -> None:
    found = ask("GetModelType", pb.GetModelTypeRequest(model_type_id="x"), pb.SingleModelTypeResponse).model_type
    assert (found.id, list(found.input_fields)) == ("visual-classifier", ["image"])


@pytest.mark.parametrize(
    ("methods", "fields"),
    [
        ([], ["text"]),
        ([published("a", kind="STR")], ["text"]),
        ([published("a", kind="STR"), published("predict", kind="AUDIO")], ["audio"]),
        ([published("a", kind="INT")], ["text"]),
    ],
)
def test_old_style_inputs(methods: list[Published], fields: list[str]) -> None:
    made = Catalog(IDENTITY)
    made.publish(methods)
    found = pb.SingleModelTypeResponse.FromString(made.reply(Dialect.CLARIFAI, "GetModelType", b""))
    assert list(found.model_type.input_fields) == fields


def test_get_user_deployment_and_nodepool() -> None:
    user = ask("GetUser", pb.GetUserRequest(user_app_id=pb.UserAppIDSet(user_id="me")), pb.SingleUserResponse).user
    assert user.id == "ann"
    asked = pb.GetDeploymentRequest(user_app_id=pb.UserAppIDSet(user_id="bob"), deployment_id="d")
    deployment = ask("GetDeployment", asked, pb.SingleDeploymentResponse).deployment
    assert (deployment.id, deployment.user_id) == ("d", "bob")
    pool = pb.GetNodepoolRequest(compute_cluster_id="c", nodepool_id="n")
    nodepool = ask("GetNodepool", pool, pb.SingleNodepoolResponse).nodepool
    assert (nodepool.id, nodepool.compute_cluster.id) == ("n", "c")


def test_signatures() -> None:
    for dialect, names in ((Dialect.CLARIFAI, ["predict"]), (Dialect.NATIVE, ["predict", "gather"])):
        message = pb.MultiOutputResponse.FromString(catalog().signatures(dialect))
        assert message.status.code == message.outputs[0].status.code == 10000
        assert list(json.loads(message.outputs[0].data.text.raw)) == names


ACCEPTED = [
    Target(),
    Target(user_id="ann", app_id="zoo", model_id="cat", version_id="7"),
    Target(model_id="cat", deployment_id="any", nodepool_id="any"),
]
REFUSED = [Target(user_id="x"), Target(app_id="x"), Target(model_id="x"), Target(version_id="x")]


@pytest.mark.parametrize("target", ACCEPTED + REFUSED)
def test_any_name_is_accepted(target: Target) -> None:
    catalog().check(target)


@pytest.mark.parametrize("target", ACCEPTED)
def test_strict_ids_accept(target: Target) -> None:
    catalog(strict_ids=True).check(target)


@pytest.mark.parametrize("target", REFUSED)
def test_strict_ids_refuse(target: Target) -> None:
    with pytest.raises(ModelNotFound, match="'x' here; this server has"):
        catalog(strict_ids=True).check(target)
    ids = pb.UserAppIDSet(user_id=target.user_id, app_id=target.app_id)
    for rpc, request_type in (("GetModel", pb.GetModelRequest), ("GetModelVersion", pb.GetModelVersionRequest)):
        request = request_type(user_app_id=ids, model_id=target.model_id, version_id=target.version_id)
        with pytest.raises(ModelNotFound):
            ask(rpc, request, pb.SingleModelResponse, strict_ids=True)


def test_strict_ids_and_the_user() -> None:
    me = pb.GetUserRequest(user_app_id=pb.UserAppIDSet(user_id="me"))
    assert ask("GetUser", me, pb.SingleUserResponse, strict_ids=True).user.id == "ann"
    with pytest.raises(ModelNotFound, match="user 'bob'"):
        other = pb.GetUserRequest(user_app_id=pb.UserAppIDSet(user_id="bob"))
        ask("GetUser", other, pb.SingleUserResponse, strict_ids=True)


def test_configured_deployments() -> None:
    made = catalog(deployments=[Deployment(id="d")])
    made.check(Target())
    made.check(Target(deployment_id="d"))
    for target in (Target(deployment_id="e"), Target(nodepool_id="n")):
        with pytest.raises(ModelNotFound, match=" here"):
            made.check(target)
    ask(
        "GetDeployment",
        pb.GetDeploymentRequest(deployment_id="d"),
        pb.SingleDeploymentResponse,
        deployments=[Deployment(id="d")],
    )
    for rpc, request in (("GetDeployment", pb.GetDeploymentRequest()), ("GetNodepool", pb.GetNodepoolRequest())):
        with pytest.raises(ModelNotFound):
            made.reply(Dialect.CLARIFAI, rpc, request.SerializeToString())


def test_bad_requests() -> None:
    for rpc in ("GetModel", "GetModelVersion", "ListModelVersions", "GetModelType", "GetUser", "GetDeployment"):
        with pytest.raises(InvalidInput):
            catalog().reply(Dialect.CLARIFAI, rpc, b"\x0a\x7f")
    with pytest.raises(MethodNotFound, match="PostWorkflowResults"):
        catalog().reply(Dialect.CLARIFAI, "PostWorkflowResults", b"")


def test_a_selector_picks_a_deployment_with_replicas_of_its_own() -> None:
    made = catalog(
        deployments=[
            Deployment(id="shared", nodepool="n", compute_cluster="c"),
            Deployment(id="own", nodepool="m", replicas=2),
        ]
    )
    assert made.check(Target()) == ""
    assert made.check(Target(deployment_id="shared")) == ""
    assert made.check(Target(nodepool_id="n", compute_cluster_id="c")) == ""
    assert made.check(Target(deployment_id="own")) == "own"
    assert made.check(Target(nodepool_id="m", compute_cluster_id="any")) == "own"
    with pytest.raises(ModelNotFound, match="nodepool 'other/n'"):
        made.check(Target(nodepool_id="n", compute_cluster_id="other"))


def test_a_question_has_ids_and_not_megabytes() -> None:
    with pytest.raises(MessageTooLarge):
        catalog().reply(Dialect.NATIVE, "GetModel", bytes(MAX_HEAD_BYTES + 1))
