"""The UI message stream, chunk by chunk."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatcore.api.ui_stream import Encoder, frames
from chatcore.conversations import Message
from chatcore.gateway import Delta

KINDS = ("text", "reasoning")
deltas = st.lists(st.builds(Delta, st.sampled_from(KINDS), st.text(min_size=1)), max_size=20)


def reply(**facts: Any) -> Message:
    known: dict[str, Any] = {
        "status": "complete", "model": "gpt", "provider": "openai", "finish_reason": "stop", "turn_id": "turn_1",
        "prompt_tokens": 3, "completion_tokens": 4, "cost_nano_usd": 1_500, "meta": {"trace_id": "trace_1"},
    }  # fmt: skip
    return Message("msg_1", "msg_0", "assistant", "", created_at=datetime(2026, 1, 1, tzinfo=UTC), **known | facts)


def encoder() -> Encoder:
    return Encoder("msg_1", {"conversationId": "conv_1"})


@given(st.lists(deltas, max_size=6))
def test_every_word_stands_in_an_open_block_once_and_in_order(batches: list[list[Delta]]) -> None:
    one = encoder()
    chunks = [*one.start(), *(chunk for batch in batches for chunk in one.words(batch)), *one.end(reply())]
    said, opened, seen = [], None, set()
    for chunk in chunks:
        kind, _, what = str(chunk["type"]).rpartition("-")
        if kind not in KINDS:
            assert opened is None or chunk["type"] in ("start", "start-step")
        elif what == "start":
            assert opened is None
            assert chunk["id"] not in seen
            opened = chunk["id"]
            seen.add(opened)
        elif what == "delta":
            assert chunk["id"] == opened
            said.append((kind, chunk["delta"]))
        else:
            assert chunk["id"] == opened
            opened = None
    assert opened is None
    told = [(delta.kind, delta.text) for batch in batches for delta in batch]
    for kind in KINDS:
        assert "".join(text for one, text in said if one == kind) == "".join(text for one, text in told if one == kind)
    assert [chunks[0]["type"], chunks[1]["type"], chunks[-2]["type"], chunks[-1]["type"]] == [
        "start", "start-step", "finish-step", "finish"
    ]  # fmt: skip


def test_the_end_says_who_answered_and_what_it_cost() -> None:
    finish = encoder().end(reply())[-1]
    assert finish["finishReason"] == "stop"
    assert finish["messageMetadata"] == {
        "conversationId": "conv_1", "messageId": "msg_1", "turnId": "turn_1", "traceId": "trace_1", "model": "gpt",
        "provider": "openai", "modelUsed": "openai/gpt", "promptTokens": 3, "completionTokens": 4, "totalTokens": 7,
        "costUsd": "0.000001500", "finishReason": "stop", "cacheHit": False, "estimated": False, "status": "complete",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("said", "reason"),
    [("length", "length"), ("content_filter", "content-filter"), ("tool_calls", "tool-calls"), ("odd", "other")],
)
def test_reasons_are_the_protocols(said: str, reason: str) -> None:
    assert encoder().end(reply(finish_reason=said))[-1]["finishReason"] == reason


def test_a_tool_call_closes_what_is_open_and_carries_its_input() -> None:
    call = json.dumps({"id": "call_9", "name": "weather", "arguments": '{"city": "Oslo"}'})
    chunks = encoder().words([Delta("text", "let me see"), Delta("tool_call", call)])
    assert [one["type"] for one in chunks][-3:] == ["text-end", "tool-input-start", "tool-input-available"]
    assert (chunks[-1]["toolCallId"], chunks[-1]["input"]) == ("call_9", {"city": "Oslo"})


def test_arguments_that_are_no_json_are_an_error_of_that_call() -> None:
    call = json.dumps({"id": "", "name": "weather", "arguments": '{"city": '})
    chunks = encoder().words([Delta("tool_call", call)])
    assert [one["type"] for one in chunks] == ["tool-input-start", "tool-input-error"]
    assert chunks[1]["toolCallId"] == "call-1"


def told(**facts: Any) -> Delta:
    return Delta("tool_result", json.dumps({"id": "call_9", "duration_ms": 1, "parts": []} | facts))


CALL = Delta("tool_call", json.dumps({"id": "call_9", "name": "weather", "arguments": "{}", "round": 1, "at": 0}))


def test_a_tool_of_ours_comes_with_its_output_and_a_step_follows() -> None:
    chunks = encoder().words([CALL, told(state="success", result="rain"), Delta("text", "It rains.")])
    assert [one["type"] for one in chunks] == [
        "tool-input-start", "tool-input-available", "tool-output-available", "finish-step", "start-step", "text-start",
        "text-delta",
    ]  # fmt: skip
    assert chunks[1]["providerExecuted"]
    assert chunks[2]["output"] == "rain"


def test_a_tool_that_asks_first_requests_an_approval() -> None:
    chunks = encoder().words([CALL, told(state="asking"), told(state="pending"), told(state="error", result="no")])
    assert chunks[2] == {"type": "tool-approval-request", "approvalId": "call_9", "toolCallId": "call_9"}
    assert chunks[3] == {"type": "tool-approval-response", "approvalId": "call_9", "approved": True}
    assert (chunks[4]["type"], chunks[4]["errorText"]) == ("tool-output-error", "no")


def test_one_that_failed_says_our_sentence() -> None:
    failed = reply(status="failed", parts=({"type": "error", "message": "The provider is down. Try again."},))
    chunks = encoder().end(failed)
    assert [one["type"] for one in chunks] == ["finish-step", "message-metadata", "error", "finish"]
    assert chunks[2]["errorText"] == "The provider is down. Try again."
    assert chunks[3]["finishReason"] == "error"


def test_one_that_was_stopped_is_aborted() -> None:
    chunks = encoder().end(reply(status="stopped"))
    assert chunks[-1] == {"type": "abort", "reason": "stopped"}


def test_charts_come_as_data() -> None:
    chart = {"type": "chart", "chart": "bar", "x": ["a"], "series": [{"name": "n", "values": [1]}]}
    chunks = encoder().end(reply(parts=({"type": "text", "text": "see"}, chart)))
    assert chunks[0] == {"type": "data-chart", "id": "msg_1-0", "data": chart}


def test_no_chunk_is_longer_than_a_reader_that_lags_can_bear() -> None:
    chunks = encoder().words([Delta("text", "x" * 100_000)])
    assert max(len(one.get("delta", "")) for one in chunks) == 16_384
    assert sum(len(one.get("delta", "")) for one in chunks) == 100_000


def test_frames_are_one_line_each_whatever_is_said() -> None:
    sent = frames([{"type": "text-delta", "id": "text-1", "delta": "a\r\nb\u2028\u2029\n\ndata: x"}])
    assert sent.count(b"\n") == 2
    assert json.loads(sent.removeprefix(b"data: "))["delta"] == "a\r\nb\u2028\u2029\n\ndata: x"
