from __future__ import annotations

import asyncio
import base64
import socket
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from runner.errors import FetchFailed
from runner.execution import fetch as fetch_module
from runner.execution.fetch import Fetcher
from runner.limits import FetchLimits
from runner.types import Image, Text
from runner.wire.walk import Unresolved
from tests.execution.web import PICTURE, Web, running_web

LIMITS = FetchLimits(timeout=5.0, max_bytes=100_000, max_redirects=3)


def run(test: Callable[[Web, Fetcher], Awaitable[None]], limits: FetchLimits = LIMITS, **options: Any) -> None:
    """Run a test with a web server and a fetcher that may reach it, unless told otherwise."""

    async def main() -> None:
        async with running_web() as web:
            fetcher = Fetcher(limits, **{"allow_private": True, **options})
            try:
                await test(web, fetcher)
            finally:
                await fetcher.aclose()

    asyncio.run(main())


def failing(url: str, match: str, limits: FetchLimits = LIMITS, **options: Any) -> None:
    """Fetch `url` ("{}" stands for the server) and expect this failure."""

    async def test(web: Web, fetcher: Fetcher) -> None:
        with pytest.raises(FetchFailed, match=match):
            await fetcher.fetch(url.replace("{}", f"127.0.0.1:{web.port}"))

    run(test, limits, **options)


def resolver(*answers: list[str]) -> Callable[[str, int], Awaitable[list[str]]]:
    """A resolver that gives one answer after the other and stays with the last."""
    left = list(answers)

    async def resolve(host: str, port: int) -> list[str]:
        return left.pop(0) if len(left) > 1 else left[0]

    return resolve


# What comes back


def test_a_page_is_fetched_and_nothing_of_ours_is_told():
    async def test(web: Web, fetcher: Fetcher) -> None:
        assert await fetcher.fetch(web.url("/picture?size=1#top")) == PICTURE
        head = web.requests[0].decode().lower()
        assert head.startswith("get /picture?size=1 http/1.1\r\n")
        assert f"host: 127.0.0.1:{web.port}\r\n" in head
        assert "accept-encoding: identity\r\n" in head
        assert "cookie" not in head
        assert "authorization" not in head

    run(test)


def test_what_fetching_takes_is_made_once_and_beside_the_loop(monkeypatch):
    makers: list[threading.Thread] = []
    make = Fetcher._make_pool

    def noted(fetcher: Fetcher) -> Any:
        makers.append(threading.current_thread())
        return make(fetcher)

    async def test(web: Web, fetcher: Fetcher) -> None:
        await asyncio.gather(*[fetcher.fetch(web.url("/picture")) for _ in range(3)])
        assert len(makers) == 1
        assert makers[0] is not threading.current_thread()

    monkeypatch.setattr(Fetcher, "_make_pool", noted)
    run(test)


def test_proxies_and_netrc_of_the_environment_are_not_used(monkeypatch, tmp_path):
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password secret\n")
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")

    async def test(web: Web, fetcher: Fetcher) -> None:
        assert await fetcher.fetch(web.url("/picture")) == PICTURE
        assert b"uthorization" not in web.requests[0]

    run(test)


def test_connections_are_kept_for_the_next_image():
    async def test(web: Web, fetcher: Fetcher) -> None:
        for _ in range(3):
            await fetcher.fetch(web.url("/picture"))
        assert web.connections == 1

    run(test)


@pytest.mark.parametrize(
    ("url", "data"),
    [
        ("data:text/plain,a%20b", b"a b"),
        ("data:image/png;base64," + base64.b64encode(PICTURE).decode(), PICTURE),
    ],
)
def test_data_urls_hold_their_data(url, data):
    async def test(web: Web, fetcher: Fetcher) -> None:
        assert await fetcher.fetch(url) == data

    run(test, allow_private=False)


def test_a_data_url_is_held_to_the_size_too():
    failing("data:," + "x" * 100_001, "the data: URL could not be fetched: it is larger than 100000 bytes")
    failing("data:;base64,a", "the data: URL could not be fetched: it is not valid base64")


# What a URL may be


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "FILE:///etc/passwd",
        "ftp://example.com/x",
        "gopher://example.com/_x",
        "unix:///run/docker.sock",
        "/etc/passwd",
        "etc/passwd",
        "",
        "javascript:alert(1)",
        "//example.com/x",
    ],
)
def test_other_schemes_are_refused(url):
    failing(url, "could not be fetched: only http, https and data URLs are fetched")


