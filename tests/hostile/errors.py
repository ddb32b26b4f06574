"""Errors as providers word them: OpenAI's JSON, the request's key included, and a proxy's HTML."""

import json
from typing import Any

from tests.hostile.stream import Options, Reply, Request, Step


def error_body(message: str, kind: str, code: str | None) -> dict[str, Any]:
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


def error(request: Request, status: int, options: Options) -> Reply:
    """An error as OpenAI words it; 502 as a proxy does, in HTML."""
    if status == 502:
        page = b"<html><head><title>502 Bad Gateway</title></head><body><center>nginx</center></body></html>"
        return Reply([Step(options.first, page)], status=502, content_type="text/html", head_at=options.first)
    texts = {
        401: (
            f"Incorrect API key provided: {request.api_key}. Find yours in your account.",
            "invalid_request_error",
            "invalid_api_key",
        ),
        403: ("Your project does not have access to this model.", "invalid_request_error", "model_not_allowed"),
        404: (f"The model `{request.model}` does not exist.", "invalid_request_error", "model_not_found"),
        408: ("Request timed out.", "timeout", None),
        429: ("Rate limit reached for requests per minute. Limit 60, used 60.", "requests", "rate_limit_exceeded"),
        503: ("The engine is currently overloaded, please try again later.", "server_error", "overloaded"),
    }
    message, kind, code = texts.get(status, ("The server had an error.", "server_error", None))
    headers = (("Retry-After", f"{options.after:g}"),) if status == 429 and options.after else ()
    return json_error(status, error_body(message, kind, code), headers, options.first)


def json_error(status: int, body: dict[str, Any], headers: tuple[tuple[str, str], ...] = (), at: float = 0.0) -> Reply:
    steps = [Step(at, json.dumps(body).encode())]
    return Reply(steps, status=status, content_type="application/json", headers=headers, head_at=at)


def overflow(request: Request, options: Options) -> Reply:
    message = (
        "This model's maximum context length is 8192 tokens. However, your messages resulted in "
        f"{request.prompt_tokens} tokens. Please reduce the length of the messages."
    )
    return json_error(400, error_body(message, "invalid_request_error", "context_length_exceeded"))


def refused(request: Request, options: Options) -> Reply:
    message = "Your request was rejected as a result of our safety system."
    return json_error(400, error_body(message, "invalid_request_error", "content_policy_violation"))
