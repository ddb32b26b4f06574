"""Whose address it is, with honest and with lying proxies."""

from ipaddress import ip_network
from typing import Any

import pytest

from chatcore.api.addresses import client_address

PROXIES = (ip_network("10.0.0.0/8"), ip_network("127.0.0.1/32"))


def scope(client: tuple[str, int] | None, *forwarded: str) -> dict[str, Any]:
    return {"client": client, "headers": [(b"x-forwarded-for", value.encode()) for value in forwarded]}


@pytest.mark.parametrize(
    ("client", "forwarded", "expected"),
    [
        (("203.0.113.5", 4000), (), "203.0.113.5"),
        (("203.0.113.5", 4000), ("198.51.100.1",), "203.0.113.5"),
        (("10.1.1.1", 4000), ("198.51.100.1",), "198.51.100.1"),
        (("10.1.1.1", 4000), ("6.6.6.6, 198.51.100.1, 10.2.2.2",), "198.51.100.1"),
        (("10.1.1.1", 4000), ("6.6.6.6", "198.51.100.1"), "198.51.100.1"),
        (("10.1.1.1", 4000), ("198.51.100.1:5555",), "198.51.100.1"),
        (("10.1.1.1", 4000), ("[2001:db8::1]:5555",), "2001:db8::1"),
        (("10.1.1.1", 4000), ("198.51.100.1, nonsense",), "10.1.1.1"),
        (("10.1.1.1", 4000), ("", " , "), "10.1.1.1"),
        (("::ffff:10.1.1.1", 4000), ("198.51.100.1",), "198.51.100.1"),
        (None, ("198.51.100.1",), ""),
    ],
)
def test_only_named_proxies_are_believed(
    client: tuple[str, int] | None, forwarded: tuple[str, ...], expected: str
) -> None:
    assert client_address(scope(client, *forwarded), PROXIES) == expected


@pytest.mark.parametrize(
    ("client", "forwarded"),
    [(("6.6.6.6", 0), "6.6.6.6"), (("6.6.6.6", 77), "6.6.6.6:77"), (("6::6", 77), "[6::6]:77")],
)
def test_what_uvicorn_believed_of_a_local_peer_is_undone_unless_it_is_named(
    client: tuple[str, int], forwarded: str
) -> None:
    assert client_address(scope(client, forwarded), ()) == "127.0.0.1"
    assert client_address(scope(client, forwarded), PROXIES) == client[0]
