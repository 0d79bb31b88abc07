"""What the server says about itself: the model, its version, its methods, and the names it answers to.

One model is served, so nearly every reply is made once, when the methods are known, and sent as it is. A client caches
what GetModel says for its lifetime, so nothing here answers before then.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeVar

from google.protobuf.message import DecodeError, Message

from runner.config import Deployment, ModelIdentity
from runner.errors import InvalidInput, MessageTooLarge, MethodNotFound, ModelNotFound
from runner.signature.dialect import Dialect
from runner.signature.publish import signatures_json
from runner.signature.published import Published
from runner.wire import reply
from runner.wire.envelope import MAX_HEAD_BYTES, Target
from runner.wire.pb import inference_pb2 as pb

_OK = pb.Status(code=reply.SUCCESS, description="Ok")

_FIELD_OF_TYPE = {
    pb.ModelTypeField.STR: "text",
    pb.ModelTypeField.TEXT: "text",
    pb.ModelTypeField.IMAGE: "image",
    pb.ModelTypeField.AUDIO: "audio",
    pb.ModelTypeField.VIDEO: "video",
}
"""The old-style word for what a method takes; clients pack bytes of unknown type by the first one they find."""

_Request = TypeVar("_Request", bound=Message)


class Catalog:
    """Answers every RPC that is about the model and does not run it.

    Owns the replies, which `publish` makes, and the version's name; everything else is fixed from the start.
    """

    def __init__(
        self, identity: ModelIdentity, *, strict_ids: bool = False, deployments: Sequence[Deployment] = ()
    ) -> None:
        """Describe a model that has no methods yet.

        Args:
            identity: the names of the model.
            strict_ids: answer to these names only.
            deployments: what a runner selector may name; empty: it may name anything.
        """
        self._identity = identity
        self._strict_ids = strict_ids
        self._methods: Sequence[Published] = ()
        self._deployments = {deployment.id: deployment for deployment in deployments}
        self._replies: dict[Dialect, _Replies] = {}
        self._rpcs: dict[str, Callable[[Dialect, bytes], bytes]] = {
            "GetModel": self._get_model,
            "GetModelVersion": self._get_model_version,
            "ListModelVersions": self._list_model_versions,
            "GetModelType": self._get_model_type,
            "GetUser": self._get_user,
            "GetDeployment": self._get_deployment,
            "GetNodepool": self._get_nodepool,
        }

    def publish(self, methods: Sequence[Published]) -> None:
        """Make the replies for these methods. Must have been called before any of them is asked for."""
        self._methods = methods
        for dialect in Dialect:
            self._replies[dialect] = _Replies(self._identity, methods, dialect)

    def name_version(self, version_id: str) -> None:
        """Call what is served by another version's name. Its other names stay."""
        self._identity = replace(self._identity, version_id=version_id)
        self.publish(self._methods)

    def reply(self, dialect: Dialect, rpc: str, request: bytes) -> bytes:
        """Answer an RPC by its name.

        Raises:
            InvalidInput: the request is no message of this RPC.
            ModelNotFound: it asks for something that is not served here.
            MethodNotFound: there is no such RPC.
        """
        answer = self._rpcs.get(rpc)
        if answer is None:
            raise MethodNotFound(f"there is no RPC {rpc!r}; the service has {', '.join(self._rpcs)}")
        return answer(dialect, request)

    def signatures(self, dialect: Dialect) -> bytes:
        """Return the reply to a `_GET_SIGNATURES` call."""
        return self._replies[dialect].signatures

    def check(self, target: Target) -> str:
        """Let a call pass that asks for what is served here. An empty id asks for nothing in particular.

        Returns:
            The deployment whose replicas have to run it; empty: any replica.

        Raises:
            ModelNotFound: it asks for something else.
        """
        if self._strict_ids:
            self._check_ids(target.user_id, target.app_id, target.model_id, target.version_id)
        if not self._deployments:
            return ""
        chosen = None
        if target.deployment_id:
            chosen = self._deployment(target.deployment_id)
        elif target.nodepool_id:
            chosen = self._of_nodepool(target.nodepool_id, target.compute_cluster_id)
        return chosen.id if chosen is not None and chosen.replicas else ""

    def _get_model(self, dialect: Dialect, request: bytes) -> bytes:
        message = _parse(pb.GetModelRequest, request)
        ids = message.user_app_id
        self._check_strict_ids(ids.user_id, ids.app_id, message.model_id, message.version_id)
        return self._replies[dialect].model

    def _get_model_version(self, dialect: Dialect, request: bytes) -> bytes:
        message = _parse(pb.GetModelVersionRequest, request)
        ids = message.user_app_id
        self._check_strict_ids(ids.user_id, ids.app_id, message.model_id, message.version_id)
        return self._replies[dialect].version

    def _list_model_versions(self, dialect: Dialect, request: bytes) -> bytes:
        message = _parse(pb.ListModelVersionsRequest, request)
        ids = message.user_app_id
        self._check_strict_ids(ids.user_id, ids.app_id, message.model_id, "")
        # Clients ask for the next page until one is empty.
        return self._replies[dialect].versions if message.page <= 1 else self._replies[dialect].no_versions

    def _get_model_type(self, dialect: Dialect, request: bytes) -> bytes:
        _parse(pb.GetModelTypeRequest, request)
        return self._replies[dialect].model_type

    def _get_user(self, dialect: Dialect, request: bytes) -> bytes:
        message = _parse(pb.GetUserRequest, request)
        if message.user_app_id.user_id != "me":
            self._check_strict_ids(message.user_app_id.user_id, "", "", "")
        return self._replies[dialect].user

    def _get_deployment(self, dialect: Dialect, request: bytes) -> bytes:
        message = _parse(pb.GetDeploymentRequest, request)
        if self._deployments:
            self._deployment(message.deployment_id)
        deployment = pb.Deployment(id=message.deployment_id, user_id=message.user_app_id.user_id)
        return pb.SingleDeploymentResponse(status=_OK, deployment=deployment).SerializeToString()

    def _get_nodepool(self, dialect: Dialect, request: bytes) -> bytes:
        message = _parse(pb.GetNodepoolRequest, request)
        if self._deployments:
            self._of_nodepool(message.nodepool_id, message.compute_cluster_id)
        nodepool = pb.Nodepool(id=message.nodepool_id)
        nodepool.compute_cluster.id = message.compute_cluster_id
        nodepool.compute_cluster.user_id = message.user_app_id.user_id
        return pb.SingleNodepoolResponse(status=_OK, nodepool=nodepool).SerializeToString()

    def _check_strict_ids(self, user_id: str, app_id: str, model_id: str, version_id: str) -> None:
        if self._strict_ids:
            self._check_ids(user_id, app_id, model_id, version_id)

    def _check_ids(self, user_id: str, app_id: str, model_id: str, version_id: str) -> None:
        identity = self._identity
        for word, asked, served in (
            ("user", user_id, identity.user_id),
            ("app", app_id, identity.app_id),
            ("model", model_id, identity.id),
            ("version", version_id, identity.version_id),
        ):
            if asked and asked != served:
                raise ModelNotFound(f"there is no {word} {asked!r} here; this server has {served!r}")

    def _deployment(self, deployment_id: str) -> Deployment:
        found = self._deployments.get(deployment_id)
        if found is None:
            raise ModelNotFound(f"there is no deployment {deployment_id!r} here")
        return found

    def _of_nodepool(self, nodepool_id: str, cluster_id: str) -> Deployment:
        for deployment in self._deployments.values():
            clusters = ("", deployment.compute_cluster) if deployment.compute_cluster else ("", cluster_id)
            if deployment.nodepool and deployment.nodepool == nodepool_id and cluster_id in clusters:
                return deployment
        named = f"{cluster_id}/{nodepool_id}" if cluster_id else nodepool_id
        raise ModelNotFound(f"there is no nodepool {named!r} here")


