"""What each requested model does: `name;option=value;…` turned into a `Reply`, a timetable of bytes.

Options that every streaming behaviour knows:
    n=20        words in the reply; word k is `[k] <filler> `, so `\\[(\\d+)\\]` finds each once and in order
    rate=0      words a second, 0: all at once
    first=0     seconds before the first word
    head=early  `late`: the response's headers wait for the first word too
    para=0      a blank line after every so many words
    at=n/2      the word at which cut, stall, garbage, … misbehave
"""

import json
import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

from tests.hostile.errors import error, error_body, overflow, refused
from tests.hostile.oddities import cachewrite, nofinish, oddfinish, usagecum, wrongusage
from tests.hostile.stream import (
    Ending,
    Options,
    Reply,
    Request,
    Step,
    Stream,
    completion,
    head_at,
    numbered,
    reply,
    whole_usage,
)
from tests.hostile.texts import BLOCKS, CONTROL, MARKDOWN, THOUGHTS


class UnknownBehaviour(ValueError):
    pass


def plan(request: Request) -> Reply:
    """The reply to a request. Raises `UnknownBehaviour` for a name or an option that is not known."""
    name, *pairs = request.model.split(";")
    if name.isdigit() and 400 <= int(name) <= 599:
        return error(request, int(name), _options(pairs))
    if name not in BEHAVIOURS:
        raise UnknownBehaviour(name)
    behaviour, defaults = BEHAVIOURS[name]
    return behaviour(request, _options(pairs, defaults))


def embeddings(request: Request) -> Reply:
    """A vector for each text: its length, its number among the texts, and a half."""
    texts = [str(message["content"]) for message in request.messages]
    data = [
        {"object": "embedding", "index": index, "embedding": [float(len(text)), float(index), 0.5]}
        for index, text in enumerate(texts)
    ]
    usage = {"prompt_tokens": request.prompt_tokens, "total_tokens": request.prompt_tokens}
    body = {"object": "list", "model": request.model, "data": data[::-1], "usage": usage}
    return Reply([Step(0.0, json.dumps(body).encode(), 0, usage)], content_type="application/json", head_at=0.0)


def _options(pairs: list[str], defaults: Options | None = None) -> Options:
    options = defaults or Options()
    for pair in pairs:
        key, _, value = pair.partition("=")
        known = getattr(options, key, None)
        if known is None or key == "turn":
            raise UnknownBehaviour(pair)
        options = replace(options, **{key: type(known)(value)})
    return options


# --- the behaviours -------------------------------------------------------------------------------------------------


def _ok(request: Request, options: Options) -> Reply:
    return reply(request, options, numbered(options))


def _written(text: str) -> Callable[[Request, Options], Reply]:
    """A reply of this very text, a word at a time."""
    pieces = [piece for line in text.splitlines(keepends=True) for piece in _split(line)]
    return lambda request, options: reply(request, options, pieces)


def _split(line: str) -> list[str]:
    parts = line.split(" ")
    return [part + " " for part in parts[:-1]] + [part for part in parts[-1:] if part]


