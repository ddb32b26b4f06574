"""What answers a request in OpenAI's form: a completion of its own, or a turn of a conversation."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

from chatcore import errors
from chatcore.accounts import Principal
from chatcore.api.headers import header
from chatcore.api.parts import Parts
from chatcore.api.ui_stream import SILENCE
from chatcore.conversations import Message
from chatcore.errors import ChatcoreError, InvalidInput, NotFound, ProviderError
from chatcore.gateway import Delta, Usage
from chatcore.ids import new_id
from chatcore.turns import Asked, Completing, CompletionAsk, Spent, Submission, TurnSettings

_WAIT: Final = 30.0  # seconds, where nobody said for how long
_KINDS: Final[tuple[type[ChatcoreError], ...]] = (
    errors.BudgetExceeded, errors.ContextTooLong, errors.BadKey, errors.RefusedContent, errors.ModelUnavailable,
    errors.ProviderDown, errors.ProviderTimeout, errors.Truncated,
)  # fmt: skip
_BROKEN_OFF: Final[dict[str, ChatcoreError]] = {
    "interrupted": errors.Draining("Chatcore was restarted in mid-reply. What was said is kept in the conversation."),
    "stopped": errors.Conflict("The reply was stopped from elsewhere. What was said is kept in the conversation."),
}
_stops: Final[set["asyncio.Future[None]"]] = set()  # stops that are being asked for: nobody else holds them


@dataclass(frozen=True)
class End:
    """How it ended. `usage`: of the call that answered; `spent`: of all of them."""

    model: str
    finish_reason: str | None
    usage: Usage
    spent: Spent


class Said(Protocol):
    """An answer while it is said. `batches` is gone through once; `end` is there after it, unless it failed."""

    id: str
    batches: AsyncIterator[list[Delta]]

    @property
    def model(self) -> str:
        """Who answers, as far as that is known."""

    @property
    def end(self) -> End | None: ...

    def headers(self) -> dict[str, str]:
        """What is known now: before the first word, hardly more than the trace."""

    async def failed(self) -> ChatcoreError | None:
        """Why it failed, once it has."""

    def cancel(self) -> None:
        """Nobody reads it any more. Does nothing after its end."""


class Stateless:
    """A completion that is stored nowhere but in the ledger."""

    def __init__(self, completing: Completing, asked: str) -> None:
        self.id = f"chatcmpl-{completing.trace_id.removeprefix('trace_')}"
        self.batches = completing.batches(SILENCE)
        self._completing = completing
        self._asked = asked

    @property
    def model(self) -> str:
        """The model whose words are said; until there are any, the one that was asked."""
        step = self._completing.step
        return step.model.name if step else self._asked

    @property
    def end(self) -> End | None:
        """Its end."""
        end = self._completing.end
        return End(end.model, end.finish_reason, end.usage, end.spent) if end else None

    def headers(self) -> dict[str, str]:
        """Trace, model and cache."""
        step, end = self._completing.step, self._completing.end
        found = {"X-Trace-Id": self._completing.trace_id}
        found["X-Gateway-Cache"] = "HIT" if end and end.cached else "MISS"
        return found | ({"X-Model-Used": header(f"{step.model.provider}/{step.model.name}")} if step else {})

    async def failed(self) -> ChatcoreError | None:
        """Why it failed."""
        end = self._completing.end
        return end.error if end else None

    def cancel(self) -> None:
        """Close the provider's connection."""
        if self._completing.end is None:
            self._completing.cancel()


