"""From a begun turn to the request that is sent, and from the words that came to the message that is kept."""

import asyncio
import json
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from sqlalchemy.orm import Session

from chatcore.conversations import Message, part_blocks, store
from chatcore.db import Database
from chatcore.errors import ChatcoreError, ProviderError
from chatcore.gateway import AttemptResult, CompletionRequest, Delta, Model, Usage
from chatcore.turns import attached
from chatcore.turns.live import LiveTurn
from chatcore.turns.values import Begun, TurnEnd, TurnStatus

CONTINUE_PROMPT: Final = (
    "Continue exactly where your last message stopped. Do not repeat what you already wrote and do not comment on this."
)
_MAX_CONTEXT_MESSAGES: Final = 10_000


async def request(db: Database, begun: Begun, data_dir: Path) -> CompletionRequest:
    """The begun turn's request with its messages: system prompt, then the branch up to the question.

    `data_dir`: below it lie the attachments. They are read after the transaction, and not on the loop.
    """

    def work(session: Session) -> tuple[tuple[Message, ...], attached.Reader]:
        window = store.branch(session, begun.conversation_id, begun.context_head, _MAX_CONTEXT_MESSAGES)
        return window.messages, attached.reader(session, begun.conversation_id, window.messages, data_dir)

    branch, read = await db.aread(work)
    prompt, model, continuing = begun.system_prompt, begun.request.model, begun.continuing
    if read.has_files:
        sent = await asyncio.to_thread(messages, prompt, branch, model, read, continuing=continuing)
    else:
        sent = messages(prompt, branch, model, read, continuing=continuing)
    # To continue means nothing without the question and the reply that are to be gone on with.
    return replace(begun.request, messages=sent, keep_last=3 if continuing else 1)


def messages(
    system_prompt: str,
    branch: Sequence[Message],
    model: Model | None = None,
    read: attached.Reader | None = None,
    *,
    continuing: bool = False,
) -> list[dict[str, Any]]:
    """The branch in OpenAI's form. A message with nothing in it is left out, and so are the system and tool messages
    that an import may have brought: they were for another product's request.

    `model`, `read`: without them attachments are only named. Reads files: not for a loop.
    """
    sent: list[dict[str, Any]] = [{"role": "user", "content": CONTINUE_PROMPT}] if continuing else []
    # From the last to the first: where there are more attachments than fit into a request, the newest go with it.
    sent += [
        {"role": message.role, "content": found}
        for message in reversed(branch)
        if message.role in ("user", "assistant") and (found := attached.content(message, model, read))
    ]
    if system_prompt:
        sent.append({"role": "system", "content": system_prompt})
    return sent[::-1]


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
        """Reasoning, tool calls, text with its charts and tables, error. Empty where all is text: `content` has it."""
        parts: list[dict[str, Any]] = []
        if reasoning := self._live.text("reasoning"):
            if self._thought_ms is None and self._thinking_since is not None:
                self._thought_ms = round((time.monotonic() - self._thinking_since) * 1000)
            parts.append({"type": "reasoning", "text": reasoning, "duration_ms": self._thought_ms})
        calls = [json.loads(delta.text) for delta in self._live.deltas if delta.kind == "tool_call"]
        parts.extend({"type": "tool_call", "state": "pending", **call} for call in calls)
        parts.extend(part_blocks.split(self._live.text()))
        if result.error is not None:
            parts.append(error_part(result.error, self._begun.request.model.provider))
        return [] if all(part["type"] == "text" for part in parts) else parts


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


def can_continue(message: Message) -> bool:
    """Whether a reply ended before it was complete, in a way that can be gone on with."""
    return message.status in ("stopped", "interrupted") or (
        bool(message.content) and (message.finish_reason == "length" or message.meta.get("outcome") == "truncated")
    )
