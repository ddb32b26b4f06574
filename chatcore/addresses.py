"""Which addresses belong to everybody's internet, and which to a network of somebody's own."""

import ipaddress
from typing import Final

_NOT_PUBLIC: Final = tuple(
    ipaddress.ip_network(one)
    for one in (
        "::/96", "64:ff9b::/96", "64:ff9b:1::/48", "2001::/32", "2002::/16",  # another address may hide inside
        "192.0.0.0/24", "168.63.129.16/32",  # of the protocols themselves; a cloud's own services
    )
)  # fmt: skip


def is_public(address: str) -> bool:
    """Whether an IP address, as a look-up returns it, is one of the public internet. False for what is no address."""
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped is not None:
        ip = ip.ipv4_mapped
    special = ip.is_multicast or ip.is_unspecified or ip.is_reserved
    return ip.is_global and not special and not any(ip in network for network in _NOT_PUBLIC)