class Stored:
    """A turn of a conversation. Its reader is the one who asked: when they leave, it is stopped."""

    def __init__(self, core: Parts, who: Principal, asked: Asked, model: str) -> None:
        self.id = f"chatcmpl-{asked.message_id or new_id('msg')}"
        self._core, self._who, self._asked, self._wanted = core, who, asked, model
        self._reply: Message | None = None
        self.batches = self._heard()

    @classmethod
    def asked(cls, core: Parts, who: Principal, conversation_id: str, ask: CompletionAsk) -> "Stored":
        """Ask in the conversation. Raises what `Turns.submit` raises."""
        if ask.parameters:
            names = ", ".join(f"`{name}`" for name in sorted(ask.parameters))
            raise InvalidInput(f"With `metadata.conversation_id`, {names} cannot be set.")
        last = ask.messages[-1]
        content = last.get("content")
        if last.get("role") != "user" or (isinstance(content, list) and any(one["type"] != "text" for one in content)):
            raise InvalidInput("With `metadata.conversation_id`, the last message is a person's, of text alone.")
        settings = TurnSettings(ask.temperature, ask.max_tokens, None if ask.cache else False)
        sent = Submission(ask.question, ask.model, conversation_id, settings=settings)
        return cls(core, who, core.turns.submit(who, sent), ask.model)

    @property
    def model(self) -> str:
        """Who answered; until the end, the one that was asked."""
        return (self._reply.model if self._reply else None) or self._wanted

    @property
    def end(self) -> End | None:
        """Its end."""
        reply = self._reply
        if reply is None:
            return None
        prompt, completion = reply.prompt_tokens or 0, reply.completion_tokens or 0
        spent = Spent(prompt, completion, reply.cost_nano_usd, known=True)
        return End(self.model, reply.finish_reason, Usage(prompt=prompt, completion=completion), spent)

    def headers(self) -> dict[str, str]:
        """Conversation and turn; after the end also who answered."""
        found = {"X-Conversation-Id": self._asked.conversation_id, "X-Turn-Id": self._asked.turn_id or ""}
        if self._reply is not None:
            found["X-Model-Used"] = header(f"{self._reply.provider}/{self._reply.model}")
            found["X-Trace-Id"] = str(self._reply.meta.get("trace_id", ""))
            found["X-Gateway-Cache"] = "HIT" if self._reply.meta.get("outcome") == "cached" else "MISS"
        return found

    async def failed(self) -> ChatcoreError | None:
        """Why it failed."""
        if self._reply is None or self._reply.status == "complete":
            return None
        if self._reply.status in _BROKEN_OFF:
            return _BROKEN_OFF[self._reply.status]
        part = next((part for part in self._reply.parts if part.get("type") == "error"), {})
        return _error_of(part)

    def cancel(self) -> None:
        """Stop the turn; its words stay."""
        if self._reply is None and self._asked.turn_id is not None:
            stop = asyncio.ensure_future(asyncio.to_thread(self._core.turns.stop, self._who, self._asked.turn_id))
            _stops.add(stop)
            stop.add_done_callback(_forget)

    async def _heard(self) -> AsyncIterator[list[Delta]]:
        who, asked = self._who, self._asked
        async for batch in self._core.turns.afollow(who, str(asked.turn_id), pace=lambda _: 0.0, patience=SILENCE):
            yield batch
        found = await asyncio.to_thread(
            self._core.conversations.replies, who, asked.conversation_id, [str(asked.message_id)]
        )
        if not found:
            raise NotFound("This conversation can no longer be read.")
        self._reply = found[0]


def _error_of(part: Mapping[str, Any]) -> ChatcoreError:
    """The error that a reply's part was made of."""
    code, sentence = str(part.get("code")), str(part.get("message") or "The reply failed. Try again.")
    wait = part.get("retry_after")
    if code == errors.RateLimited.code:
        return errors.RateLimited(sentence, wait)
    if code == errors.BreakerOpen.code:
        return errors.BreakerOpen(sentence, float(wait or _WAIT))
    return next((kind(sentence) for kind in _KINDS if kind.code == code), ProviderError(sentence))


def _forget(stop: "asyncio.Future[None]") -> None:
    _stops.discard(stop)
    if not stop.cancelled() and (error := stop.exception()) and not isinstance(error, ChatcoreError):
        raise error
