"""The demo models as a litellm provider: same road as every other model, without a network. Worker only."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import litellm
from litellm.llms.custom_llm import CustomLLM, CustomLLMError
from litellm.types.utils import Delta, ModelResponseStream, StreamingChoices

from chatcore.gateway import demo

PROVIDER = "chatcore-demo"


def register() -> None:
    """Make `chatcore-demo/<name>` known to litellm."""
    litellm.custom_provider_map = [{"provider": PROVIDER, "custom_handler": DemoProvider()}]
    litellm.utils.custom_llm_setup()


class DemoProvider(CustomLLM):  # type: ignore[misc]  # litellm is not typed
    """Turns the demo's events into litellm's chunks."""

    async def astreaming(self, model: str, messages: list[dict[str, Any]], **options: Any) -> AsyncIterator[Any]:
        """Yield `ModelResponseStream` chunks; the usage comes before the finish, as litellm stops at the finish."""
        said = _Said()
        try:
            async for event in _events(model, messages, options):
                said.take(event)
                if event.kind == "finish":
                    chunk = _chunk()
                    chunk.usage = litellm.Usage(**said.usage(messages))
                    yield chunk
                    yield _chunk(finish_reason=event.finish_reason or "stop")
                elif event.kind == "tool_call":
                    yield _chunk(tool_calls=[event.tool_call])
                elif event.kind == "reasoning":
                    yield _chunk(reasoning_content=event.text)
                else:
                    yield _chunk(content=event.text)
        except demo.DemoCut:
            return

    async def acompletion(self, model: str, messages: list[dict[str, Any]], **options: Any) -> Any:
        """The same reply as one `ModelResponse`, after the time that it takes to say it."""
        said = _Said()
        try:
            async for event in _events(model, messages, options):
                said.take(event)
        except demo.DemoCut as cut:
            raise httpx.RemoteProtocolError(str(cut)) from None  # as a connection that ends before the body does
        finish, usage = said.finish_reason or "stop", said.usage(messages)
        options["logging_obj"].post_call({"choices": [{"finish_reason": finish}], "usage": usage})
        message = litellm.Message(
            content="".join(said.text) or None,
            reasoning_content="".join(said.reasoning) or None,
            tool_calls=said.tool_calls or None,
        )
        reply = options["model_response"]
        reply.choices = [litellm.Choices(finish_reason=finish, message=message)]
        reply.usage = litellm.Usage(**usage)
        return reply


async def _events(model: str, messages: list[dict[str, Any]], options: dict[str, Any]) -> AsyncIterator[demo.DemoEvent]:
    """The demo's events for litellm's options. Raises `DemoCut`, and failures in the form that litellm maps."""
    params = options.get("optional_params") or {}
    asked: dict[str, Any] = {name: params.get(name) for name in ("max_tokens", "temperature", "tools")}
    try:
        async for event in demo.reply(f"demo/{model}", messages, **asked):
            yield event
    except demo.DemoFailure as failure:
        error = CustomLLMError(status_code=failure.status, message=failure.message)
        error.litellm_response_headers = {"retry-after": str(failure.retry_after)} if failure.retry_after else {}
        raise error from None


@dataclass
class _Said:
    """A reply put together from its events."""

    text: list[str] = field(default_factory=list)
    reasoning: list[str] = field(default_factory=list)
    tool_calls: list[dict[str, Any]] = field(default_factory=list)
    finish_reason: str | None = None

    def take(self, event: demo.DemoEvent) -> None:
        if event.kind == "text":
            self.text.append(event.text)
        elif event.kind == "reasoning":
            self.reasoning.append(event.text)
        elif event.tool_call is not None:
            self.tool_calls.append(event.tool_call)
        self.finish_reason = event.finish_reason

    def usage(self, messages: list[dict[str, Any]]) -> dict[str, Any]:
        return demo.usage(messages, "".join(self.text), "".join(self.reasoning))


def _chunk(finish_reason: str | None = None, **delta: Any) -> ModelResponseStream:
    return ModelResponseStream(choices=[StreamingChoices(finish_reason=finish_reason, delta=Delta(**delta))])