@pytest.mark.parametrize("url", ["http://", "http:///x", "http:x", "http://?x"])
def test_a_host_is_needed(url):
    failing(url, "there is no host in it")


@pytest.mark.parametrize("url", ["http://[::1", "http://host:99999/", "http://\0/", "http://x/\r\nHost: y"])
def test_what_is_no_url_is_said_to_be_none(url):
    failing(url, "it is not a valid URL")


@pytest.mark.parametrize("host", ["xn--", "xn--i-7iq.example.invalid", "xn--a.xn--"])
def test_a_host_that_is_no_idna_name_is_looked_up_as_it_is(host):
    asked: list[str] = []

    async def unknown(host: str, port: int) -> list[str]:
        asked.append(host)
        raise OSError("no such host")

    failing(f"http://{host}/", "the host name is not known", resolver=unknown)
    assert asked == [host]  # emoji are such names, and in use


@pytest.mark.parametrize("user", ["me:secret@", "me@", ":secret@"])
def test_credentials_are_refused_and_not_told(user):
    with pytest.raises(FetchFailed, match="credentials are never sent") as caught:
        asyncio.run(Fetcher(LIMITS, allow_private=True).fetch(f"http://{user}127.0.0.1/picture"))
    assert "secret" not in str(caught.value)
    assert "me" not in str(caught.value).split("could")[0]


# Where it may go


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.1",
        "2130706433",
        "0x7f000001",
        "017700000001",
        "localhost",
        "0.0.0.0",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[::127.0.0.1]",
        "[64:ff9b::7f00:1]",
        "[2002:7f00:1::1]",
        "[fe80::1%25lo]",
        "[::]",
        "0177.0.0.1",
        "0x7f.0.0.1",
        "0x7f.1",
        "127.0.1",
        "127.0.0.1.",
        "localhost.",
        "LOCALHOST",
        "１２７.0.0.1",
        "①②⑦.⓪.⓪.①",
        "127。0。0。1",
        "%31%32%37.0.0.1",
        "8.8.8.8@127.0.0.1",
        "8.8.8.8\\@127.0.0.1",
    ],
)
def test_no_spelling_of_this_machine_is_public(host):
    async def test(web: Web, fetcher: Fetcher) -> None:
        with pytest.raises(FetchFailed, match=r"not public|not a valid URL|not known|never sent"):
            await fetcher.fetch(web.url("/picture", host=host))
        assert web.connections == 0

    run(test, allow_private=False)


@pytest.mark.parametrize(
    "addresses",
    [
        ["127.0.0.1"],
        ["169.254.169.254"],
        ["::ffff:127.0.0.1"],
        ["64:ff9b::7f00:1"],
        ["2002:7f00:1::"],
        ["8.8.8.8", "127.0.0.1"],
        ["127.0.0.1", "8.8.8.8"],
    ],
)
def test_a_name_with_any_address_that_is_not_public_is_refused(addresses):
    async def test(web: Web, fetcher: Fetcher) -> None:
        with pytest.raises(
            FetchFailed, match=r"^http://evil\.example:\d+ could not be fetched: .*not public"
        ) as caught:
            await fetcher.fetch(web.url("/picture", host="evil.example"))
        assert not any(address in str(caught.value) for address in addresses)
        assert web.connections == 0

    run(test, allow_private=False, resolver=resolver(addresses))


def test_the_address_that_was_judged_is_the_one_connected_to(monkeypatch):
    """DNS rebinding: public at the first look, loopback at any later one."""
    dialled: list[str] = []

    async def connect(self: object, host: str, port: int, **options: object) -> None:
        import httpcore

        dialled.append(host)
        raise httpcore.ConnectError("no network in tests")

    async def test(web: Web, fetcher: Fetcher) -> None:
        monkeypatch.setattr("httpcore.AnyIOBackend.connect_tcp", connect)
        with pytest.raises(FetchFailed, match="no network in tests"):
            await fetcher.fetch(web.url("/picture", host="rebind.example"))
        assert dialled == ["93.184.216.34"]
        with pytest.raises(FetchFailed, match="not public"):
            await fetcher.fetch(web.url("/picture", host="rebind.example"))
        assert dialled == ["93.184.216.34"]

    run(test, allow_private=False, resolver=resolver(["93.184.216.34"], ["127.0.0.1"]))


def test_the_next_address_is_tried_when_one_is_dead():
    async def test(web: Web, fetcher: Fetcher) -> None:
        assert await fetcher.fetch(web.url("/picture", host="two.example")) == PICTURE

    run(test, resolver=resolver(["::1", "127.0.0.1"]))


