"""All HTTP routes of ours, in one list for `st.App(routes=…)`."""

from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from chatcore.api import audit, session
from chatcore.api.attachments import attachment
from chatcore.api.health import health, ready
from chatcore.api.metrics import metrics
from chatcore.api.parts import Parts
from chatcore.api.usage import calls


def routes(core: Parts, base_path: str = "") -> list[Route]:
    """`base_path`: Streamlit's `server.baseUrlPath`; every route stands under it."""
    base = f"/{base_path.strip('/')}" if base_path.strip("/") else ""
    return [
        Route(f"{base}/session/enter", session.enter(core, base), methods=["GET"]),
        Route(f"{base}/session/leave", session.leave(core, base), methods=["GET", "POST"]),
        Route(f"{base}/api/health", health, methods=["GET"]),
        Route(f"{base}/api/ready", ready(core), methods=["GET"]),
        Route(f"{base}/metrics", metrics(core), methods=["GET"]),
        Route(f"{base}/api/attachments/{{id}}", attachment(core), methods=["GET"]),
        _noted(f"{base}/api/audit/log.csv", audit.log(core)),
        *(_noted(f"{base}/api/usage/calls.{kind}", calls(core, kind)) for kind in ("csv", "parquet")),
    ]


def _noted(path: str, endpoint: Callable[[Request], Awaitable[Response]]) -> Route:
    """A route whose use is noted: without the HEAD that comes with GET, as it would be noted and hand out nothing."""
    route = Route(path, endpoint, methods=["GET"])
    route.methods = {"GET"}
    return route
