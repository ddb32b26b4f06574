"""The demo models as a litellm provider: same road as every other model, without a network. Worker only."""

from collections.abc import AsyncIterator
from typing import Any

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
        params = options.get("optional_params") or {}
        text: list[str] = []
        reasoning: list[str] = []
        events = demo.reply(
            f"demo/{model}",
            messages,
            max_tokens=params.get("max_tokens"),
            temperature=params.get("temperature"),
            tools=params.get("tools"),
        )
        try:
            async for event in events:
                if event.kind == "finish":
                    chunk = _chunk()
                    chunk.usage = litellm.Usage(**demo.usage(messages, "".join(text), "".join(reasoning)))
                    yield chunk
                    yield _chunk(finish_reason=event.finish_reason or "stop")
                elif event.kind == "tool_call":
                    yield _chunk(tool_calls=[event.tool_call])
                elif event.kind == "reasoning":
                    reasoning.append(event.text)
                    yield _chunk(reasoning_content=event.text)
                else:
                    text.append(event.text)
                    yield _chunk(content=event.text)
        except demo.DemoCut:
            return
        except demo.DemoFailure as failure:
            error = CustomLLMError(status_code=failure.status, message=failure.message)
            error.litellm_response_headers = {"retry-after": str(failure.retry_after)} if failure.retry_after else {}
            raise error from None


def _chunk(finish_reason: str | None = None, **delta: Any) -> ModelResponseStream:
    return ModelResponseStream(choices=[StreamingChoices(finish_reason=finish_reason, delta=Delta(**delta))])