def test_an_unknown_host_is_named():
    async def unknown(host: str, port: int) -> list[str]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    failing(
        "http://nowhere.example/x",
        "http://nowhere.example could not be fetched: the host name is not known",
        resolver=unknown,
    )
    failing(f"http://{'a' * 64}.example/x", "could not be fetched")


def test_a_closed_port_is_an_error():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        failing(f"http://127.0.0.1:{taken.getsockname()[1]}/", "could not be fetched")


# Redirects


@pytest.mark.parametrize(
    "path", ["/to//picture", "/to/../picture", "/hops/2", "/to/http~//{}/picture", "/to///{}/picture"]
)
def test_redirects_are_followed(path):
    async def test(web: Web, fetcher: Fetcher) -> None:
        assert await fetcher.fetch(web.url(path.replace("{}", f"127.0.0.1:{web.port}"))) == PICTURE

    run(test)


@pytest.mark.parametrize(
    ("path", "match"),
    [
        ("/to/file~///etc/passwd", "other than http"),
        ("/to/data~,x", "other than http"),
        ("/to/http~//me~secret@127.0.0.1/", "credentials"),
        ("/to/http~//host~99999/", "redirects to no valid URL"),
        ("/nowhere", "without saying where"),
        ("/loop", "redirects more than 3 times"),
        ("/hops/3", "redirects more than 3 times"),
    ],
)
def test_redirects_that_are_not(path, match):
    failing("http://{}" + path, match)


def test_a_redirect_goes_through_the_same_door(monkeypatch):
    """A public host (played by the server here) redirects to the inside."""
    from runner.execution import guarded_network

    async def test(web: Web, fetcher: Fetcher) -> None:
        judged: list[str] = []

        def is_public(address: str) -> bool:
            judged.append(address)
            return len(judged) == 1

        monkeypatch.setattr(guarded_network, "is_public", is_public)
        with pytest.raises(FetchFailed, match="not public"):
            await fetcher.fetch(web.url(f"/to/http~//localhost~{web.port}/picture"))
        assert len(web.requests) == 1

    run(test, allow_private=False)


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "2130706433", "0x7f000001", "017700000001", "[~~1]", "[~~ffff~7f00~1]", "[64~ff9b~~7f00~1]"]
)
def test_a_redirect_to_the_inside_is_refused_however_it_is_spelt(host, monkeypatch):
    """Only the first connection may be made; it stands for a public host that redirects."""
    from runner.execution import guarded_network

    async def test(web: Web, fetcher: Fetcher) -> None:
        real, judged = guarded_network.is_public, []

        def is_public(address: str) -> bool:
            judged.append(address)
            return len(judged) == 1 or real(address)

        monkeypatch.setattr(guarded_network, "is_public", is_public)
        with pytest.raises(FetchFailed, match=r"not public|not known"):
            await fetcher.fetch(web.url(f"/to/http~//{host}~{web.port}/picture"))
        assert len(web.requests) == 1

    run(test, allow_private=False)


def test_no_redirects_may_be_allowed():
    failing("http://{}/hops/0", "redirects more than 0 times", FetchLimits(max_redirects=0))


# Size, time and other people's servers


@pytest.mark.parametrize("page", ["lying", "endless"])
def test_what_is_too_large_is_cut_off(page):
    failing("http://{}/" + page, "it is larger than 100000 bytes")


def test_the_size_itself_is_not_too_large():
    async def test(web: Web, fetcher: Fetcher) -> None:
        assert await fetcher.fetch(web.url("/picture")) == PICTURE

    run(test, FetchLimits(max_bytes=len(PICTURE)))
    failing("http://{}/picture", "larger than", FetchLimits(max_bytes=len(PICTURE) - 1))


def test_headers_that_never_end_are_an_error():
    failing("http://{}/headers", "could not be fetched")


@pytest.mark.parametrize("page", ["never", "drip", "continue"])
def test_what_takes_too_long_is_given_up(page):
    failing("http://{}/" + page, "it took longer than 0.2 s", FetchLimits(timeout=0.2))


def test_looking_up_the_name_counts_as_well():
    async def slow(host: str, port: int) -> list[str]:
        await asyncio.Event().wait()
        return []

    failing("http://slow.example/", "it took longer than 0.1 s", FetchLimits(timeout=0.1), resolver=slow)


def test_compression_is_refused():
    failing("http://{}/gzip", "compressed.*gzip")


