"""Replies whose words are well: only how they end, or what they count, is unusual."""

from typing import Any, Final

from tests.hostile.stream import (
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


def oddfinish(request: Request, options: Options) -> Reply:
    """A finish reason that nobody knows, or `how`."""
    return reply(request, options, numbered(options), finish=options.how or "banana")


def nofinish(request: Request, options: Options) -> Reply:
    """Usage and [DONE] as they should be, and a finish reason that is empty."""
    return reply(request, options, numbered(options), finish="")


def cachewrite(request: Request, options: Options) -> Reply:
    """A quarter of the prompt was read from the provider's cache, half of it was written to it."""
    stream, pieces = Stream(request, options), numbered(options)
    usage = whole_usage(request, pieces, cached=request.prompt_tokens // 4)
    assert usage is not None
    usage["prompt_tokens_details"]["cache_write_tokens"] = request.prompt_tokens // 2
    if not request.stream:
        return completion(request, options, {"content": "".join(pieces)}, "stop", usage, len(pieces))
    return Reply([stream.role(), *stream.text(pieces), *stream.close(usage=usage)], head_at=head_at(options))


WRONG_COUNTS: Final[dict[str, dict[str, Any]]] = {
    "huge": {"prompt_tokens": 3 * 10**9},
    "endless": {"completion_tokens": 10**30},
    "negative": {"completion_tokens": -5},
    "cached": {"prompt_tokens_details": {"cached_tokens": 10**6}},
    "reasoning": {"completion_tokens_details": {"reasoning_tokens": 10**6}},
}


def wrongusage(request: Request, options: Options) -> Reply:
    """A count that cannot be right, wrong in the way of `how`."""
    stream, pieces = Stream(request, options), numbered(options)
    usage = (whole_usage(request, pieces) or {}) | WRONG_COUNTS[options.how]
    if not request.stream:
        return completion(request, options, {"content": "".join(pieces)}, "stop", usage, len(pieces))
    return Reply([stream.role(), *stream.text(pieces), *stream.close(usage=usage)], head_at=head_at(options))


def usagecum(request: Request, options: Options) -> Reply:
    """Usage in each chunk, counted up so far, whether asked for or not. `how=cached`: half the prompt was cached."""
    stream = Stream(request, options)
    cached = request.prompt_tokens // 2 if options.how == "cached" else 0
    if not request.stream:
        return reply(request, options, numbered(options), cached=cached)
    steps = [stream.role()]
    for k, piece in enumerate(numbered(options)):
        stream.sent = k + 1
        usage = stream.usage(cached=cached)
        steps.append(Step(stream.due(k), stream.chunk({"content": piece}, usage=usage), 1, usage))
    usage = stream.usage(cached=cached)
    finish = Step(stream.due(max(options.n - 1, 0)), stream.chunk({}, "stop", usage=usage), usage=usage)
    return Reply([*steps, finish, *stream.close()[-1:]], head_at=head_at(options))
