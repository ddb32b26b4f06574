"""`GET /metrics`: what this process counts, for Prometheus. For who knows the token; without one, for this machine."""

import asyncio
import hmac
import ipaddress
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from chatcore import metrics as counted
from chatcore.api.addresses import forwarded_hops, peer
from chatcore.api.looks import OneLook
from chatcore.api.parts import Parts
from chatcore.errors import DatabaseError
from chatcore.gateway import Health

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

_DATABASE_WITHIN: Final = 1.0  # seconds; a scrape is told that the database is away rather than kept waiting
_FORWARDED: Final = ("x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip", "forwarded", "via")
_STATES: Final = {"closed": 0, "trial": 1, "open": 2}


def metrics(core: Parts) -> Callable[[Request], Awaitable[Response]]:
    """Prometheus's text form, or OpenMetrics where that is asked for. 404 for strangers; 401 for a wrong token."""
    look: OneLook[Mapping[str, int]] = OneLook(lambda: core.live.firing(), _DATABASE_WITHIN)
    writers = ThreadPoolExecutor(1, thread_name_prefix="metrics")  # others' may all be waiting for the database

    def written(accept: str, firing: Mapping[str, int] | None) -> tuple[bytes, str]:
        return counted.exposition(accept, _gauges(core, firing))

    async def endpoint(request: Request) -> Response:
        token = core.settings.metrics_token
        if not _is_allowed(request, token):
            return _refused(token is not None)
        firing = await _firing(look)
        accept, loop = request.headers.get("accept", ""), asyncio.get_running_loop()
        body, content_type = await loop.run_in_executor(writers, written, accept, firing)
        return Response(body, headers={"Content-Type": content_type, "Cache-Control": "no-store"})

    return endpoint


def _is_allowed(request: Request, token: str | None) -> bool:
    given = request.headers.get("authorization", "")
    if token:
        return hmac.compare_digest(given.encode(), f"Bearer {token}".encode())
    return not given and _is_local(request)


def _is_local(request: Request) -> bool:
    """Whether the request was made on this machine and to it: neither by a proxy here, nor under another name."""
    if any(name in request.headers for name in _FORWARDED):
        return False
    scope = dict(request.scope)
    who = peer(scope, forwarded_hops(scope))
    return who is not None and who.is_loopback and _names_this_machine(request.headers.get("host", ""))


def _names_this_machine(host: str) -> bool:
    try:
        name = urlsplit(f"//{host}").hostname or ""
        return name == "localhost" or ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _refused(has_token: bool) -> Response:
    if not has_token:
        message = "There is nothing here. To read metrics from another machine, set CHATCORE_METRICS_TOKEN."
        return JSONResponse({"error": {"code": "not_found", "message": message}}, 404)
    message = "Send the token of CHATCORE_METRICS_TOKEN as Authorization: Bearer …"
    body = {"error": {"code": "unauthorized", "message": message}}
    return JSONResponse(body, 401, headers={"WWW-Authenticate": "Bearer"})


async def _firing(look: OneLook[Mapping[str, int]]) -> Mapping[str, int] | None:
    """Alerts that fire, by severity; None where the database does not say."""
    try:
        return await look.result()
    except (DatabaseError, TimeoutError):
        return None


def _gauges(core: Parts, firing: Mapping[str, int] | None) -> "list[Metric]":
    gauge, health = counted.gauge, core.gateway.health()
    found = [
        gauge("turns_active", "Replies that this process is writing now.", {(): core.turns.running}),
        gauge("ready", "Whether this process takes questions.", {(): core.turns.is_running}),
        gauge("gateway_worker_ready", "Whether the gateway worker takes calls.", {(): core.gateway.warm}),
        gauge("database_up", "Whether the database answered just now.", {(): firing is not None}),
        gauge(
            "breaker_state", "Of deployments by shared keys: 0 closed, 1 being tried, 2 open.", _states(health),
            ("deployment",),
        ),
        gauge("breakers_open_own_keys", "Breakers of people's and tenants' own keys that are open.", _own(health)),
    ]  # fmt: skip
    if firing is not None:
        by_severity: dict[tuple[str, ...], float] = {
            (severity,): firing.get(severity, 0) for severity in ("critical", "warning", *firing)
        }
        found.append(gauge("alerts_firing", "Alerts of the instance that fire.", by_severity, ("severity",)))
    return found


def _states(health: Sequence[Health]) -> dict[tuple[str, ...], float]:
    return {(one.deployment,): _STATES[one.state] for one in health if one.key == "shared"}


def _own(health: Sequence[Health]) -> dict[tuple[str, ...], float]:
    return {(): Counter(one.state for one in health if one.key != "shared")["open"]}
