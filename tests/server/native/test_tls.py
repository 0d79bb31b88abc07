"""TLS on the native transport: certificates that are renewed, and clients that need one."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from pathlib import Path

import grpc
import grpc.aio
import pytest

from runner.config import Tls
from runner.server.certificates import Certificates
from runner.server.native.protocol import Patience
from runner.server.native.transport import NativeTransport
from runner.server.status import rpc_status
from tests.authority import Authority
from tests.running import on_loop
from tests.server.native.serving import Rpcs, http1

pytestmark = pytest.mark.real


class Clock:
    """Files are looked at again after a while; here, each time."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 1000.0
        return self.now


def channel(port: int, authority: Authority, key: bytes | None = None, chain: bytes | None = None) -> grpc.aio.Channel:
    credentials = grpc.ssl_channel_credentials(authority.ca.read_bytes(), key, chain)
    return grpc.aio.secure_channel(f"localhost:{port}", credentials)


async def echo(opened: grpc.aio.Channel) -> bytes:
    async with opened:
        return await opened.unary_unary("/t/Echo")(b"hello", timeout=10)


def transport(rpcs: Rpcs, patience: Patience | None = None) -> NativeTransport:
    return NativeTransport(
        rpcs.table(), max_message_bytes=1 << 20, status_of=rpc_status, http1=http1, patience=patience
    )


@on_loop
async def test_a_certificate_that_is_renewed(tmp_path: Path) -> None:
    first, second = Authority(tmp_path / "first"), Authority(tmp_path / "second")
    signed = first.sign("server")
    certificate, key = tmp_path / "tls.crt", tmp_path / "tls.key"
    certificate.write_bytes(signed.certificate.read_bytes())
    key.write_bytes(signed.key.read_bytes())
    certificates = Certificates(Tls(certificate=certificate, key=key), Clock())
    under_test = transport(Rpcs())
    port = await under_test.listen("localhost", 0, certificates)
    assert await echo(channel(port, first)) == b"hello"

    # HTTP/1.1 too, where the client asks for it; and no protocol older than TLS 1.2.
    context = ssl.create_default_context(cafile=str(first.ca))
    context.set_alpn_protocols(["http/1.1"])
    reader, writer = await asyncio.open_connection("localhost", port, ssl=context)
    writer.write(b"GET /livez HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
    assert (await reader.read()).startswith(b"HTTP/1.1 200 ")
    writer.close()
    context.set_alpn_protocols(["h2"])
    _, writer = await asyncio.open_connection("localhost", port, ssl=context)
    assert writer.get_extra_info("ssl_object").selected_alpn_protocol() == "h2"
    writer.close()

    renewed = second.sign("server")
    certificate.write_bytes(renewed.certificate.read_bytes())
    key.write_bytes(renewed.key.read_bytes())
    assert await echo(channel(port, second)) == b"hello"
    with pytest.raises(grpc.aio.AioRpcError):
        async with channel(port, first) as old:
            await old.unary_unary("/t/Echo")(b"hello", timeout=2)
    await under_test.close()


@on_loop
async def test_who_does_not_shake_hands_is_hung_up_on(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "authority")
    signed = authority.sign("server")
    certificates = Certificates(Tls(certificate=signed.certificate, key=signed.key))
    under_test = transport(Rpcs(), patience=Patience(first_bytes=0.1))
    port = await under_test.listen("localhost", 0, certificates)
    reader, writer = await asyncio.open_connection("localhost", port)
    writer.write(b"\x16\x03\x01\x02\x00\x01")  # the beginning of its greeting
    with contextlib.suppress(ConnectionError):
        await reader.read()
    writer.close()
    assert await echo(channel(port, authority)) == b"hello"
    await under_test.close()


@on_loop
async def test_clients_that_need_a_certificate(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "authority")
    signed, client = authority.sign("server"), authority.sign("client")
    certificates = Certificates(Tls(certificate=signed.certificate, key=signed.key, client_ca=authority.ca))
    under_test = transport(Rpcs())
    port = await under_test.listen("localhost", 0, certificates)
    key, chain = client.key.read_bytes(), client.certificate.read_bytes()
    assert await echo(channel(port, authority, key, chain)) == b"hello"
    with pytest.raises(grpc.aio.AioRpcError):
        async with channel(port, authority) as stranger:
            await stranger.unary_unary("/t/Echo")(b"hello", timeout=2)
    await under_test.close()
