"""One call to one model, from a request to an `AttemptResult`."""

import logging
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from chatcore.errors import ProviderError
from chatcore.gateway import failures
from chatcore.gateway.catalog import Model
from chatcore.gateway.prices import Tokens, cost_nano_usd
from chatcore.gateway.process import WORKER_LOST, Delta, RemoteCall, WorkerProcess
from chatcore.gateway.protocol import AttemptOutcome, CallEnd, CallSpec, Usage

log = logging.getLogger(__name__)

_FIRST_WORD_WITHIN = 30.0  # seconds, for a call that no route has given a limit


@dataclass(frozen=True)
class CompletionRequest:
    """What is asked of a model. `messages`: OpenAI's form, system prompt first. `trace_id` stands in the log lines.

    `keep_last`: how many of the last messages are sent whatever the model's window. `stream`: else the reply comes
    whole. `parameters`: further ones of OpenAI's form, such as `tools`; never an address or a key.
    `embed`: the messages' contents become vectors.
    """

    model: Model
    messages: list[dict[str, Any]]
    trace_id: str
    temperature: float | None = None
    max_tokens: int | None = None
    keep_last: int = 1
    stream: bool = True
    parameters: Mapping[str, Any] = field(default_factory=dict)
    embed: bool = False


@dataclass(frozen=True)
class AttemptResult:
    """A finished attempt. Times are milliseconds from the call's start; an unknown cost is None.

    `error` is set unless the outcome is `ok` or `stopped`. `ours`: our own worker was lost, which says nothing of the
    provider.
    """

    outcome: AttemptOutcome
    error: ProviderError | None
    finish_reason: str | None
    usage: Usage
    price_source: str
    cost_nano_usd: int | None
    ttft_ms: int | None
    latency_ms: int
    unit_prices: Mapping[str, str] = field(default_factory=dict)
    ours: bool = False


class Attempt:
    """One call to one model. Iterate it for batches of deltas; afterwards `result` is there."""

    def __init__(self, request: CompletionRequest, worker: WorkerProcess) -> None:
        model = request.model
        self.request = request
        self._call: RemoteCall = worker.call(_spec(request))
        self._prices = model.prices

    def __aiter__(self) -> AsyncIterator[list[Delta]]:
        return self._call.__aiter__()

    def cancel(self) -> None:
        """Close the provider's connection. The attempt then ends as `stopped`."""
        self._call.cancel()

    @property
    def has_ended(self) -> bool:
        """Whether `result` is there."""
        return self._call.end is not None

    @property
    def trimmed(self) -> int:
        """How many of the oldest messages were left out because they did not fit the model's window."""
        return self._call.trimmed

    @cached_property
    def result(self) -> AttemptResult:
        """How it ended. Only after the iteration has."""
        end = self._call.end
        assert end is not None, "the attempt has not ended"
        return self._result(end)

    def _result(self, end: CallEnd) -> AttemptResult:
        model, error = self.request.model, None
        if end.failure is not None:
            error = failures.to_error(
                end.failure, model.display_name, model.between_words_timeout, _first_word(model),
                said=end.ttft_ms is not None,
            )  # fmt: skip
            log.warning(
                "attempt failed",
                # What a provider says may quote the question: it stands under a name that only `log_text` lets through.
                extra={
                    "trace_id": self.request.trace_id,
                    "model": model.name,
                    "code": end.failure.code,
                    "raised": end.failure.detail.partition(":")[0],
                    "text": end.failure.detail,
                },
            )
        usage, prices = end.usage, self._prices
        tokens = Tokens(usage.prompt, usage.cached, usage.cache_write, usage.completion, usage.reasoning)
        return AttemptResult(
            outcome=end.outcome,
            error=error,
            finish_reason=end.finish_reason,
            usage=usage,
            price_source=prices.source,
            cost_nano_usd=cost_nano_usd(tokens, prices),
            ttft_ms=end.ttft_ms,
            latency_ms=end.latency_ms,
            unit_prices=prices.at(usage.prompt),
            ours=end.failure is not None and end.failure.code == WORKER_LOST,
        )


def _spec(request: CompletionRequest) -> CallSpec:
    model = request.model
    arguments = {**model.arguments, **request.parameters}
    if request.temperature is not None:
        arguments["temperature"] = request.temperature
    if request.max_tokens is not None:
        arguments["max_tokens"] = request.max_tokens
    return CallSpec(
        target=model.target,
        messages=request.messages,
        arguments=arguments,
        first_word_timeout=_first_word(model),
        between_words_timeout=model.between_words_timeout,
        context_window=model.context_window,
        keep_last=request.keep_last,
        stream=request.stream,
        embed=request.embed,
    )


def _first_word(model: Model) -> float:
    return model.first_word_timeout or _FIRST_WORD_WITHIN
