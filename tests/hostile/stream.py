"""What a reply is made of: a timetable of bytes, and the frames as OpenAI words them."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

from tests.hostile.texts import FILLERS

Usage = dict[str, Any]
Ending = Literal["done", "cut", "reset", "end", "silence"]


@dataclass(frozen=True)
class Request:
    """One call as it came in. `earlier`: how many calls asked for the same model before."""

    id: str
    model: str
    messages: list[dict[str, Any]]
    params: dict[str, Any]
    api_key: str
    created: int
    earlier: int = 0

    @property
    def stream(self) -> bool:
        return bool(self.params.get("stream"))

    @property
    def wants_usage(self) -> bool:
        return bool((self.params.get("stream_options") or {}).get("include_usage"))

    @property
    def prompt_tokens(self) -> int:
        """Words in all messages, and 3 for each message."""
        return sum(3 + len(_text(message.get("content")).split()) for message in self.messages)


@dataclass(frozen=True)
class Step:
    """Bytes due `at` seconds after the request. `words`: how many words of the reply they hold."""

    at: float
    data: bytes
    words: int = 0
    usage: Usage | None = None


@dataclass(frozen=True)
class Reply:
    """The whole timetable. `head_at`: seconds until the headers; None: never, the call hangs."""

    steps: list[Step] = field(default_factory=list)
    ending: Ending = "done"
    status: int = 200
    content_type: str = "text/event-stream; charset=utf-8"
    headers: tuple[tuple[str, str], ...] = ()
    head_at: float | None = 0.0
    raw: bytes | None = None


@dataclass(frozen=True)
class Options:
    """The part after the name. Numbers where they are numbers."""

    n: int = 20
    rate: float = 0.0
    first: float = 0.0
    para: int = 0
    at: int = -1
    after: float = 2.0
    thoughts: int = 20
    calls: int = 1
    fails: int = 1
    status: int = 500
    how: str = ""
    head: str = "early"
    tag: str = ""  # says nothing: lets two models with the same behaviour have two names

    @property
    def turn(self) -> int:
        return self.n // 2 if self.at < 0 else self.at


def word(k: int, para: int = 0) -> str:
    """Word k of a numbered reply."""
    return f"[{k}] {FILLERS[k % len(FILLERS)]}" + ("\n\n" if para and k % para == para - 1 else " ")


@dataclass
class Stream:
    """Builds frames as OpenAI does. `eol`: what ends a frame."""

    request: Request
    options: Options
    eol: str = "\n\n"
    sent: int = 0

    def frame(self, payload: dict[str, Any]) -> bytes:
        return f"data: {json.dumps(payload, ensure_ascii=False, separators=(',', ':'))}{self.eol}".encode()

    def chunk(self, delta: dict[str, Any], finish: str | None = None, **more: Any) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": self._logprobs(delta), "finish_reason": finish}
        return self.frame(self._envelope([choice]) | more)

    def _logprobs(self, delta: dict[str, Any]) -> dict[str, Any] | None:
        said = delta.get("content")
        if not said or not self.request.params.get("logprobs"):
            return None
        token = {"token": said, "logprob": -0.25, "bytes": list(said.encode()), "top_logprobs": []}
        return {"content": [token], "refusal": None}

    def _envelope(self, choices: list[dict[str, Any]]) -> dict[str, Any]:
        payload: dict[str, Any] = {
            "id": f"chatcmpl-{self.request.id}",
            "object": "chat.completion.chunk",
            "created": self.request.created,
            "model": self.request.model,
            "choices": choices,
        }
        return payload | ({"usage": None} if self.request.wants_usage else {})

    def due(self, k: int) -> float:
        return self.options.first + (k / self.options.rate if self.options.rate else 0.0)

    def role(self) -> Step:
        at = self.options.first if self.options.head == "late" else 0.0
        return Step(at, self.chunk({"role": "assistant", "content": ""}))

    def text(self, pieces: Iterable[str], key: str = "content") -> list[Step]:
        """One step for each piece, on the timetable, counted as one word each."""
        steps = []
        for piece in pieces:
            steps.append(Step(self.due(self.sent), self.chunk({key: piece}), 1))
            self.sent += 1
        return steps

    def close(self, finish: str = "stop", usage: Usage | None = None) -> list[Step]:
        """The finish chunk, the usage chunk where it is asked for, and [DONE]."""
        at = self.due(max(self.sent - 1, 0))
        steps = [Step(at, self.chunk({}, finish))]
        if usage is not None and self.request.wants_usage:
            steps.append(Step(at, self.frame(self._envelope([]) | {"usage": usage}), usage=usage))
        return [*steps, Step(at, f"data: [DONE]{self.eol}".encode())]

    def usage(self, **details: Any) -> Usage:
        prompt = self.request.prompt_tokens
        return {
            "prompt_tokens": prompt,
            "completion_tokens": self.sent,
            "total_tokens": prompt + self.sent,
            "prompt_tokens_details": {"cached_tokens": details.get("cached", 0)},
            "completion_tokens_details": {"reasoning_tokens": details.get("reasoning", 0)},
        }


def numbered(options: Options, start: int = 0, stop: int | None = None) -> list[str]:
    return [word(k, options.para) for k in range(start, options.n if stop is None else min(stop, options.n))]


def whole_usage(request: Request, pieces: list[str], finish: str = "stop", **details: Any) -> Usage | None:
    """Usage of a reply that is sent whole, for requests with `stream: false`."""
    stream = Stream(request, Options(), sent=len(pieces))
    return stream.usage(**details)


def completion(
    request: Request, options: Options, message: dict[str, Any], finish: str, usage: Usage | None, words: int
) -> Reply:
    """A reply to `stream: false`: one JSON body, when the last word would have come."""
    body: dict[str, Any] = {
        "id": f"chatcmpl-{request.id}",
        "object": "chat.completion",
        "created": request.created,
        "model": request.model,
        "choices": [
            {"index": 0, "message": {"role": "assistant"} | message, "logprobs": None, "finish_reason": finish}
        ],
    }
    if usage is not None:
        body["usage"] = usage
    at = options.first + (words / options.rate if options.rate else 0.0)
    return Reply([Step(at, json.dumps(body).encode(), words, usage)], content_type="application/json", head_at=at)


def reply(
    request: Request, options: Options, pieces: list[str], *, finish: str = "stop", report: bool = True, **details: Any
) -> Reply:
    """A well-behaved reply of these pieces, streamed or whole."""
    stream = Stream(request, options)
    if not request.stream:
        usage = whole_usage(request, pieces, **details) if report else None
        return completion(request, options, {"content": "".join(pieces)}, finish, usage, len(pieces))
    steps = [stream.role(), *stream.text(pieces)]
    usage = stream.usage(**details) if report else None
    return Reply([*steps, *stream.close(finish, usage)], head_at=head_at(options))


def head_at(options: Options) -> float:
    return options.first if options.head == "late" else 0.0


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    return " ".join(part.get("text", "") for part in content or [] if isinstance(part, dict))
