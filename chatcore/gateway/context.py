"""Counting tokens without asking the provider: fitting a conversation into a window, and estimating usage."""

import asyncio
import json
from typing import Any, Final

import litellm

from chatcore.gateway.protocol import Usage

Messages = list[dict[str, Any]]

_PER_MESSAGE: Final = 4  # tokens a chat format adds to each message
_DEFAULT_RESERVE: Final = 4096  # tokens left for the reply where the person set no limit
# About what a picture of 1,024 × 1,024 pixels costs. OpenAI documents 85 + 170 for each tile of 512 × 512 (765 to 1,105
# tokens), Anthropic width × height / 750 (at most about 1,600), Google 258 for each tile of 768 × 768.
_IMAGE: Final = 1000
# Google documents 32 tokens a second of sound, OpenAI about 10: a second is 32 kB of speech as WAV, or 16 kB packed.
_AUDIO_BYTES_PER_TOKEN: Final = {"wav": 1000}
_PACKED_BYTES_PER_TOKEN: Final = 500


async def fit(
    messages: Messages, target: str, window: int | None, max_tokens: int | None, keep_last: int = 1
) -> tuple[Messages, int]:
    """Drop the oldest turns until the rest fits `window` tokens. Never the system prompt, never the last `keep_last`.

    Returns what to send and how many messages were left out.
    """
    if window is None:
        return messages, 0
    budget = window - min(max_tokens or _DEFAULT_RESERVE, window // 2)
    # A token is at least one byte, so a conversation of fewer bytes fits and needs no counting.
    if sum(_size(message) for message in messages) <= budget:
        return messages, 0
    counts = await asyncio.to_thread(lambda: [_count(target, message) for message in messages])
    system = [message for message in messages if message["role"] == "system"]
    turns = [(message, count) for message, count in zip(messages, counts, strict=True) if message["role"] != "system"]
    left = budget - (sum(counts) - sum(count for _, count in turns))
    total = sum(count for _, count in turns)
    dropped = 0
    kept_from = max(len(turns) - keep_last, 0)
    while total > left and dropped < kept_from:
        total -= turns[dropped][1]
        dropped += 1
        while dropped < kept_from and turns[dropped][0]["role"] != "user":
            total -= turns[dropped][1]
            dropped += 1
    return system + [message for message, _ in turns[dropped:]], dropped


async def estimate(target: str, messages: Messages, text: str, reasoning: str) -> Usage:
    """Our own count of a call, for providers that report none and for replies that were cut short."""

    def count() -> Usage:
        thought = _tokens(target, reasoning)
        return Usage(
            source="estimated",
            prompt=sum(_count(target, message) for message in messages),
            completion=_tokens(target, text) + thought,
            reasoning=thought,
        )

    return await asyncio.to_thread(count)


def _count(target: str, message: dict[str, Any]) -> int:
    return _PER_MESSAGE + _media(message) + _tokens(target, _text(message))


def _tokens(target: str, text: str) -> int:
    if not text:
        return 0
    if target.startswith("chatcore-demo/"):
        from chatcore.gateway.demo import count_tokens

        return count_tokens(text)
    return int(litellm.token_counter(model=target, text=text))


def _size(message: dict[str, Any]) -> int:
    return _PER_MESSAGE + _media(message) + len(_text(message).encode("utf-8", "replace"))


def _media(message: dict[str, Any]) -> int:
    """Tokens of pictures and sound, by rule of thumb: their base64 is no text and is never counted as one."""
    content = message.get("content")
    return sum(_media_part(part) for part in content) if isinstance(content, list) else 0


def _media_part(part: dict[str, Any]) -> int:
    if part.get("type") == "image_url":
        return _IMAGE
    if part.get("type") != "input_audio":
        return 0
    sound = part.get("input_audio") or {}
    packing = _AUDIO_BYTES_PER_TOKEN.get(str(sound.get("format")), _PACKED_BYTES_PER_TOKEN)
    return len(str(sound.get("data", ""))) * 3 // 4 // packing


def _text(message: dict[str, Any]) -> str:
    content = message.get("content") or ""
    if calls := message.get("tool_calls"):
        content = f"{content} {json.dumps(calls)}"
    if isinstance(content, str):
        return content
    return " ".join(str(part.get("text", "")) for part in content)
