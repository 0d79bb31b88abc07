"""Which IP addresses belong to the public internet.

The standard library's `is_global` changed its answer for several ranges between patch releases of Python (gh-113171),
and takes an IPv6 address that carries a private IPv4 one for public. So the ranges are written out here, from the
IANA special-purpose registries. Knows nothing of names and sockets.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

NOT_PUBLIC_V4 = tuple(
    IPv4Network(text)
    for text in (
        "0.0.0.0/8",  # this network
        "10.0.0.0/8",
        "100.64.0.0/10",  # carrier-grade NAT; some clouds keep their metadata service here
        "127.0.0.0/8",
        "169.254.0.0/16",  # link-local, and the metadata service of most clouds
        "172.16.0.0/12",
        "192.0.0.0/24",  # protocol assignments
        "192.0.2.0/24",  # documentation
        "192.88.99.0/24",  # 6to4 relays, withdrawn
        "192.168.0.0/16",
        "198.18.0.0/15",  # benchmarks
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, and broadcast
    )
)

GLOBAL_UNICAST_V6 = IPv6Network("2000::/3")
"""Everything else of IPv6 is loopback, link-local, unique local, multicast, or not assigned."""

NOT_PUBLIC_V6 = tuple(
    IPv6Network(text)
    for text in (
        "2001::/23",  # protocol assignments, Teredo among them
        "2001:db8::/32",  # documentation
        "3fff::/20",
    )
)

NAT64 = IPv6Network("64:ff9b::/96")
"""How a host with IPv6 only sees IPv4 servers: the last four bytes are the address that is reached."""


def is_public(address: str) -> bool:
    """Whether connecting to `address`, as a resolver returns it, stays on the public internet.

    An IPv6 address that carries an IPv4 one (mapped, NAT64, 6to4) is judged by what it carries.
    """
    try:
        parsed = ip_address(address)
    except ValueError:
        return False
    return _public_v4(parsed) if isinstance(parsed, IPv4Address) else _public_v6(parsed)


def _public_v4(address: IPv4Address) -> bool:
    return not any(address in network for network in NOT_PUBLIC_V4)


def _public_v6(address: IPv6Address) -> bool:
    if address.scope_id is not None:  # "%eth0": meaningful on one link only
        return False
    carried = address.ipv4_mapped or address.sixtofour
    if carried is None and address in NAT64:
        carried = IPv4Address(int(address) & 0xFFFF_FFFF)
    if carried is not None:
        return _public_v4(carried)
    return address in GLOBAL_UNICAST_V6 and not any(address in network for network in NOT_PUBLIC_V6)
