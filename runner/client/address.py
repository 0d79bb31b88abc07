"""Where a server is, and which model is meant: what the caller's strings and the environment say.

Pure but for `default_base_url`, `default_pat` and `Trust.resolve`, which read the environment. Knows nothing of gRPC.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

__all__ = [
    "Address",
    "ModelIds",
    "Trust",
    "default_base_url",
    "default_pat",
    "parse_model_url",
]

DEFAULT_PORT = 8000
"""Where `runner serve` listens unless told otherwise; used for a bare host name."""

_URL_SHAPE = "a model URL looks like https://clarifai.com/USER/APP/models/MODEL[/versions/VERSION]"


def default_base_url() -> str:
    """Return the server named by RUNNER_API_BASE or CLARIFAI_API_BASE, or else a local one."""
    return _from_environment("API_BASE") or f"http://127.0.0.1:{DEFAULT_PORT}"


def default_pat() -> str | None:
    """Return the key named by RUNNER_PAT or CLARIFAI_PAT, if there is one."""
    return _from_environment("PAT")


def _from_environment(name: str) -> str | None:
    return os.environ.get(f"RUNNER_{name}") or os.environ.get(f"CLARIFAI_{name}") or None


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """A server: host, port, and whether the connection is encrypted."""

    host: str
    port: int
    secure: bool

    @classmethod
    def parse(cls, base_url: str) -> Address:
        """Read `http://HOST:PORT`, `https://HOST:PORT` or `HOST:PORT`, with or without a slash at the end.

        Without a scheme, port 443 is encrypted and every other is not.

        Raises:
            ValueError: naming the text, if it is none of these.
        """
        scheme, separator, rest = base_url.strip().partition("://")
        if not separator:
            scheme, rest = "", base_url.strip()
        if scheme.lower() not in ("", "http", "https"):
            raise ValueError(f"base_url {base_url!r}: the scheme {scheme!r} is none of http and https")
        try:
            parts = urlsplit(f"//{rest}")
            host, port = parts.hostname, parts.port
        except ValueError as error:
            raise ValueError(f"base_url {base_url!r}: {error}") from None
        if not host or parts.path not in ("", "/") or parts.query or parts.username:
            raise ValueError(f"base_url {base_url!r}: needs the form http://HOST:PORT, and nothing after it")
        if port is None:
            port = {"": DEFAULT_PORT, "http": 80, "https": 443}[scheme.lower()]
        secure = scheme.lower() == "https" or (not scheme and port == 443)
        return cls(host=host, port=port, secure=secure)

    @property
    def target(self) -> str:
        """`HOST:PORT`, with an IPv6 host in brackets."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def __str__(self) -> str:
        return f"{'https' if self.secure else 'http'}://{self.target}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """The files of an encrypted connection: whom to believe, and who we are. None: the well-known ones; nobody."""

    root_certificates_path: str | None = None
    client_certificate_path: str | None = None
    client_key_path: str | None = None

    @classmethod
    def resolve(cls, root_certificates: str | None, client_certificate: str | None, client_key: str | None) -> Trust:
        """Take what is given, and then what the environment says.

        Raises:
            ValueError: a client's certificate without its key, or the other way round.
        """
        trust = cls(
            root_certificates_path=root_certificates or _from_environment("ROOT_CERTIFICATES_PATH"),
            client_certificate_path=client_certificate or _from_environment("CLIENT_CERTIFICATE_PATH"),
            client_key_path=client_key or _from_environment("CLIENT_KEY_PATH"),
        )
        if (trust.client_certificate_path is None) != (trust.client_key_path is None):
            raise ValueError("client_certificate_path and client_key_path: give both or neither")
        return trust


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelIds:
    """Which model is meant. All may be empty: a server runs one model and answers for it whatever it is called."""

    user_id: str = ""
    app_id: str = ""
    model_id: str = ""
    version_id: str = ""

    @property
    def url(self) -> str | None:
        """The model URL with these ids, or None if one of them is missing."""
        if not (self.user_id and self.app_id and self.model_id):
            return None
        version = f"/versions/{self.version_id}" if self.version_id else ""
        return f"https://clarifai.com/{self.user_id}/{self.app_id}/models/{self.model_id}{version}"


def parse_model_url(url: str) -> tuple[ModelIds, str | None]:
    """Read a model URL. Its host says where the model is shown to people, not where it is served, and is ignored.

    The word `models` may be missing, and so may the scheme: scripts that are printed for people have neither.

    Returns:
        The ids, and None. If there is nothing but a host: empty ids, and the URL as the server's address.

    Raises:
        ValueError: naming the URL, if it has another shape.
    """
    _, scheme, rest = url.strip().rpartition("://")
    first, *path = [unquote(part) for part in rest.split("/") if part] if rest.strip("/") else [""]
    if not first:
        raise ValueError(f"model URL {url!r} is empty: {_URL_SHAPE}")
    # Without a scheme, `www.clarifai.com/u/a/models/m` starts with a host and `u/a/models/m` does not.
    if not scheme and path and not ("." in first or ":" in first or first == "localhost"):
        path.insert(0, first)
    match path:
        case []:
            return ModelIds(), url.strip()
        case [_, _, "models"]:
            raise ValueError(f"model URL {url!r} names no model: {_URL_SHAPE}")
        case [user, app, "models", model] | [user, app, model]:
            return ModelIds(user_id=user, app_id=app, model_id=model), None
        case [user, app, "models", model, "versions", version] | [user, app, model, "versions", version]:
            return ModelIds(user_id=user, app_id=app, model_id=model, version_id=version), None
        case _:
            raise ValueError(f"model URL {url!r} names no model: {_URL_SHAPE}")
