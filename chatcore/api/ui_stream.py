"""A turn's words as the AI SDK's UI message stream (v1): pure, from deltas and the stored reply to chunks.

The protocol is that of npm's `ai`: chunks of JSON in server-sent events, `[DONE]` last.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from chatcore.api.conversation_schemas import dollars
from chatcore.conversations import Message
from chatcore.gateway import Delta

Chunk = dict[str, Any]

HEADERS: Final = {
    "x-vercel-ai-ui-message-stream": "v1",
    "Cache-Control": "no-cache",
    "X-Accel-Buffering": "no",  # or a proxy would keep words until there are many
}
DONE: Final = b"data: [DONE]\n\n"
PING: Final = b": ping\n\n"
"""A comment, for proxies that close what is silent."""
SILENCE: Final = 15.0
"""Seconds until a comment is sent, and until an answer in OpenAI's form begins without a word."""
_MOST: Final = 16_384  # characters of one chunk, so that a reader that lags costs no more at a time
_BLOCKS: Final = {"text": "text", "reasoning": "reasoning"}
_DATA_PARTS: Final = frozenset({"chart", "table", "component", "code", "media", "file", "citations"})
# From a provider's words to the protocol's; what stopped early for another reason has a status of its own.
_REASONS: Final = {
    "stop": "stop", "length": "length", "content_filter": "content-filter", "tool_calls": "tool-calls",
}  # fmt: skip


def frames(chunks: Sequence[Chunk]) -> bytes:
    """The chunks as server-sent events."""
    return b"".join(b"data: " + json.dumps(one, separators=(",", ":")).encode() + b"\n\n" for one in chunks)


class Encoder:
    """One reply as it is said. Blocks of text and reasoning are opened and closed as the words change their kind."""

    def __init__(self, message_id: str, metadata: Mapping[str, Any]) -> None:
        """`metadata`: what is known of the reply before its first word."""
        self._message_id = message_id
        self._metadata = dict(metadata)
        self._open: str | None = None  # the kind of the block that is open
        self._blocks = 0
        self._called: set[str] = set()
        self._ran = False  # tools did, so what the model says next is a step of its own

    def start(self) -> list[Chunk]:
        """The beginning, before the first word."""
        begun = {"type": "start", "messageId": self._message_id, "messageMetadata": self._metadata}
        return [begun, {"type": "start-step"}]

    def words(self, batch: Sequence[Delta]) -> list[Chunk]:
        """What came since."""
        return [chunk for delta in batch for chunk in self._delta(delta)]

    def end(self, message: Message) -> list[Chunk]:
        """The end, by the reply as it is stored."""
        metadata = self._metadata | metadata_of(message)
        data = [part for part in message.parts if part.get("type") in _DATA_PARTS]
        structured: list[Chunk] = [
            {"type": f"data-{part['type']}", "id": f"{message.id}-{number}", "data": dict(part)}
            for number, part in enumerate(data)
        ]
        return [*self._close(), *structured, {"type": "finish-step"}, *_ending(message, metadata)]

    def broken(self, sentence: str) -> list[Chunk]:
        """The end where nothing more can be read."""
        return [*self._close(), {"type": "error", "errorText": sentence}, {"type": "finish", "finishReason": "error"}]

    def _delta(self, delta: Delta) -> Iterator[Chunk]:
        if delta.kind == "tool_result":
            yield from self._close()
            yield from self._tool_result(json.loads(delta.text))
            return
        if self._ran:
            self._ran = False
            yield from [*self._close(), {"type": "finish-step"}, {"type": "start-step"}]
        if delta.kind == "tool_call":
            yield from self._close()
            yield from self._tool_call(json.loads(delta.text))
        elif kind := _BLOCKS.get(delta.kind):
            if self._open != kind:
                yield from self._close()
                self._open, self._blocks = kind, self._blocks + 1
                yield {"type": f"{kind}-start", "id": self._id()}
            for at in range(0, len(delta.text), _MOST):
                yield {"type": f"{kind}-delta", "id": self._id(), "delta": delta.text[at : at + _MOST]}

    def _tool_result(self, said: Mapping[str, Any]) -> Iterator[Chunk]:
        """What came of a call that Chatcore runs; or that it waits for the person's word, which is told to
        `POST /api/chat/{id}/tools/{call_id}`."""
        match said["state"]:
            case "asking":
                yield {"type": "tool-approval-request", "approvalId": said["id"], "toolCallId": said["id"]}
            case "pending":
                yield {"type": "tool-approval-response", "approvalId": said["id"], "approved": True}
            case "success":
                self._ran = True
                yield {"type": "tool-output-available", **_executed(said["id"]), "output": said["result"]}
            case "error":
                self._ran = True
                yield {"type": "tool-output-error", **_executed(said["id"]), "errorText": said["result"]}

    def _tool_call(self, call: Mapping[str, Any]) -> Iterator[Chunk]:
        call_id = call.get("id") or f"call-{len(self._called) + 1}"
        self._called.add(call_id)
        about = {"toolCallId": call_id, "toolName": call.get("name") or "unknown", "dynamic": True}
        if "round" in call:
            about["providerExecuted"] = True
        yield {"type": "tool-input-start", **about}
        said = call.get("arguments") or "{}"
        try:
            yield {"type": "tool-input-available", **about, "input": json.loads(said)}
        except ValueError:
            sentence = "The model's arguments for this tool are no JSON."
            yield {"type": "tool-input-error", **about, "input": said, "errorText": sentence}

    def _close(self) -> list[Chunk]:
        if self._open is None:
            return []
        closed = [{"type": f"{self._open}-end", "id": self._id()}]
        self._open = None
        return closed

    def _id(self) -> str:
        return f"{self._open}-{self._blocks}"


