"""Fetch inputs that a call gives by URL, as if every URL came from an attacker.

What a URL may be: `http:`, `https:` or `data:`, without user name and password. What a request carries: nothing that
identifies us or the caller; no cookies, no netrc, no proxy from the environment. Where it may go: see
`guarded_network.py`; redirects are followed here, one by one, and each goes through the same door. What comes back is
cut off at a size and a time, and is never decompressed.

What is told on failure: scheme and host of the URL, never its path or query, which may hold a signature.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from runner.errors import FetchFailed
from runner.execution import data_url
from runner.limits import FetchLimits
from runner.types import Text

if TYPE_CHECKING:
    import httpcore
    import httpx

    from runner.execution.guarded_network import Resolver
    from runner.wire.walk import Unresolved

MAX_CONCURRENT = 32
"""Fetches at once in a worker: enough to fill a batch of images, few enough for one process's sockets and memory."""

MAX_CONCURRENT_PER_CALL = 8
"""So that one call with a hundred URLs leaves room for the others."""

MAX_URLS_PER_CALL = 1024
"""A call is a request for work, not a way to have us knock on a million doors."""

_REDIRECTS = frozenset({301, 302, 303, 307, 308})


class _Failure(Exception):
    """Why a fetch failed, as the end of a sentence that begins with the URL's scheme and host."""


class Fetcher:
    """Fetches for one worker, on its event loop. Holds a few idle connections; `aclose` gives them back.

    Cancelling a fetch closes its connection and loses nothing else.

    Args:
        limits: time, size and redirects of one fetch.
        allow_private: fetch from private and loopback addresses as well.
        resolver: looks names up instead of the operating system.
    """

    def __init__(self, limits: FetchLimits, *, allow_private: bool, resolver: Resolver | None = None) -> None:
        self._limits = limits
        self._allow_private = allow_private
        self._resolver = resolver
        self._room = asyncio.Semaphore(MAX_CONCURRENT)
        self._pool: httpcore.AsyncConnectionPool | None = None
        self._making = asyncio.Lock()

    def __repr__(self) -> str:
        return f"Fetcher({self._limits}, allow_private={self._allow_private})"

    async def fetch(self, url: str, *, path: str = "") -> bytes:
        """Return what `url` holds.

        Args:
            url: an http, https or data URL.
            path: where in the call the URL stands, for the error.

        Raises:
            FetchFailed: for any reason whatever.
        """
        scheme = url.partition(":")[0].strip().lower()
        try:
            match scheme:
                case "data":
                    return self._decode(url)
                case "http" | "https":
                    async with self._room, asyncio.timeout(self._limits.timeout):
                        return await self._follow(url)
                case _:
                    raise _Failure("only http, https and data URLs are fetched")
        except TimeoutError:
            raise _failed(url, f"it took longer than {self._limits.timeout:g} s", path) from None
        except _Failure as exc:
            raise _failed(url, str(exc), path) from exc.__cause__

    async def resolve(self, unresolved: Sequence[Unresolved]) -> None:
        """Fetch every item of a call and put what came into its media: `text` for a Text, `bytes` for the rest.

        Raises:
            FetchFailed: the first failure; the fetches still under way are cancelled.
        """
        if len(unresolved) > MAX_URLS_PER_CALL:
            message = f"{len(unresolved)} inputs are given by URL, and a call may have {MAX_URLS_PER_CALL}"
            raise FetchFailed(message, path=unresolved[MAX_URLS_PER_CALL].path)
        waiting = iter(unresolved)
        budget = _Budget(self._limits.max_call_bytes)
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(min(len(unresolved), MAX_CONCURRENT_PER_CALL)):
                    group.create_task(self._work_off(waiting, budget), name="a fetch")
        except ExceptionGroup as group_failure:
            raise group_failure.exceptions[0] from None

    async def aclose(self) -> None:
        """Close the idle connections. The fetcher may be used again afterwards."""
        pool, self._pool = self._pool, None
        if pool is not None:
            await pool.aclose()

    async def _work_off(self, waiting: Iterator[Unresolved], budget: _Budget) -> None:
        for item in waiting:
            url = item.media.url or ""
            data = await self.fetch(url, path=item.path)
            if not budget.take(len(data)):
                raise _failed(url, f"the inputs given by URL are over {budget.total} bytes together", item.path)
            if not isinstance(item.media, Text):
                item.media.bytes = data
                continue
            try:
                item.media.text = data.decode()
            except UnicodeDecodeError as exc:
                raise _failed(url, "what came is not UTF-8 text", item.path) from exc

    def _decode(self, url: str) -> bytes:
        try:
            data = data_url.decode(url)
        except ValueError as exc:
            raise _Failure(f"it {exc}") from None
        self._check_size(len(data))
        return data

    async def _follow(self, url: str) -> bytes:
        """Ask `url` and whatever it redirects to."""
        pool = await self._connections()
        here = _parse(url)
        for _ in range(self._limits.max_redirects + 1):
            answer = await self._ask(here, pool)
            if isinstance(answer, bytes):
                return answer
            here = _parse(answer, relative_to=here)
        raise _Failure(f"it redirects more than {self._limits.max_redirects} times")

    async def _ask(self, url: httpx.URL, pool: httpcore.AsyncConnectionPool) -> bytes | str:
        """Return the body that `url` answers with, or the place it redirects to."""
        import httpcore

        from runner.execution.guarded_network import AddressRefused

        request = httpcore.Request(
            "GET",
            httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path),
            headers={
                "Host": url.netloc,
                "User-Agent": "runner",
                "Accept": "*/*",
                "Accept-Encoding": "identity",  # a few kilobytes of gzip can stand for gigabytes
            },
            extensions={"timeout": {"connect": self._limits.timeout}},
        )
        try:
            response = await pool.handle_async_request(request)
            try:
                if response.status in _REDIRECTS:
                    return _header(response, b"location") or _fail("it redirects without saying where")
                return await self._read(response)
            finally:
                await response.aclose()  # before the end of the body this closes the connection too
        except AddressRefused as exc:
            raise _Failure(f"{exc}, and the server does not allow that") from None
        except httpcore.TimeoutException as exc:
            raise _Failure("the host does not answer in time") from exc
        except (httpcore.NetworkError, httpcore.ProtocolError) as exc:
            raise _Failure(str(exc) or "the connection broke") from exc

    async def _read(self, response: httpcore.Response) -> bytes:
        if response.status != 200:
            raise _Failure(f"the host answered with status {response.status}")
        encoding = _header(response, b"content-encoding").lower()
        if encoding not in ("", "identity"):
            raise _Failure(f"what came is compressed ({encoding[:20]!r}), though it was asked for as it is")
        declared = _header(response, b"content-length")
        if declared.isdigit():
            self._check_size(int(declared))
        chunks: list[bytes] = []
        size = 0
        async for chunk in response.aiter_stream():
            size += len(chunk)
            self._check_size(size)
            chunks.append(chunk)
        return b"".join(chunks)

    def _check_size(self, size: int) -> None:
        if size > self._limits.max_bytes:
            raise _Failure(f"it is larger than {self._limits.max_bytes} bytes")

    async def _connections(self) -> httpcore.AsyncConnectionPool:
        """Make the pool on first use: most models never see a URL, and httpcore and the certificates cost 200 ms.

        In a thread, since coroutines of other calls run on this loop.
        """
        async with self._making:
            if self._pool is None:
                self._pool = await asyncio.to_thread(self._make_pool)
            return self._pool

    def _make_pool(self) -> httpcore.AsyncConnectionPool:
        import ssl

        import certifi
        import httpcore
        import httpx  # noqa: F401  # pyright: ignore[reportUnusedImport]: wanted next, on the loop

        from runner.execution.guarded_network import GuardedNetwork, system_resolver

        trust = ssl.create_default_context()  # the machine's own authorities
        trust.load_verify_locations(certifi.where())  # and the public ones, for images that come with none
        return httpcore.AsyncConnectionPool(
            ssl_context=trust,
            max_connections=MAX_CONCURRENT,
            max_keepalive_connections=MAX_CONCURRENT_PER_CALL,
            keepalive_expiry=5.0,  # seconds: the next image of the same call, not the next caller
            network_backend=GuardedNetwork(
                allow_private=self._allow_private, resolver=self._resolver or system_resolver
            ),
        )


