"""`GET /api/openapi.json` and `GET /api/docs`: what the API is, from the schemas that validate."""

from functools import cache
from typing import Any, Final

from fastapi import APIRouter, FastAPI
from fastapi.openapi.utils import get_openapi
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response

from chatcore.api import docs_page
from chatcore.api.parts import Parts

_ABOUT: Final = (
    "Turns, conversations and models of a Chatcore, for programs. Send an API key of the account page as "
    "`Authorization: Bearer <key>`; a page's own requests are known by its session."
)
_PROBLEM: Final[dict[str, Any]] = {
    "type": "object",
    "title": "Problem",
    "description": "An error (RFC 9457). `code` is a word that stays; `detail` is a sentence for a person.",
    "required": ["type", "title", "status", "detail", "code"],
    "properties": {
        "type": {"type": "string"}, "title": {"type": "string"}, "status": {"type": "integer"},
        "detail": {"type": "string"}, "code": {"type": "string"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"field": {"type": "string"}, "message": {"type": "string"}},
                "required": ["field", "message"],
            },
        },
    },
}  # fmt: skip
_OPENAI_ERROR: Final[dict[str, Any]] = {
    "type": "object",
    "title": "OpenAIError",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type", "code"],
            "properties": {
                "message": {"type": "string"}, "type": {"type": "string"},
                "param": {"type": ["string", "null"]}, "code": {"type": ["string", "null"]},
            },
        }
    },
}  # fmt: skip


def router(core: Parts, app: FastAPI, base: str) -> APIRouter:
    """Both routes. They need no sign-in: they tell nothing of anybody."""
    found = APIRouter()

    @cache
    def document() -> dict[str, Any]:
        return describe(app, core.settings.public_url or base or "/")

    @found.get("/api/openapi.json", include_in_schema=False)
    def openapi(request: Request) -> Response:
        return JSONResponse(document(), headers={"Cache-Control": "public, max-age=300"})

    @found.get("/api/docs", include_in_schema=False)
    def docs(request: Request) -> Response:
        return HTMLResponse(docs_page.render(document()), headers={"Content-Security-Policy": docs_page.POLICY})

    return found


def describe(app: FastAPI, server: str) -> dict[str, Any]:
    """The OpenAPI 3.1 document of the app."""
    document = get_openapi(
        title="Chatcore", version=app.version, openapi_version="3.1.0", description=_ABOUT, routes=app.routes,
        servers=[{"url": server}],
    )  # fmt: skip
    parts = document.setdefault("components", {})
    schemas = parts.setdefault("schemas", {})
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    schemas |= {"Problem": _PROBLEM, "OpenAIError": _OPENAI_ERROR}
    parts["securitySchemes"] = {
        "key": {"type": "http", "scheme": "bearer"},
        "session": {"type": "apiKey", "in": "cookie", "name": "chatcore_session"},
    }
    document["security"] = [{"key": []}, {"session": []}]
    for path, operations in document.get("paths", {}).items():
        for operation in operations.values():
            _add_errors(operation, is_openai="/v1/" in path and "/api/" not in path)
    return document


def _add_errors(operation: dict[str, Any], *, is_openai: bool) -> None:
    """Every refusal that any operation can meet."""
    kind, name = ("application/json", "OpenAIError") if is_openai else ("application/problem+json", "Problem")
    error = {
        "description": "An error, with a sentence that says what happened and what to do.",
        "content": {kind: {"schema": {"$ref": f"#/components/schemas/{name}"}}},
    }
    answers = operation.setdefault("responses", {})
    answers.pop("422", None)
    answers |= {"4XX": error, "5XX": error}
