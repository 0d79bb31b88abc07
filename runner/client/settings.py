"""What a client is made with: which model, where, as whom. Resolved once, from arguments and then the environment."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from runner.client.address import (
    Address,
    ModelIds,
    Trust,
    default_base_url,
    default_pat,
    parse_model_url,
)
from runner.client.calls import RequestHead, Selector
from runner.client.timeout import read_limit
from runner.client.transport import CallOptions, Metadata

__all__ = ["Settings"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """A resolved set of a client's arguments. `timeout`: seconds for each call, None for no limit."""

    ids: ModelIds
    address: Address
    selector: Selector
    metadata: Metadata
    timeout: float | None
    trust: Trust

    @classmethod
    def resolve(
        cls,
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
    ) -> Settings:
        """Put the arguments of a client together; `ModelBase` explains them.

        Raises:
            TypeError: a timeout that is no number.
            ValueError: a URL of another shape, arguments that exclude each other, or what no header can hold.
        """
        ids = ModelIds(user_id=user_id, app_id=app_id, model_id=model_id, version_id=version_id)
        if url is not None:
            if ids != ModelIds(version_id=version_id):
                raise ValueError("url and user_id, app_id, model_id: the URL names all three, so give one or the other")
            from_url, server = parse_model_url(url)
            if server is not None and base_url is not None:
                raise ValueError(f"url {url!r} names a server and no model, and so does base_url: give one of them")
            base_url = base_url or server
            if version_id and from_url.version_id not in ("", version_id):
                raise ValueError(f"version_id {version_id!r} is not the version that the URL {url!r} names")
            ids = ModelIds(
                user_id=from_url.user_id,
                app_id=from_url.app_id,
                model_id=from_url.model_id,
                version_id=version_id or from_url.version_id,
            )
        pat = pat or default_pat()
        if pat and not _is_printable(pat):
            raise ValueError("pat: a key is of printable ASCII; is there a line break or a blank at its end?")
        own = tuple((name.lower(), value) for name, value in (metadata or {}).items())
        for name, value in own:
            _check_metadata(name, value)
        return cls(
            ids=ids,
            address=Address.parse(base_url or default_base_url()),
            selector=Selector(
                deployment_id=deployment_id,
                deployment_user_id=deployment_user_id,
                compute_cluster_id=compute_cluster_id,
                nodepool_id=nodepool_id,
            ),
            metadata=(*own, ("authorization", f"Key {pat}")) if pat else own,
            timeout=read_limit(timeout),
            trust=Trust.resolve(root_certificates_path, client_certificate_path, client_key_path),
        )

    @property
    def options(self) -> CallOptions:
        """With what calls are sent that say nothing else."""
        return CallOptions(self.timeout, self.metadata)

    def head(self) -> RequestHead:
        """Return what stands before the inputs in each request."""
        return RequestHead(self.ids, self.selector)


def _check_metadata(name: str, value: object) -> None:
    """Refuse what gRPC would refuse at each call, without a word about what it is.

    Raises:
        ValueError: naming the key.
    """
    if not _NAME.fullmatch(name):
        raise ValueError(f"metadata {name!r}: a name is of letters, digits, -, _ and . only")
    if name.endswith("-bin"):
        if not isinstance(value, bytes):
            raise ValueError(f"metadata {name!r}: needs bytes, since it ends with -bin, got {type(value).__name__}")
    elif not isinstance(value, str) or not _is_printable(value):
        got = "other characters" if isinstance(value, str) else type(value).__name__
        raise ValueError(f"metadata {name!r}: needs a str of printable ASCII, no blanks around it, got {got}")


def _is_printable(text: str) -> bool:
    # HTTP/2 has no blanks around a value: servers refuse such a request without a word about why.
    return text.isascii() and text.isprintable() and text == text.strip(" ")


_NAME: Final = re.compile(r"[a-z0-9_.-]+")