def _executed(call_id: str) -> Chunk:
    return {"toolCallId": call_id, "providerExecuted": True, "dynamic": True}


def metadata_of(message: Message) -> dict[str, Any]:
    """What is known of a reply once it has ended: who answered, tokens, cost, times."""
    tokens = (message.prompt_tokens, message.completion_tokens)
    found = {
        "messageId": message.id, "turnId": message.turn_id, "traceId": message.meta.get("trace_id"),
        "model": message.model, "provider": message.provider, "modelUsed": f"{message.provider}/{message.model}",
        "promptTokens": message.prompt_tokens, "completionTokens": message.completion_tokens,
        "totalTokens": None if None in tokens else sum(one or 0 for one in tokens),
        "costUsd": dollars(message.cost_nano_usd), "ttftMs": message.ttft_ms, "latencyMs": message.latency_ms,
        "finishReason": message.finish_reason, "cacheHit": message.meta.get("outcome") == "cached",
        "sessionId": message.meta.get("session_id"), "stepId": message.meta.get("step_id"),
        "estimated": message.meta.get("usage_source") == "estimated", "status": message.status,
    }  # fmt: skip
    return {name: value for name, value in found.items() if value is not None}


def _ending(message: Message, metadata: dict[str, Any]) -> list[Chunk]:
    if message.status in ("stopped", "interrupted"):
        return [{"type": "message-metadata", "messageMetadata": metadata}, {"type": "abort", "reason": message.status}]
    if message.status == "failed":
        error = next((part for part in message.parts if part.get("type") == "error"), {})
        sentence = str(error.get("message") or "The reply failed. Try again.")
        return [
            {"type": "message-metadata", "messageMetadata": metadata},
            {"type": "error", "errorText": sentence},
            {"type": "finish", "finishReason": "error", "messageMetadata": metadata},
        ]
    reason = _REASONS.get(message.finish_reason or "stop", "other")
    return [{"type": "finish", "finishReason": reason, "messageMetadata": metadata}]