def _cached(request: Request, options: Options) -> Reply:
    return reply(request, options, numbered(options), cached=request.prompt_tokens // 2)


def _nousage(request: Request, options: Options) -> Reply:
    return reply(request, options, numbered(options), report=False)


def _empty(request: Request, options: Options) -> Reply:
    return reply(request, options, [])


def _length(request: Request, options: Options) -> Reply:
    return reply(request, options, numbered(options), finish="length")


def _filtered(request: Request, options: Options) -> Reply:
    return reply(request, options, numbered(options, stop=options.turn), finish="content_filter")


def _bigchunk(request: Request, options: Options) -> Reply:
    return reply(request, options, ["[0] " + "x" * (1 << 20) + " "])


def _control(request: Request, options: Options) -> Reply:
    bent = reply(request, options, [*numbered(options, stop=options.turn), "☃"])
    # json.dumps never writes a lone surrogate as valid UTF-8, so the escapes are put in by hand.
    steps = [replace(s, data=s.data.replace("☃".encode(), CONTROL).replace(b"\\u2603", CONTROL)) for s in bent.steps]
    return replace(bent, steps=steps)


def _reasoning(request: Request, options: Options) -> Reply:
    thoughts = [f"{THOUGHTS[k % len(THOUGHTS)]} " for k in range(options.thoughts)]
    pieces = numbered(options)
    if not request.stream:
        message = {"content": "".join(pieces), "reasoning_content": "".join(thoughts)}
        usage = whole_usage(request, thoughts + pieces, reasoning=len(thoughts))
        return completion(request, options, message, "stop", usage, len(pieces))
    stream = Stream(request, options)
    steps = [stream.role(), *(replace(step, words=0) for step in stream.text(thoughts, "reasoning_content"))]
    steps += stream.text(pieces)
    return Reply([*steps, *stream.close(usage=stream.usage(reasoning=len(thoughts)))], head_at=head_at(options))


def _tools(request: Request, options: Options) -> Reply:
    """Calls the first tools offered; once results are in the conversation, answers in words."""
    if any(message.get("role") == "tool" for message in request.messages):
        return _ok(request, options)
    calls = [_tool_call(request, index) for index in range(options.calls)]
    if options.how == "badjson":
        calls = [call | {"arguments": call["arguments"][:-1] + ', "half'} for call in calls]
    return _calling(request, options, [], calls)


def _calling(request: Request, options: Options, said: list[str], calls: list[dict[str, str]]) -> Reply:
    stream = Stream(request, options)
    pieces = [delta for index, call in enumerate(calls) for delta in _tool_deltas(index, call)]
    usage = whole_usage(request, [*said, *("" for _ in pieces)])
    if not request.stream:
        whole = [
            {"id": c["id"], "type": "function", "function": {k: c[k] for k in ("name", "arguments")}} for c in calls
        ]
        return completion(
            request, options, {"content": "".join(said) or None, "tool_calls": whole}, "tool_calls", usage, 0
        )
    steps = [stream.role(), *stream.text(said)]
    for delta in pieces:
        steps.append(Step(stream.due(stream.sent), stream.chunk({"tool_calls": [delta]})))
        stream.sent += 1
    return Reply([*steps, *stream.close("tool_calls", usage)], head_at=head_at(options))


def _script(request: Request, options: Options) -> Reply:
    """Calls what the question says: JSON, a list of rounds, each a list of [name, arguments] and of texts to be said
    before them; then answers in words. `how=forever`: the last round is asked for again and again."""
    asked = [(number, message) for number, message in enumerate(request.messages) if message.get("role") == "user"]
    last = max(number for number, message in asked if str(message["content"]).startswith("["))
    rounds = json.loads(str(request.messages[last]["content"]))
    made = sum(bool(message.get("tool_calls")) for message in request.messages[last:])
    if made >= len(rounds) and options.how == "forever":
        made = len(rounds) - 1
    if made >= len(rounds):
        return reply(request, options, numbered(options))
    said = [one for one in rounds[made] if isinstance(one, str)]
    calls = [
        {
            "id": f"call_{made}_{index}",
            "name": name,
            "arguments": given if isinstance(given, str) else json.dumps(given),
        }
        for index, (name, given) in enumerate(one for one in rounds[made] if not isinstance(one, str))
    ]
    return _calling(request, options, said, calls)


def _tool_call(request: Request, index: int) -> dict[str, str]:
    offered = [tool.get("function", {}) for tool in request.params.get("tools") or []] or [{"name": "lookup"}]
    function = offered[index % len(offered)]
    samples = {"string": f"word {index}", "integer": index + 1, "number": index + 0.5, "boolean": True, "array": []}
    properties = function.get("parameters", {}).get("properties", {})
    arguments = {
        key: (about.get("enum") or [samples.get(about.get("type"), {})])[0] for key, about in properties.items()
    }
    return {"id": f"call_{request.id}_{index}", "name": function["name"], "arguments": json.dumps(arguments)}


def _tool_deltas(index: int, call: dict[str, str]) -> list[dict[str, Any]]:
    first = {"index": index, "id": call["id"], "type": "function", "function": {"name": call["name"], "arguments": ""}}
    text = call["arguments"]
    size = max(5, len(text) // 100)
    return [
        first,
        *({"index": index, "function": {"arguments": text[k : k + size]}} for k in range(0, len(text), size)),
    ]


def _broken(ending: Ending) -> Callable[[Request, Options], Reply]:
    """A reply that goes well up to word `at`, then ends in this way."""

    def behaviour(request: Request, options: Options) -> Reply:
        how: Ending = "reset" if options.how == "reset" and ending == "cut" else ending
        if not request.stream:
            body = _ok(request, options)
            step = body.steps[0]
            return replace(
                body, steps=[replace(step, data=step.data[: len(step.data) // 2], words=0, usage=None)], ending=how
            )
        stream = Stream(request, options)
        steps = [stream.role(), *stream.text(numbered(options, stop=options.turn))]
        if options.turn == 0 and how == "cut":
            steps = []
        return Reply(steps, how, head_at=head_at(options))

    return behaviour


def _inserted(make: Callable[[Request, Options], bytes], *, stop: bool) -> Callable[[Request, Options], Reply]:
    """A reply with a line of another kind before word `at`; `stop`: nothing but the connection's end follows."""

    def behaviour(request: Request, options: Options) -> Reply:
        line = make(request, options)
        if not request.stream:
            return Reply([Step(options.first, line)], content_type="application/json", head_at=options.first)
        steps = _ok(request, options).steps
        place = 1 + options.turn
        odd = Step(steps[min(place, len(steps) - 1)].at, b"data: " + line + b"\n\n")
        return Reply([*steps[:place], odd, *([] if stop else steps[place:])], "end" if stop else "done")

    return behaviour


def _garbage_line(request: Request, options: Options) -> bytes:
    return b'{"id":"chatcmpl-broken","choices":[{"index":0,"delta":{"content":"half a fra'


def _error_line(request: Request, options: Options) -> bytes:
    return json.dumps(error_body("The server had an error.", "server_error", str(options.status))).encode()


def _comments(request: Request, options: Options) -> Reply:
    bent = _ok(request, options)
    if not request.stream:
        return bent
    return replace(bent, steps=[replace(step, data=b": ping\n\n" + step.data) for step in bent.steps])


def _crlf(request: Request, options: Options) -> Reply:
    if not request.stream:
        return _ok(request, options)
    stream = Stream(request, options, eol="\r\n\r\n")
    steps = [stream.role(), *stream.text(numbered(options))]
    return Reply([*steps, *stream.close(usage=stream.usage())], head_at=head_at(options))


def _dribble(request: Request, options: Options) -> Reply:
    """The same bytes, cut anywhere: in the middle of a frame, of a line end, of a character."""
    bent = _ok(request, options)
    chance = random.Random(request.model)
    steps: list[Step] = []
    for step in bent.steps:
        data, at = step.data, step.at
        while data:
            size = chance.randint(1, 40)
            last = len(data) <= size
            steps.append(Step(at, data[:size], step.words if last else 0, step.usage if last else None))
            data, at = data[size:], at + 0.0005
    return replace(bent, steps=sorted(steps, key=lambda step: step.at) if options.rate else steps)


def _hang(request: Request, options: Options) -> Reply:
    return Reply(ending="silence", head_at=None)


def _notjson(request: Request, options: Options) -> Reply:
    page = b"<!doctype html><html><body><h1>Welcome to the login page</h1></body></html>"
    return Reply([Step(0.0, page)], content_type="text/html")


def _nothttp(request: Request, options: Options) -> Reply:
    return Reply(raw=b"SSH-2.0-OpenSSH_9.6\r\n", ending="cut")


def _flaky(request: Request, options: Options) -> Reply:
    """Fails for the first `fails` calls to this very name, then answers."""
    if request.earlier < options.fails:
        return error(request, options.status, options)
    return _ok(request, options)


BEHAVIOURS: Final[dict[str, tuple[Callable[[Request, Options], Reply], Options]]] = {
    "ok": (_ok, Options()),
    "words": (_ok, Options(n=5000, para=60)),
    "slow": (_ok, Options(first=3.0)),
    "md": (_written(MARKDOWN), Options()),
    "blocks": (_written(BLOCKS), Options()),
    "reasoning": (_reasoning, Options()),
    "cached": (_cached, Options()),
    "nousage": (_nousage, Options()),
    "usagecum": (usagecum, Options()),
    "empty": (_empty, Options()),
    "length": (_length, Options()),
    "filtered": (_filtered, Options()),
    "oddfinish": (oddfinish, Options()),
    "nofinish": (nofinish, Options()),
    "cachewrite": (cachewrite, Options()),
    "wrongusage": (wrongusage, Options(how="huge")),
    "tools": (_tools, Options()),
    "script": (_script, Options(n=3)),
    "bigchunk": (_bigchunk, Options()),
    "control": (_control, Options()),
    "comments": (_comments, Options()),
    "crlf": (_crlf, Options()),
    "dribble": (_dribble, Options()),
    "hang": (_hang, Options()),
    "cut": (_broken("cut"), Options()),
    "end": (_broken("end"), Options()),
    "stall": (_broken("silence"), Options()),
    "garbage": (_inserted(_garbage_line, stop=False), Options()),
    "miderror": (_inserted(_error_line, stop=True), Options()),
    "notjson": (_notjson, Options()),
    "nothttp": (_nothttp, Options()),
    "overflow": (overflow, Options()),
    "refused": (refused, Options()),
    "flaky": (_flaky, Options()),
}
