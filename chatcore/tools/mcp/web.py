"""A server at an address: the client that its messages go through, which looks where it really goes.

The host's name is looked up here, each address is judged, and the connection goes to that very address: what a second
look-up would say does not matter. Redirects are not followed, and no answer may be larger than a message.
"""

import asyncio
import socket
from collections.abc import AsyncIterator, Mapping
from typing import Any, Final
from urllib.parse import urlsplit

import httpx2

from chatcore.addresses import is_public
from chatcore.tools.mcp.values import MAX_MESSAGE
from chatcore.tools.values import ToolFailed

_TIMES: Final = httpx2.Timeout(30.0, read=600.0, connect=10.0)
_REFUSED: Final = "It refuses our credentials."
_PRIVATE: Final = (
    "The address of this MCP server lies inside our network. An admin can allow that in the configuration "
    "(allow_private)."
)


def checked(url: str) -> str:
    """The address, where it can be one of a server. Raises `ValueError`."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.password:
        raise ValueError("not an http or https address")
    return url


def client(headers: Mapping[str, str], *, allow_private: bool) -> httpx2.AsyncClient:
    """The client for one server."""
    transport = _Guarded(allow_private=allow_private)
    return httpx2.AsyncClient(
        headers=dict(headers), timeout=_TIMES, transport=transport, follow_redirects=False, trust_env=False
    )


class _Guarded(httpx2.AsyncBaseTransport):
    def __init__(self, *, allow_private: bool) -> None:
        self._allow_private = allow_private
        self._inner = httpx2.AsyncHTTPTransport(trust_env=False, retries=0)

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        host = request.url.host
        address = await self._address(host, request.url.port or (443 if request.url.scheme == "https" else 80))
        request.headers.setdefault("Host", request.url.netloc.decode("ascii"))
        request.extensions = {**request.extensions, "sni_hostname": host}
        request.url = request.url.copy_with(host=address)
        response = await self._inner.handle_async_request(request)
        if response.status_code in (401, 403):
            await response.aclose()
            raise ToolFailed(_REFUSED)
        if not response.headers.get("content-type", "").startswith("text/event-stream"):  # the SDK bounds its events
            response.stream = _Bounded(response.stream)
        return response

    async def _address(self, host: str, port: int) -> str:
        """An address of the host that may be gone to. Raises `ConnectError`, `ToolFailed`."""
        try:
            found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except OSError as error:
            raise httpx2.ConnectError("the host is not known") from error
        addresses = [str(one[4][0]) for one in found]
        if not self._allow_private and not all(is_public(one) for one in addresses):
            raise ToolFailed(_PRIVATE)
        return addresses[0]

    async def aclose(self) -> None:
        await self._inner.aclose()


class _Bounded(httpx2.AsyncByteStream):
    def __init__(self, inner: Any) -> None:
        self._inner = inner

    async def __aiter__(self) -> AsyncIterator[bytes]:
        left = MAX_MESSAGE
        async for piece in self._inner:
            left -= len(piece)
            if left < 0:
                raise httpx2.ReadError("the answer is larger than a message may be")
            yield piece

    async def aclose(self) -> None:
        await self._inner.aclose()
