"""What the two clients have in common: their arguments, and what they know of the model once they have asked."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Self

from runner.client.settings import Settings
from runner.client.timeout import read_limit
from runner.signature.method import MethodSignature
from runner.signature.script import client_script

__all__ = ["ModelBase"]


class ModelBase:
    """A model on a server: everything about a client but its way of waiting."""

    def __init__(
        self,
        url: str | None = None,
        *,
        user_id: str = "",
        app_id: str = "",
        model_id: str = "",
        version_id: str = "",
        base_url: str | None = None,
        pat: str | None = None,
        deployment_id: str = "",
        deployment_user_id: str = "",
        compute_cluster_id: str = "",
        nodepool_id: str = "",
        timeout: float | None = None,
        metadata: Mapping[str, str] | None = None,
        root_certificates_path: str | None = None,
        client_certificate_path: str | None = None,
        client_key_path: str | None = None,
    ) -> None:
        """Say which model is meant, where it is, and as whom to ask. Nothing is sent before it is needed.

        Args:
            url: the model's URL, `https://clarifai.com/USER/APP/models/MODEL[/versions/VERSION]`. Its host is ignored.
                A URL without a path is taken for `base_url`. May be left out, and so may all ids: a server runs one
                model.
            user_id: instead of `url`.
            app_id: instead of `url`.
            model_id: instead of `url`.
            version_id: a version of the model; whichever is served by default.
            base_url: the server, `http://HOST:PORT`, `https://HOST:PORT` or `HOST:PORT`. By default RUNNER_API_BASE,
                CLARIFAI_API_BASE, or else http://127.0.0.1:8000.
            pat: the key, if the server wants one. By default RUNNER_PAT or CLARIFAI_PAT.
            deployment_id: which deployment shall answer.
            deployment_user_id: whose deployment or nodepool it is.
            compute_cluster_id: with `nodepool_id`, instead of a deployment.
            nodepool_id: with `compute_cluster_id`.
            timeout: seconds for each call, from its start to its last reply; None for no limit. A call may have its
                own, `model.predict("x", timeout=5)`, unless the method has an argument of that name; see
                `with_timeout`.
            metadata: sent with each call; the method sees it in `self.context.metadata`.
            root_certificates_path: a file of certificates to trust, for a private CA. By default
                RUNNER_ROOT_CERTIFICATES_PATH or CLARIFAI_ROOT_CERTIFICATES_PATH.
            client_certificate_path: a file with the certificate that a server may want of its callers. By default
                RUNNER_CLIENT_CERTIFICATE_PATH.
            client_key_path: a file with its key. By default RUNNER_CLIENT_KEY_PATH.

        Raises:
            ValueError: a URL of another shape, or arguments that exclude each other.
        """
        self._settings = Settings.resolve(
            url,
            user_id=user_id,
            app_id=app_id,
            model_id=model_id,
            version_id=version_id,
            base_url=base_url,
            pat=pat,
            deployment_id=deployment_id,
            deployment_user_id=deployment_user_id,
            compute_cluster_id=compute_cluster_id,
            nodepool_id=nodepool_id,
            timeout=timeout,
            metadata=metadata,
            root_certificates_path=root_certificates_path,
            client_certificate_path=client_certificate_path,
            client_key_path=client_key_path,
        )
        self._start()

    def _start(self) -> None:
        """Make the session; it connects with the first call."""
        raise NotImplementedError

    def _known_methods(self) -> Iterable[str]:
        """Return what is known without asking."""
        raise NotImplementedError

    def with_timeout(self, timeout: float | None) -> Self:
        """Return this client with another timeout, on the same connection; closing one closes both.

        Args:
            timeout: seconds for each call; None for no limit.

        Raises:
            TypeError: it is no number.
            ValueError: it is not above 0.
        """
        other = copy.copy(self)
        other._settings = replace(self._settings, timeout=read_limit(timeout))
        return other

    def _script(self, signatures: Iterable[MethodSignature]) -> str:
        selector = self._settings.selector
        return client_script(
            signatures,
            url=self._settings.ids.url,
            base_url=str(self._settings.address),
            deployment_id=selector.deployment_id,
            deployment_user_id=selector.deployment_user_id,
            compute_cluster_id=selector.compute_cluster_id,
            nodepool_id=selector.nodepool_id,
        )

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *self._known_methods()})

    def __repr__(self) -> str:
        ids = self._settings.ids
        name = f"{ids.url!r}, " if ids.url else f"model_id={ids.model_id!r}, " if ids.model_id else ""
        return f"{type(self).__name__}({name}base_url={str(self._settings.address)!r})"
