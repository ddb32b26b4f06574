"""What machines are told of turns and calls: the facts of their spans, and what is counted when a call ends.

Names are those of OpenTelemetry's semantic conventions for generative AI where they have one. No words of anybody.
"""

from typing import Any

from chatcore import metrics, tracing
from chatcore.gateway import AttemptResult, CompletionRequest, Step
from chatcore.turns.values import Begun, TurnEnd


def question(begun: Begun) -> dict[str, Any]:
    """Facts of a turn that begins."""
    call = begun.call
    return {
        "gen_ai.conversation.id": begun.conversation_id, "chatcore.turn_id": begun.turn_id,
        "chatcore.tenant_id": call.tenant_id, "chatcore.user_id": call.user_id, "chatcore.asked": begun.asked or None,
    }  # fmt: skip


def answer(span: tracing.Span, end: TurnEnd) -> None:
    """Facts of its end."""
    spent, error = end.spent, end.result.error
    span.set({
        "gen_ai.response.model": end.model, "gen_ai.provider.name": end.provider, "chatcore.status": end.status,
        "chatcore.outcome": end.result.outcome, "chatcore.cost_usd": _usd(spent.cost_nano_usd),
        "gen_ai.usage.input_tokens": spent.prompt_tokens, "gen_ai.usage.output_tokens": spent.completion_tokens,
    })  # fmt: skip
    if end.status == "failed":
        span.failed(error.code if error else end.result.outcome)


def call_begins(step: Step, request: CompletionRequest) -> tracing.Span:
    """The span of a call to a model."""
    facts = {
        "gen_ai.operation.name": "chat", "gen_ai.provider.name": step.model.provider,
        "gen_ai.request.model": step.model.target, "gen_ai.request.temperature": request.temperature,
        "gen_ai.request.max_tokens": request.max_tokens, "chatcore.model": step.model.name,
    }  # fmt: skip
    return tracing.begin(f"chat {step.model.name}", facts, request.trace_id)


def call_ended(span: tracing.Span, step: Step, result: AttemptResult) -> None:
    """Count a call, and end its span."""
    model, usage = step.model, result.usage
    tokens = {"prompt": usage.prompt, "cached": usage.cached, "completion": usage.completion}
    tokens["reasoning"] = usage.reasoning
    metrics.call_ended(
        model.name, model.provider, result.outcome, tokens, result.cost_nano_usd, result.ttft_ms, result.latency_ms
    )
    span.set({
        "gen_ai.usage.input_tokens": usage.prompt, "gen_ai.usage.output_tokens": usage.completion,
        "gen_ai.usage.cache_read.input_tokens": usage.cached or None,
        "gen_ai.usage.reasoning.output_tokens": usage.reasoning or None,
        "gen_ai.response.finish_reasons": [result.finish_reason] if result.finish_reason else None,
        "gen_ai.response.time_to_first_chunk": None if result.ttft_ms is None else result.ttft_ms / 1000,
        "chatcore.outcome": result.outcome, "chatcore.usage_source": usage.source,
        "chatcore.cost_usd": _usd(result.cost_nano_usd),
    })  # fmt: skip
    if result.error is not None:
        span.failed(result.error.code)
    span.end()


def characters(message: dict[str, Any]) -> int:
    """How long the text of a message is; attachments beside it do not count."""
    content = message.get("content") or ""
    parts = content if isinstance(content, list) else [{"text": content}]
    return sum(len(str(part.get("text") or "")) for part in parts)


def _usd(nano: int | None) -> float | None:
    return None if nano is None else nano / 1e9