class _Budget:
    """What the inputs of one call may still bring."""

    def __init__(self, total: int) -> None:
        self.total = total
        self._left = total

    def take(self, size: int) -> bool:
        self._left -= size
        return self._left >= 0


def _parse(url: str, *, relative_to: httpx.URL | None = None) -> httpx.URL:
    import httpx

    invalid = "it is not a valid URL" if relative_to is None else "it redirects to no valid URL"
    try:
        parsed = httpx.URL(url) if relative_to is None else relative_to.join(url)
    except (httpx.InvalidURL, UnicodeError) as exc:
        raise _Failure(invalid) from exc
    if parsed.port is not None and not 0 < parsed.port < 1 << 16:
        raise _Failure(invalid)
    if parsed.scheme not in ("http", "https"):
        raise _Failure("it redirects to something other than http and https")
    if not parsed.raw_host:  # `host` would be decoded, which fails for names that are in use, and for nonsense
        raise _Failure("there is no host in it")
    if parsed.userinfo:
        raise _Failure("it holds a user name or password, and credentials are never sent")
    return parsed


def _header(response: httpcore.Response, name: bytes) -> str:
    return next((value.decode("latin-1") for key, value in response.headers if key.lower() == name), "")


def _fail(reason: str) -> str:
    raise _Failure(reason)


def _failed(url: str, reason: str, path: str) -> FetchFailed:
    return FetchFailed(f"{_shown(url)} could not be fetched: {reason}", path=path)


def _shown(url: str) -> str:
    """Scheme and host of a URL, at most 200 characters; nothing that could be a secret."""
    scheme, colon, rest = url.partition(":")
    if not colon or not scheme.isalnum() or len(scheme) > 20:
        return "the URL"
    if not rest.startswith("//"):
        return f"the {scheme}: URL"
    authority = rest[2:].replace("\\", "/").replace("?", "/").replace("#", "/").split("/", 1)[0]
    return f"{scheme}://{authority.rpartition('@')[2][:200]}"