class _Replies:
    """The replies that never change, serialized, as one dialect words them."""

    def __init__(self, identity: ModelIdentity, methods: Sequence[Published], dialect: Dialect) -> None:
        described = (method.clarifai if dialect is Dialect.CLARIFAI else method.native for method in methods)
        # A method that the dialect has no word for has no description.
        signatures = [pb.MethodSignature.FromString(data) for data in described if data]
        version = pb.ModelVersion(
            id=identity.version_id,
            app_id=identity.app_id,
            user_id=identity.user_id,
            status=_OK,
            method_signatures=signatures,
        )
        model = pb.Model(
            id=identity.id,
            name=identity.id,
            app_id=identity.app_id,
            user_id=identity.user_id,
            model_type_id=identity.model_type_id,
            version_count=1,
            model_version=version,
        )
        model_type = pb.ModelType(
            id=identity.model_type_id, title=identity.model_type_id, input_fields=_old_style_inputs(signatures)
        )
        self.model = pb.SingleModelResponse(status=_OK, model=model).SerializeToString()
        self.version = pb.SingleModelVersionResponse(status=_OK, model_version=version).SerializeToString()
        self.versions = pb.MultiModelVersionResponse(status=_OK, model_versions=[version]).SerializeToString()
        self.no_versions = pb.MultiModelVersionResponse(status=_OK).SerializeToString()
        self.model_type = pb.SingleModelTypeResponse(status=_OK, model_type=model_type).SerializeToString()
        self.user = pb.SingleUserResponse(status=_OK, user=pb.User(id=identity.user_id)).SerializeToString()
        output = pb.Output(status=_OK)
        output.data.text.raw = signatures_json(signatures)
        self.signatures = reply.success((output.SerializeToString(),))


def _old_style_inputs(signatures: Sequence[pb.MethodSignature]) -> list[str]:
    """Return the words for what an old-style call may bring: of `predict`, or of the first method."""
    called = next((method for method in signatures if method.name == "predict"), None) or next(iter(signatures), None)
    types = [argument.type for argument in called.input_fields] if called else []
    # A client indexes the first one without looking.
    return [_FIELD_OF_TYPE[kind] for kind in types if kind in _FIELD_OF_TYPE] or ["text"]


def _parse(message_type: type[_Request], request: bytes) -> _Request:
    if len(request) > MAX_HEAD_BYTES:  # a few ids
        raise MessageTooLarge(f"the request has {len(request)} bytes; {MAX_HEAD_BYTES} are the most for its kind")
    try:
        return message_type.FromString(request)
    except DecodeError:
        raise InvalidInput("the request is not a valid message") from None
