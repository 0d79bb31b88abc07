"""TLS on a real server: who is let in, and a certificate that is renewed while it serves."""

from __future__ import annotations

import socket
import ssl
from pathlib import Path

import grpc
import pytest

from runner.cli.main import main
from runner.client import AsyncModel, Model, Unreachable
from tests.authority import Authority
from tests.official import require_sdk
from tests.real.conftest import INGRESS
from tests.running import run_on_fresh_loop

pytestmark = pytest.mark.real

MODEL_URL = "https://clarifai.com/a/b/models/c"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def signed(authority: Authority):
    return authority.sign("server")


def refused(base_url: str, **options: object) -> None:
    with Model(base_url=base_url, timeout=5, **options) as model, pytest.raises(Unreachable):
        model.pid()


def test_clients_over_tls_and_a_certificate_that_is_renewed(launch, authority, signed, tmp_path, monkeypatch, capsys):
    certificate, key = tmp_path / "tls.crt", tmp_path / "tls.key"
    certificate.write_bytes(signed.certificate.read_bytes())
    key.write_bytes(signed.key.read_bytes())
    server = launch("confiding", "--tls-certificate", str(certificate), "--tls-key", str(key))
    server.wait_ready()
    base_url, ca = f"https://{server.address}", str(authority.ca)
    with Model(base_url=base_url, root_certificates_path=ca, timeout=20) as model:
        assert model.pid() > 0
    refused(base_url)  # nobody has heard of this authority
    refused(server.base_url)  # not encrypted

    async def ask() -> int:
        async with AsyncModel(base_url=base_url, root_certificates_path=ca, timeout=20) as model:
            return await model.pid()

    assert run_on_fresh_loop(ask()) > 0
    official_works(base_url, ca, monkeypatch)
    assert main(["methods", "--url", base_url, "--root-certificates", ca]) == 0
    assert "def pid() -> int:" in capsys.readouterr().out

    newer = Authority(tmp_path / "newer")
    certificate.write_bytes(newer.sign("server").certificate.read_bytes())
    key.write_bytes((tmp_path / "newer" / "server-key.pem").read_bytes())
    trusted = ssl.create_default_context(cafile=str(newer.ca))
    processes = int(INGRESS[1]) if INGRESS else 1  # each looks for itself, and they take turns
    while not all(handshake(server.port, trusted) for _ in range(processes)):  # looked at once a second at most
        pass
    with Model(base_url=base_url, root_certificates_path=str(newer.ca), timeout=20) as model:
        assert model.pid() > 0
    refused(base_url, root_certificates_path=ca)
    assert server.terminate() == 0


def official_works(base_url: str, ca: str, monkeypatch: pytest.MonkeyPatch) -> None:
    require_sdk()
    from clarifai.client import Model as OfficialModel

    monkeypatch.setenv("CLARIFAI_ROOT_CERTIFICATES_PATH", ca)
    official = OfficialModel(url=MODEL_URL, base_url=base_url, pat="none needed", root_certificates_path=ca)
    assert official.pid() > 0


def handshake(port: int, context: ssl.SSLContext) -> bool:
    context.set_alpn_protocols(["h2"])
    try:
        with (
            socket.create_connection(("127.0.0.1", port), timeout=10) as plain,
            context.wrap_socket(plain, server_hostname="127.0.0.1"),
        ):
            return True
    except ssl.SSLCertVerificationError:
        return False


def test_clients_with_certificates(launch, authority, signed, tmp_path):
    stranger = Authority(tmp_path / "stranger").sign("client")
    known = authority.sign("client")
    flags = ("--tls-certificate", str(signed.certificate), "--tls-key", str(signed.key))
    server = launch("confiding", *flags, "--tls-client-ca", str(authority.ca))
    server.wait_ready()
    base_url, ca = f"https://{server.address}", str(authority.ca)
    refused(base_url, root_certificates_path=ca)
    refused(
        base_url,
        root_certificates_path=ca,
        client_certificate_path=str(stranger.certificate),
        client_key_path=str(stranger.key),
    )
    paths = {"client_certificate_path": str(known.certificate), "client_key_path": str(known.key)}
    with Model(base_url=base_url, root_certificates_path=ca, timeout=20, **paths) as model:
        assert model.pid() > 0
    channel_credentials = grpc.ssl_channel_credentials(authority.ca.read_bytes())
    with (
        grpc.secure_channel(server.address, channel_credentials) as channel,
        pytest.raises(grpc.RpcError) as told,
    ):
        channel.unary_unary("/clarifai.api.V2/GetModel")(b"", timeout=5)
    assert told.value.code() is grpc.StatusCode.UNAVAILABLE
    assert server.terminate() == 0


def test_files_that_do_not_fit_end_the_server_with_2(launch, signed):
    server = launch("confiding", "--tls-certificate", str(signed.certificate))
    assert server.wait(20) == 2
    assert "tls.key: got nothing" in server.stderr
    assert Path(signed.key).read_text() not in server.stderr
