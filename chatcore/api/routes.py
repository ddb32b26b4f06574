"""All HTTP routes of ours, in one list for `st.App(routes=…)`."""

from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from chatcore.api import audit, session
from chatcore.api.app import guarded
from chatcore.api.attachments import attachment
from chatcore.api.health import health, ready
from chatcore.api.metrics import metrics
from chatcore.api.parts import Parts
from chatcore.api.problems import problem
from chatcore.api.usage import calls


def routes(core: Parts, base_path: str = "") -> list[Route]:
    """`base_path`: Streamlit's `server.baseUrlPath`; every route stands under it."""
    base = f"/{base_path.strip('/')}" if base_path.strip("/") else ""
    api = guarded(core, base, _plain(core, base))
    return [
        Route(f"{base}/session/enter", session.enter(core, base), methods=["GET"]),
        Route(f"{base}/session/leave", session.leave(core, base), methods=["GET", "POST"]),
        Route(f"{base}/metrics", metrics(core), methods=["GET"]),
        _noted(f"{base}/api/audit/log.csv", audit.log(core)),
        *(_noted(f"{base}/api/usage/calls.{kind}", calls(core, kind)) for kind in ("csv", "parquet")),
        # An application as endpoint gets every method, and the whole path.
        Route(f"{base}/api/{{path:path}}", api),
        Route(f"{base}/v1/{{path:path}}", api),
    ]


def _plain(core: Parts, base: str) -> list[Route]:
    """Routes that are no part of the description."""
    return [
        Route(f"{base}/api/health", health, methods=["GET"]),
        Route(f"{base}/api/ready", ready(core), methods=["GET"]),
        Route(f"{base}/api/attachments/{{id}}", attachment(core), methods=["GET"]),
    ]


def _noted(path: str, endpoint: Callable[[Request], Awaitable[Response]]) -> Route:
    """A route whose use is noted: without the HEAD that comes with GET, as it would be noted and hand out nothing.

    It refuses every other method itself, or the application behind it would.
    """

    async def only_get(request: Request) -> Response:
        if request.method != "GET":
            return problem(405, "method_not_allowed", "This address does not take that method.", {"Allow": "GET"})
        return await endpoint(request)

    route = Route(path, only_get)
    route.methods = set()  # none is every one
    return route
