"""Which address a request comes from, when proxies stand between.

X-Forwarded-For is believed only from a peer inside CHATCORE_TRUSTED_PROXIES. uvicorn has its own idea: it believes
whoever connects from 127.0.0.1 and overwrites `scope["client"]`, so the real peer is worked out first.
"""

import ipaddress
from collections.abc import Sequence
from typing import Any

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Networks = Sequence[ipaddress.IPv4Network | ipaddress.IPv6Network]

_LOOPBACK = ipaddress.ip_address("127.0.0.1")


def client_address(scope: dict[str, Any], trusted: Networks) -> str:
    """The client's address, '' where it is not known (a Unix socket)."""
    hops = forwarded_hops(scope)
    address = peer(scope, hops)
    for hop in reversed(hops):
        if address is None or not is_trusted(address, trusted):
            break
        before = _parse(hop)
        if before is None:
            break
        address = before
    return "" if address is None else str(address)


def peer(scope: dict[str, Any], hops: list[str]) -> Address | None:
    """Who really connected. A rewritten client has port 0, or the very text of a hop; then it was 127.0.0.1."""
    client = scope.get("client")
    if not client:
        return None
    host, port = client[0], client[1]
    if port == 0 or f"{host}:{port}" in hops or f"[{host}]:{port}" in hops:
        return _LOOPBACK
    return _parse(host)


def forwarded_hops(scope: dict[str, Any]) -> list[str]:
    """The entries of X-Forwarded-For, the nearest last."""
    values = [value.decode("latin-1") for name, value in scope["headers"] if name.lower() == b"x-forwarded-for"]
    return [hop.strip() for hop in ",".join(values).split(",") if hop.strip()]


def is_trusted(address: Address, trusted: Networks) -> bool:
    """Whether a named proxy has this address."""
    return any(address in network for network in trusted)


def _parse(text: str) -> Address | None:
    """An address, with or without a port. An IPv4 address inside IPv6 counts as the IPv4 one."""
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    mapped = getattr(address, "ipv4_mapped", None)
    return mapped or address
