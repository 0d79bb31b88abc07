from __future__ import annotations

import pytest

from runner.execution.public_address import GLOBAL_UNICAST_V6, NOT_PUBLIC_V4, NOT_PUBLIC_V6, is_public


@pytest.mark.parametrize(
    "address",
    [
        "8.8.8.8",
        "1.1.1.1",
        "172.15.255.255",
        "172.32.0.0",
        "192.0.1.1",
        "100.63.255.255",
        "2606:4700:4700::1111",
        "2a00:1450:4001::200e",
        "::ffff:8.8.8.8",
        "64:ff9b::808:808",
        "2002:808:808::1",
    ],
)
def test_the_internet_is_public(address):
    assert is_public(address)


@pytest.mark.parametrize(
    "address",
    [
        "0.0.0.0",
        "10.1.2.3",
        "100.64.0.1",
        "100.100.100.200",
        "127.0.0.1",
        "127.255.255.254",
        "169.254.169.254",
        "172.16.0.1",
        "172.31.255.255",
        "192.0.0.192",
        "192.0.2.1",
        "192.88.99.1",
        "192.168.1.1",
        "198.18.0.1",
        "198.51.100.1",
        "203.0.113.1",
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
    ],
)
def test_special_purposes_are_not_and_no_ipv6_address_hides_them(address):
    assert not is_public(address)
    a, b, c, d = (int(part) for part in address.split("."))
    assert not is_public(f"::ffff:{address}")
    assert not is_public(f"::{address}")
    assert not is_public(f"64:ff9b::{address}")
    assert not is_public(f"2002:{a:02x}{b:02x}:{c:02x}{d:02x}::1")


@pytest.mark.parametrize(
    "address",
    [
        "::",
        "::1",
        "64:ff9b:1::808:808",
        "100::1",
        "2001::1",
        "2001:db8::1",
        "3fff::1",
        "5f00::1",
        "fc00::1",
        "fd00:ec2::254",
        "fe80::1",
        "fe80::1%eth0",
        "2606:4700:4700::1111%eth0",
        "fec0::1",
        "ff02::1",
        "",
        "localhost",
        "127.1",
        "0x7f000001",
    ],
)
def test_neither_is_anything_else(address):
    assert not is_public(address)


@pytest.mark.parametrize("network", [*NOT_PUBLIC_V4, *NOT_PUBLIC_V6, GLOBAL_UNICAST_V6], ids=str)
def test_at_the_edges_of_every_range_what_is_public_is_global_for_python_too(network):
    """Stricter than `is_global`, never laxer."""
    first, last = int(network.network_address), int(network.broadcast_address)
    for number in (first - 1, first, first + 1, last - 1, last, last + 1):
        if 0 <= number < 2**network.max_prefixlen:
            address = type(network.network_address)(number)
            assert address.is_global or not is_public(str(address)), address
