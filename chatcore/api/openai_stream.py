"""Words in OpenAI's form: as chunks while they are said, or as one whole completion. Pure."""

import json
import time
from collections.abc import Iterator, Sequence
from typing import Any

from chatcore.api.completion_schemas import (
    AnsweredMessage,
    CalledFunction,
    CalledTool,
    Completion,
    CompletionChoice,
    CompletionTokenDetails,
    CompletionUsage,
    TokenDetails,
)
from chatcore.gateway import Delta, Usage
from chatcore.turns import Spent

Chunk = dict[str, Any]
_FIELDS = {"text": "content", "reasoning": "reasoning_content"}


def usage_of(spent: Spent, usage: Usage) -> CompletionUsage:
    """The tokens of a request. `usage`: of the call that answered, for the details."""
    return CompletionUsage(
        prompt_tokens=spent.prompt_tokens, completion_tokens=spent.completion_tokens,
        total_tokens=spent.prompt_tokens + spent.completion_tokens,
        prompt_tokens_details=TokenDetails(cached_tokens=usage.cached),
        completion_tokens_details=CompletionTokenDetails(reasoning_tokens=usage.reasoning),
    )  # fmt: skip


class ChunkEncoder:
    """One completion as it is said."""

    def __init__(self, completion_id: str, model: str) -> None:
        self.model = model
        self._id = completion_id
        self._created = int(time.time())
        self._calls = 0
        self._logprobs: list[Any] | None = None  # of the text that follows

    def start(self) -> Chunk:
        """The first chunk, which names the role."""
        return self._chunk({"role": "assistant", "content": ""})

    def words(self, batch: Sequence[Delta]) -> list[Chunk]:
        """What came since."""
        return [chunk for delta in batch for chunk in self._delta(delta)]

    def end(self, finish_reason: str | None) -> Chunk:
        """The last chunk but that of the usage."""
        return self._chunk({}, finish(finish_reason, called=self._calls > 0))

    def usage(self, usage: CompletionUsage) -> Chunk:
        """The chunk that says the tokens, which has no choice."""
        return self._chunk({}) | {"choices": [], "usage": usage.model_dump()}

    def _delta(self, delta: Delta) -> Iterator[Chunk]:
        if field := _FIELDS.get(delta.kind):
            chunk = self._chunk({field: delta.text})
            if delta.kind == "text" and self._logprobs is not None:
                chunk["choices"][0]["logprobs"], self._logprobs = {"content": self._logprobs, "refusal": None}, None
            yield chunk
        elif delta.kind == "logprobs":
            self._logprobs = json.loads(delta.text)
        else:
            call = called(delta, self._calls)
            yield self._chunk({"tool_calls": [{"index": self._calls, **call.model_dump()}]})
            self._calls += 1

    def _chunk(self, delta: Chunk, finish_reason: str | None = None) -> Chunk:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        return {
            "id": self._id, "object": "chat.completion.chunk", "created": self._created, "model": self.model,
            "choices": [choice],
        }  # fmt: skip


def whole(
    completion_id: str, model: str, deltas: Sequence[Delta], finish_reason: str | None, usage: CompletionUsage
) -> Completion:
    """A completion that has ended."""
    said = {kind: "".join(one.text for one in deltas if one.kind == kind) for kind in _FIELDS}
    calls = [called(one, number) for number, one in enumerate(one for one in deltas if one.kind == "tool_call")]
    logprobs = [entry for one in deltas if one.kind == "logprobs" for entry in json.loads(one.text)]
    message = AnsweredMessage(
        content=said["text"] or (None if calls else ""), reasoning_content=said["reasoning"] or None,
        tool_calls=calls or None,
    )  # fmt: skip
    choice = CompletionChoice(
        message=message, finish_reason=finish(finish_reason, called=bool(calls)),
        logprobs={"content": logprobs, "refusal": None} if logprobs else None,
    )  # fmt: skip
    return Completion(id=completion_id, created=int(time.time()), model=model, choices=[choice], usage=usage)


def called(delta: Delta, number: int) -> CalledTool:
    """A call of a tool. `number`: its place, where the provider gave it no id."""
    call = json.loads(delta.text)
    function = CalledFunction(name=call.get("name") or "", arguments=call.get("arguments") or "{}")
    return CalledTool(id=call.get("id") or f"call_{number}", function=function)


def finish(reason: str | None, *, called: bool) -> str:
    """The finish reason in OpenAI's words. Some providers end calls of tools with `stop`."""
    return "tool_calls" if called and reason in (None, "stop") else reason or "stop"
