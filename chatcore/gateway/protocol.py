"""What the page's process and the gateway worker say to each other over a socket pair.

A frame is four bytes of length (big endian) and a JSON object. To the worker: `call`, `cancel`, `ping`. From it, each
with the call's number `id`: `started`, `trimmed`, `deltas`, and one `end`; without one, `ready` (litellm is imported,
calls are taken) and `pong`.
"""

import asyncio
import json
import struct
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, Field

DeltaKind = Literal["text", "reasoning", "tool_call", "tool_result", "logprobs", "vector"]
AttemptOutcome = Literal["ok", "stopped", "error", "timeout", "rate_limited", "truncated", "cached"]

_LENGTH: Final = struct.Struct(">I")
MAX_FRAME: Final = 64 * 2**20
MAX_TOKENS: Final = 2_000_000_000
"""The most tokens of a kind that a call can have: no model's, and what a column of the ledger holds."""
_Tokens = Annotated[int, Field(ge=0, le=MAX_TOKENS)]


class CallSpec(BaseModel):
    """One call to a model, complete: the worker knows nothing of catalogs. Times are seconds.

    Without `stream` the reply comes whole, and both timeouts together are what it may take.
    """

    target: str
    messages: list[dict[str, Any]]
    arguments: dict[str, Any]
    first_word_timeout: float
    between_words_timeout: float
    context_window: int | None = None
    stream: bool = True
    keep_last: int = 1  # how many of the last messages must be sent, whatever the window
    embed: bool = False  # the messages' contents are to become vectors


class Usage(BaseModel):
    """Tokens of a call; `source` says whether the provider counted them, we estimated them, or there are none."""

    source: Literal["provider", "estimated", "none"] = "none"
    prompt: _Tokens = 0
    cached: _Tokens = 0
    cache_write: _Tokens = 0
    completion: _Tokens = 0
    reasoning: _Tokens = 0


class Failure(BaseModel):
    """`code`: the `code` of the error class it becomes. `detail`: the provider's text, redacted, for the log."""

    code: str
    retry_after: float | None = None
    detail: str = ""


class CallEnd(BaseModel):
    """How a call ended. Times are whole milliseconds from the call's start."""

    outcome: AttemptOutcome
    failure: Failure | None = None
    finish_reason: str | None = None
    usage: Usage = Usage()
    ttft_ms: int | None = None
    latency_ms: int = 0


def encode(message: dict[str, Any]) -> bytes:
    """The frame of a message. Lone surrogates survive, as JSON escapes."""
    body = json.dumps(message, separators=(",", ":")).encode("ascii")
    return _LENGTH.pack(len(body)) + body


async def read_frame(reader: asyncio.StreamReader) -> dict[str, Any] | None:
    """The next message, None when the other side has gone or makes no sense any more."""
    try:
        (length,) = _LENGTH.unpack(await reader.readexactly(_LENGTH.size))
        if length > MAX_FRAME:
            return None
        message: dict[str, Any] = json.loads(await reader.readexactly(length))
    except (asyncio.IncompleteReadError, ConnectionError, ValueError):
        return None
    return message