@pytest.mark.parametrize(
    ("page", "match"),
    [
        ("status/404", "answered with status 404"),
        ("status/500", "500"),
        ("status/204", "204"),
        ("short", "127.0.0.1"),
        ("garbage", "127.0.0.1"),
    ],
)
def test_an_answer_that_is_none(page, match):
    failing("http://{}/" + page, match)


def test_the_error_tells_scheme_and_host_and_no_secret():
    async def test(web: Web, fetcher: Fetcher) -> None:
        with pytest.raises(FetchFailed) as caught:
            await fetcher.fetch(web.url("/status/403?X-Signature=secret#part"), path="images[3]")
        assert str(caught.value) == (
            f"images[3]: http://127.0.0.1:{web.port} could not be fetched: the host answered with status 403"
        )

    run(test)


# Many at once, and leaving


def test_cancelling_closes_the_connection():
    async def test(web: Web, fetcher: Fetcher) -> None:
        task = asyncio.create_task(fetcher.fetch(web.url("/endless")))
        await web.until(lambda: bool(web.requests))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await web.closed.wait()
        assert await fetcher.fetch(web.url("/picture")) == PICTURE

    run(test, FetchLimits(max_bytes=1 << 40))


def test_a_worker_fetches_so_many_at_once_and_no_more(monkeypatch):
    monkeypatch.setattr(fetch_module, "MAX_CONCURRENT", 3)

    async def test(web: Web, fetcher: Fetcher) -> None:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(fetcher.fetch(web.url("/gate"))) for _ in range(10)]
            await web.until(lambda: web.at_once == 3)
            web.gate.set()
        assert web.most_at_once == 3
        assert {task.result() for task in tasks} == {b"open"}

    run(test)


def test_media_get_what_came():
    async def test(web: Web, fetcher: Fetcher) -> None:
        image, text, inline = Image(url=web.url("/picture")), Text(url=web.url("/text")), Text(url="data:,hi")
        items = [Unresolved("image", image), Unresolved("texts[0]", text), Unresolved("texts[1]", inline)]
        await fetcher.resolve(items)
        assert image.bytes == PICTURE
        assert text.text == "naïve café"
        assert inline.text == "hi"

    run(test)


def test_nothing_to_resolve_is_nothing_to_do():
    run(lambda web, fetcher: fetcher.resolve([]))


def test_text_has_to_be_text():
    async def test(web: Web, fetcher: Fetcher) -> None:
        with pytest.raises(FetchFailed, match="not UTF-8") as caught:
            await fetcher.resolve([Unresolved("prompt", Text(url=web.url("/latin")))])
        assert caught.value.path == "prompt"

    run(test)


def test_one_failure_ends_the_rest_of_the_call():
    async def test(web: Web, fetcher: Fetcher) -> None:
        waiting = Unresolved("images[0]", Image(url=web.url("/endless")))
        broken = Unresolved("images[1].image", Image(url=web.url("/status/404")))
        with pytest.raises(FetchFailed, match="404") as caught:
            await fetcher.resolve([waiting, broken])
        assert caught.value.path == "images[1].image"
        await web.closed.wait()

    run(test, FetchLimits(max_bytes=1 << 40))


def test_one_call_leaves_room_for_others():
    async def test(web: Web, fetcher: Fetcher) -> None:
        images = [Unresolved(f"images[{n}]", Image(url=web.url("/gate"))) for n in range(20)]
        async with asyncio.TaskGroup() as group:
            group.create_task(fetcher.resolve(images))
            await web.until(lambda: web.at_once == fetch_module.MAX_CONCURRENT_PER_CALL)
            web.gate.set()
        assert web.most_at_once == fetch_module.MAX_CONCURRENT_PER_CALL
        assert all(item.media.bytes == b"open" for item in images)

    run(test)


def test_one_call_may_bring_so_much_and_no_more():
    async def test(web: Web, fetcher: Fetcher) -> None:
        fits = [Unresolved(f"images[{n}]", Image(url=web.url("/picture"))) for n in range(4)]
        await fetcher.resolve(fits)
        with pytest.raises(FetchFailed, match="bytes together"):
            await fetcher.resolve([*fits, Unresolved("last", Image(url="data:,x"))])

    run(test, FetchLimits(max_bytes=len(PICTURE)))


def test_a_call_with_too_many_urls_knocks_nowhere():
    async def test(web: Web, fetcher: Fetcher) -> None:
        item = Unresolved("images[0]", Image(url=web.url("/picture")))
        with pytest.raises(FetchFailed, match="1025 inputs are given by URL, and a call may have 1024"):
            await fetcher.resolve([item] * 1025)
        assert web.connections == 0

    run(test)
