"""The HTTP API as one application: its routers, its errors, its description, and the guard in front of it."""

from collections.abc import Sequence

from fastapi import APIRouter, FastAPI
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from chatcore.api import (
    asking,
    branches,
    chat,
    chat_v2,
    choices,
    completions,
    conversations,
    deciding,
    described,
    embeddings,
    exporting,
    openai_errors,
    problems,
    rating,
    searching,
    sharing,
    usage_numbers,
)
from chatcore.api.bodies import BodyGuard
from chatcore.api.parts import Parts

_LARGE = ("/api/v1/chat", "/api/chat", "/v1/chat/completions", "/v1/embeddings")


def routers(core: Parts) -> list[APIRouter]:
    """Every part of the API, in the order in which it is described."""
    return [part.router(core) for part in (
        chat, asking, deciding, chat_v2, conversations, branches, sharing, exporting, searching, rating, choices,
        usage_numbers, completions, embeddings,
    )]  # fmt: skip


def api(core: Parts, base: str = "", plain: Sequence[Route] = ()) -> FastAPI:
    """All of `/api/…` and `/v1/…`. `base`: the path that the app is served under; `plain`: routes without a schema."""
    app = FastAPI(
        title="Chatcore", version="1", openapi_url=None, docs_url=None, redoc_url=None, redirect_slashes=False
    )
    for router in routers(core):
        app.include_router(router, prefix=base)
    app.router.routes.extend(plain)
    app.include_router(described.router(core, app, base), prefix=base)
    problems.install(app, _shape(base))
    return app


def guarded(core: Parts, base: str = "", plain: Sequence[Route] = ()) -> ASGIApp:
    """The application behind its guard."""
    shape = _shape(base)

    def refuse(request: Request, status: int, code: str, detail: str, headers: dict[str, str]) -> Response:
        return shape(request.url.path)(status, code, detail, headers)

    return BodyGuard(api(core, base, plain), lambda path: path.removeprefix(base).startswith(_LARGE), refuse)


def _shape(base: str) -> problems.Shape:
    """Which form an error has at a path."""
    return lambda path: openai_errors.answer if path.removeprefix(base).startswith("/v1/") else problems.problem
