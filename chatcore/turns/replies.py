"""From a begun turn to the request that is sent, and from the words that came to the message that is kept."""

import json
import time
from dataclasses import replace
from typing import Any, Final

from sqlalchemy.orm import Session

from chatcore.conversations import Message, store
from chatcore.errors import ChatcoreError, ProviderError
from chatcore.gateway import AttemptResult, CompletionRequest, Delta, Usage
from chatcore.turns.live import LiveTurn
from chatcore.turns.values import Begun, TurnEnd, TurnStatus

CONTINUE_PROMPT: Final = (
    "Continue exactly where your last message stopped. Do not repeat what you already wrote and do not comment on this."
)
_MAX_CONTEXT_MESSAGES: Final = 10_000


def request(session: Session, begun: Begun) -> CompletionRequest:
    """The begun turn's request with its messages: system prompt, then the branch up to the question."""
    window = store.branch(session, begun.conversation_id, begun.context_head, _MAX_CONTEXT_MESSAGES)
    sent = messages(begun.system_prompt, window.messages, continuing=begun.continuing)
    # To continue means nothing without the question and the reply that are to be gone on with.
    return replace(begun.request, messages=sent, keep_last=3 if begun.continuing else 1)


def messages(system_prompt: str, branch: tuple[Message, ...], *, continuing: bool) -> list[dict[str, Any]]:
    """The branch in OpenAI's form. A reply without words is left out."""
    sent = [{"role": "system", "content": system_prompt}] if system_prompt else []
    sent += [{"role": message.role, "content": message.content} for message in branch if message.content]
    if continuing:
        sent.append({"role": "user", "content": CONTINUE_PROMPT})
    return sent


class Reply:
    """A reply while it is said: feeds the live buffer and, at the end, makes the message's parts."""

    def __init__(self, begun: Begun, live: LiveTurn) -> None:
        self._begun = begun
        self._live = live
        self._started = time.monotonic()
        self._thinking_since: float | None = None
        self._thought_ms: int | None = None

    def take(self, batch: list[Delta]) -> None:
        """Words have come."""
        now = time.monotonic()
        for delta in batch:
            if delta.kind == "reasoning" and self._thinking_since is None:
                self._thinking_since = now
            elif delta.kind != "reasoning" and self._thinking_since is not None and self._thought_ms is None:
                self._thought_ms = round((now - self._thinking_since) * 1000)
        self._live.append(batch)

    def end(self, result: AttemptResult, trimmed: int, status: TurnStatus | None = None) -> TurnEnd:
        """The turn's end. `status` overrides what follows from the outcome."""
        if status is None:
            status = {"ok": "complete", "stopped": "stopped"}.get(result.outcome, "failed")  # type: ignore[assignment]
        assert status is not None
        meta: dict[str, Any] = {"trace_id": self._begun.request.trace_id, "outcome": result.outcome}
        meta["usage_source"] = result.usage.source
        if trimmed:
            meta["trimmed"] = trimmed
        return TurnEnd(self._begun, status, self._live.text(), self._parts(result), result, meta)

    def end_unsent(self) -> TurnEnd:
        """Stopped before anything was sent: no tokens, and the cost is known to be nothing."""
        return self.end(_nothing("stopped", None, self._begun), 0)

    def _parts(self, result: AttemptResult) -> list[dict[str, Any]]:
        """Reasoning, text, tool calls, error. Empty where there is nothing but text: `content` has it."""
        text, reasoning = self._live.text(), self._live.text("reasoning")
        parts: list[dict[str, Any]] = []
        if reasoning:
            if self._thought_ms is None and self._thinking_since is not None:
                self._thought_ms = round((time.monotonic() - self._thinking_since) * 1000)
            parts.append({"type": "reasoning", "text": reasoning, "duration_ms": self._thought_ms})
        calls = [json.loads(delta.text) for delta in self._live.deltas if delta.kind == "tool_call"]
        parts.extend({"type": "tool_call", "state": "pending", **call} for call in calls)
        if result.error is not None:
            parts.append(error_part(result.error, self._begun.request.model.provider))
        if parts and text:
            parts.append({"type": "text", "text": text})
        return sorted(parts, key=lambda part: ["reasoning", "tool_call", "text", "error"].index(part["type"]))


def error_part(error: ChatcoreError, provider: str) -> dict[str, Any]:
    """An error as a part of a message: what a person reads, and whether Retry makes sense."""
    retryable = error.retryable if isinstance(error, ProviderError) else True
    part = {"type": "error", "code": error.code, "message": str(error), "retryable": retryable, "provider": provider}
    if (retry_after := getattr(error, "retry_after", None)) is not None:
        part["retry_after"] = retry_after
    return part


def defect(begun: Begun, live: LiveTurn, error: Exception) -> TurnEnd:
    """The end of a turn that our own code broke: its words are kept, the person reads a plain sentence."""
    failure = ProviderError("Something went wrong on our side. Your question is kept; try again.")
    result = _nothing("error", failure, begun)
    return Reply(begun, live).end(result, 0, "failed")


def _nothing(outcome: Any, error: ProviderError | None, begun: Begun) -> AttemptResult:
    prices = begun.request.model.prices
    cost = 0 if prices.source != "none" else None
    return AttemptResult(outcome, error, None, Usage(), prices.source, cost, None, 0, prices.unit or {})
