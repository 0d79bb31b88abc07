"""Reading certificates, and reading them again."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from runner.config import Tls
from runner.errors import ConfigError
from runner.server.certificates import Certificates
from tests.authority import Authority, Signed


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def first(authority: Authority) -> Signed:
    return authority.sign("first")


@pytest.fixture(scope="module")
def second(authority: Authority) -> Signed:
    return authority.sign("second")


class Clock:
    now = 10.0

    def __call__(self) -> float:
        return self.now


class Served:
    """A certificate that is being served, and replaced."""

    def __init__(self, directory: Path, signed: Signed, ca: Path | None = None) -> None:
        self.files = Signed(directory / "tls.crt", directory / "tls.key")
        self.put(signed)
        self.clock = Clock()
        tls = Tls(certificate=self.files.certificate, key=self.files.key, client_ca=ca)
        self.certificates = Certificates(tls, self.clock)

    def put(self, signed: Signed) -> None:
        for source, target in zip(signed, self.files, strict=True):
            target.write_bytes(source.read_bytes())


def test_what_the_files_hold(tmp_path: Path, authority: Authority, first: Signed) -> None:
    under_test = Served(tmp_path, first, authority.ca).certificates
    assert under_test.pem == (first.certificate.read_bytes(), first.key.read_bytes(), authority.ca.read_bytes())
    assert under_test.of_clients
    plain = Served(tmp_path, first).certificates
    assert plain.pem.client_ca is None
    assert not plain.of_clients


def test_a_renewed_certificate_is_read_once_a_second_at_most(tmp_path: Path, first: Signed, second: Signed) -> None:
    served = Served(tmp_path, first)
    served.put(second)
    assert served.certificates.renewed() is None
    served.clock.now += 1.0
    renewed = served.certificates.renewed()
    assert renewed is not None
    assert renewed.certificate == second.certificate.read_bytes()
    served.clock.now += 1.0
    assert served.certificates.renewed() is None


def test_half_a_renewal_changes_nothing(tmp_path: Path, caplog, first: Signed, second: Signed) -> None:
    served = Served(tmp_path, first)
    served.files.certificate.write_bytes(second.certificate.read_bytes())
    served.clock.now += 1.0
    assert served.certificates.renewed() is None
    assert "the certificate stays as it was" in caplog.text
    served.files.key.write_bytes(second.key.read_bytes())
    served.clock.now += 1.0
    assert served.certificates.renewed() == (second.certificate.read_bytes(), second.key.read_bytes(), None)


def test_what_is_wrong_is_named(tmp_path: Path, authority: Authority, first: Signed, second: Signed) -> None:
    none, garbage = tmp_path / "none", tmp_path / "garbage"
    garbage.write_text("not PEM")
    for tls, message in (
        (Tls(certificate=first.certificate), "tls.key: got nothing"),
        (Tls(client_ca=authority.ca), "tls.certificate: got nothing"),
        (Tls(certificate=none, key=first.key), "none: cannot be read: No such file"),
        (Tls(certificate=first.certificate, key=second.key), "are not a certificate and its key"),
        (Tls(certificate=garbage, key=first.key), "are not a certificate and its key"),
        (Tls(certificate=first.certificate, key=first.key, client_ca=garbage), "garbage: holds no certificates"),
    ):
        with pytest.raises(ConfigError, match=message):
            Certificates(tls)


def test_an_encrypted_key_is_refused_and_nobody_is_asked(tmp_path: Path, first: Signed) -> None:
    encrypted = tmp_path / "encrypted.pem"
    command = ["openssl", "ec", "-aes256", "-passout", "pass:secret", "-in", str(first.key), "-out", str(encrypted)]
    subprocess.run(command, capture_output=True, check=True)
    with pytest.raises(ConfigError, match="the key not encrypted"):
        Certificates(Tls(certificate=first.certificate, key=encrypted))
