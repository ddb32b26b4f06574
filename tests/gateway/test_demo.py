"""The demo models: honest, lively, deterministic, and failing only on request."""

import asyncio
import json
import re
import shutil
import sqlite3
import subprocess
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatcore.agents.built_in import BUILT_IN
from chatcore.conversations.part_blocks import split
from chatcore.conversations.part_components import COMPONENTS
from chatcore.gateway import demo
from chatcore.gateway.demo.code import LANGUAGES, SNIPPETS, TASKS
from chatcore.gateway.demo.maths import find_sum
from chatcore.gateway.demo.writer import REPLIES
from chatcore.turns.replies import CONTINUE_PROMPT

Message = dict[str, Any]
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "get_weather",
            "parameters": {
                "type": "object",
                "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
                "required": ["city", "days"],
            },
        },
    }
]


def talk(*texts: str, system: str = "") -> list[Message]:
    """A conversation: person, assistant, person, …"""
    first = [{"role": "system", "content": system}] if system else []
    return first + [{"role": ("user", "assistant")[place % 2], "content": text} for place, text in enumerate(texts)]


async def collect(messages: list[Message], model: str, into: list[demo.DemoEvent], **options: Any) -> None:
    async for event in demo.reply(model, messages, pace=0, **options):
        into.append(event)  # noqa: PERF401  # what came before a failure must be kept


def events(messages: list[Message], model: str = "demo/assistant", **options: Any) -> list[demo.DemoEvent]:
    found: list[demo.DemoEvent] = []
    asyncio.run(collect(messages, model, found, **options))
    return found


def answer(*texts: str, system: str = "", model: str = "demo/assistant", **options: Any) -> str:
    return said(events(talk(*texts, system=system), model, **options))


def said(found: list[demo.DemoEvent], kind: str = "text") -> str:
    return "".join(event.text for event in found if event.kind == kind)


def test_help_is_honest_and_names_everything() -> None:
    text = answer("help")
    assert "demo model" in text
    assert "no language model" in text
    for word in ("12*37", "5000 words", "fail 401", "fail 429", "fail midway", "slow", "cut", "stall", "tool"):
        assert word in text, word


@pytest.mark.parametrize("question", ["Who are you?", "are you ChatGPT?", "Which model is this?"])
def test_it_never_claims_to_be_a_real_model(question: str) -> None:
    assert "demo model" in answer(question)


@pytest.mark.parametrize("question", ["What is the weather in Paris?", "Who won the cup?", "What time is it?"])
def test_what_it_cannot_know_it_says(question: str) -> None:
    assert "demo" in answer(question)
    assert "OPENAI_API_KEY" in answer(question)


@pytest.mark.parametrize(
    ("question", "result"),
    [
        ("12*37", "444"),
        ("what's 7 times 8?", "56"),
        ("15% of 80", "12"),
        ("calculate 3.5*(2+1)-4", "6.5"),
        ("What is 1,000 + 2,500?", "3500"),
        ("sqrt(2)", "1.4142135624"),
        ("2^100", "1267650600228229401496703205376"),
        ("0.1 + 0.2", "0.3"),
        ("-3 * -4", "12"),
        ("what is 10 - 4?", "6"),
    ],
)
def test_it_calculates(question: str, result: str) -> None:
    text = answer(question)
    assert f"**{result}**" in text
    assert "$$" in text


@pytest.mark.parametrize(
    "question",
    ["What happened on 2024-11-20?", "Is 24/7 support good?", "Call 555-1234", "9**9**9**9", "version 1.2.3"],
)
def test_not_every_number_is_a_calculation(question: str) -> None:
    assert find_sum(question) is None


def test_division_by_zero_is_explained() -> None:
    assert "zero" in answer("what is 5/0?")


def test_a_quadratic_equation_is_solved() -> None:
    text = answer("solve x^2 - 5x + 6 = 0")
    assert "x_1 &= 2" in text
    assert "x_2 = 3" in text


@given(st.integers(-9999, 9999), st.sampled_from("+-*"), st.integers(0, 9999))
def test_arithmetic_agrees_with_python(a: int, operator: str, b: int) -> None:
    found = find_sum(f"what is {a}{operator}{b}?")
    assert found is not None
    assert found.value == Fraction(eval(f"{a}{operator}{b}"))


def test_the_system_prompt_changes_the_answer() -> None:
    question = "How should we choose a boat?"
    plain = answer(question)
    pirate = answer(question, system="You are a pirate captain.")
    formal = answer(question, system="You are a formal legal adviser.")
    assert len({plain, pirate, formal}) == 3
    assert "pirate captain" in pirate
    assert "legal adviser" in formal
    assert len(answer("help me plan a party", system="Be concise.")) <= len(answer("help me plan a party"))
    assert json.loads(answer(question, system="Always respond in JSON."))["demo"] is True
    assert answer(question, system="Answer in German.").startswith("Gern!")


@pytest.mark.parametrize("agent", BUILT_IN, ids=lambda agent: agent["slug"])
def test_the_built_in_suggestions_get_more_than_a_shrug(agent: dict[str, Any]) -> None:
    for suggestion in agent["suggestions"]:
        text = answer(suggestion.split("\n")[1], system=agent["system_prompt"])
        assert "without knowledge" not in text, suggestion
        assert "Choose a real model" not in text, suggestion
        assert len(text) > 60


def test_it_remembers_the_conversation() -> None:
    assert "Sam" in answer("Hi, my name is Sam.", "Nice to meet you.", "What is my name?")
    assert "not told" in answer("What is my name?")
    assert "How do magnets work" in answer("How do magnets work?", "…", "What did I ask before?")
    assert "3rd" in answer("a", "b", "c", "d", "How many questions did I ask?")
    recap = answer("one apple", "x", "two pears", "y", "Summarise our conversation so far")
    assert "one apple" in recap
    assert "two pears" in recap
    assert "sorry" not in answer("I'm sorry, what is my name?").lower()


def test_the_same_question_gets_the_same_words_and_others_get_others() -> None:
    assert answer("Tell me about boats") == answer("Tell me about boats")
    assert len({answer(f"Tell me about {thing}") for thing in ("boats", "bees", "bread", "bells")}) == 4
    varied = {answer("Tell me about boats", temperature=step / 10) for step in range(10)}
    assert len(varied) > 1


@pytest.mark.parametrize("words", [30, 200, 5000])
def test_long_replies_have_the_words_asked_for(words: int) -> None:
    text = answer(f"Write {words} words about lighthouses")
    body = text.split("*\n\n", 1)[1]
    assert len(re.sub(r"^## ", "", body, flags=re.M).split()) == words
    assert "Lighthouses" in text


@pytest.mark.parametrize("kind", ["line", "bar", "pie", "scatter"])
@pytest.mark.parametrize("agent", BUILT_IN, ids=lambda agent: agent["slug"])
def test_a_chart_is_shown_with_its_table_and_key_figures(kind: str, agent: dict[str, Any]) -> None:
    text = answer(f"Show me a {kind} chart of our sales", system=agent["system_prompt"])
    parts = split(text)
    assert [part["type"] for part in parts if part["type"] != "text"] == ["chart", "table", "component"]
    chart, table = (next(part for part in parts if part["type"] == name) for name in ("chart", "table"))
    assert (chart["chart"], chart["title"]) == (kind, "Sales")
    assert table["rows"] == [list(row) for row in zip(chart["x"], chart["series"][0]["values"], strict=True)]
    assert "invented" in parts[0]["text"]
    assert answer(f"Show me a {kind} chart of our sales", system=agent["system_prompt"]) == text


def test_a_chart_of_ones_own_figures_invents_nothing() -> None:
    parts = split(answer("Plot 3, -4.5 and 12"))
    assert next(part for part in parts if part["type"] == "chart")["series"][0]["values"] == [3, -4.5, 12]
    assert "invented" not in parts[0]["text"]


def test_components_are_shown() -> None:
    parts = split(answer("Show me a timeline"))
    assert [part["name"] for part in parts if part["type"] == "component"] == [
        "timeline", "steps", "progress", "callout",
    ]  # fmt: skip


def test_the_analyst_is_told_blocks_that_are_valid() -> None:
    prompt = next(agent for agent in BUILT_IN if agent["slug"] == "analyst")["system_prompt"]
    assert [part["type"] for part in split(prompt) if part["type"] != "text"] == ["chart", "table", "component"]
    assert all(name in prompt for name in COMPONENTS)


def test_only_the_thinker_reasons_and_it_does_so_first() -> None:
    found = events(talk("12*37"), "demo/thinker")
    kinds = [event.kind for event in found]
    assert kinds[0] == "reasoning"
    assert kinds == sorted(kinds, key=["reasoning", "text", "finish"].index)
    assert not said(events(talk("12*37")), "reasoning")


def test_a_tool_is_called_where_one_is_offered() -> None:
    found = events(talk("Please use a tool for Paris, 3 days"), tools=TOOLS)
    call = found[-2].tool_call
    assert call
    assert call["function"]["name"] == "get_weather"
    assert json.loads(call["function"]["arguments"])["days"] == 3
    assert found[-1].finish_reason == "tool_calls"
    assert events(talk("use get_weather"), tools=TOOLS)[-1].finish_reason == "tool_calls"
    assert events(talk("hello"), tools=TOOLS)[-1].finish_reason == "stop"
    assert "no tools" in answer("use a tool")


def test_what_a_tool_answered_is_told_word_for_word() -> None:
    messages = [
        *talk("use a tool"),
        {"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]},
        {"role": "tool", "tool_call_id": "1", "content": "sunny, 21 degrees"},
    ]
    assert "sunny, 21 degrees" in said(events(messages, tools=TOOLS))


@pytest.mark.parametrize(
    ("question", "status", "after"),
    [("fail", 500, None), ("fail 429", 429, 5.0), ("Fail 401.", 401, None), ("please fail 503", 503, None)],
)
def test_failures_on_request(question: str, status: int, after: float | None) -> None:
    with pytest.raises(demo.DemoFailure) as failure:
        answer(question)
    assert failure.value.status == status
    assert failure.value.retry_after == after


@pytest.mark.parametrize("question", ["Why did the deploy fail?", "slow cooker recipes", "How do I cut costs?"])
def test_ordinary_questions_do_not_fail(question: str) -> None:
    assert events(talk(question))[-1].finish_reason == "stop"


def test_a_failure_in_mid_reply_comes_after_words() -> None:
    found: list[demo.DemoEvent] = []
    with pytest.raises(demo.DemoFailure):
        asyncio.run(collect(talk("fail midway"), "demo/assistant", found))
    assert len(said(found)) > 100


@pytest.mark.parametrize("again", [[], ["Continue"], [CONTINUE_PROMPT]])
def test_a_cut_reply_can_be_continued_to_the_very_word(again: list[str]) -> None:
    found: list[demo.DemoEvent] = []
    with pytest.raises(demo.DemoCut):
        asyncio.run(collect(talk("cut"), "demo/assistant", found))
    first = said(found)
    second = answer("cut", first, *again)
    assert (first + second).endswith("what Continue is for.")
    assert len(first + second) > 1.3 * len(first)


@settings(max_examples=30)
@given(st.integers(1, 200), st.booleans())
def test_a_reply_ended_by_max_tokens_goes_on_where_it_stopped(tokens: int, stripped: bool) -> None:
    whole = answer("Write 120 words about rivers")
    part = answer("Write 120 words about rivers", max_tokens=tokens)
    assert demo.count_tokens(part) <= tokens
    if part == whole:
        return
    part = part.rstrip() if stripped else part
    rest = answer("Write 120 words about rivers", part, "continue")
    assert re.sub(r"\s+", " ", part + rest) == re.sub(r"\s+", " ", whole)


def test_a_reply_in_three_parts_is_whole() -> None:
    question = "Write 120 words about rivers"
    whole = answer(question)
    parts = [answer(question, max_tokens=50).strip()]
    parts.append(answer(question, parts[0], CONTINUE_PROMPT, max_tokens=50).strip())
    parts.append(answer(question, parts[0], CONTINUE_PROMPT, parts[1], CONTINUE_PROMPT))
    assert "".join("".join(parts).split()) == "".join(whole.split())
    assert "all of it" in answer(question, whole, CONTINUE_PROMPT)


def test_max_tokens_ends_with_length() -> None:
    found = events(talk("Write 500 words about rivers"), max_tokens=20)
    assert found[-1].finish_reason == "length"
    thinker = events(talk("12*37"), "demo/thinker", max_tokens=10)
    assert demo.count_tokens(said(thinker, "reasoning")) <= 10
    assert said(thinker) == ""


def test_a_conversation_too_long_for_the_window_is_refused() -> None:
    with pytest.raises(demo.DemoFailure, match="maximum context length") as failure:
        answer("word " * 20_000, model="demo/quick")
    assert failure.value.status == 400


def test_usage_has_the_shape_of_openai() -> None:
    found = demo.usage(talk("12345678"), "1234", "12345")
    assert found["prompt_tokens"] == 4 + 2
    assert found["completion_tokens"] == 1 + 2
    assert found["total_tokens"] == 9
    assert found["completion_tokens_details"]["reasoning_tokens"] == 2


def test_a_title_is_a_title() -> None:
    text = answer("How do I bake sourdough bread?", system="Give a title for this conversation, at most six words.")
    assert 1 <= len(text.split()) <= 6


def test_pace_is_natural_and_slow_is_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    monkeypatch.setattr("chatcore.gateway.demo.speech.asyncio.sleep", sleep)

    async def run(question: str) -> str:
        waits.clear()
        return "".join([event.text async for event in demo.reply("demo/assistant", talk(question))])

    words = len(asyncio.run(run("Tell me about boats")).split())
    assert 15 <= words / sum(waits[1:]) <= 40
    assert waits[0] < 1
    asyncio.run(run("slow"))
    assert waits[0] == 8
    asyncio.run(run("slow 20"))
    assert waits[0] == 20
    asyncio.run(run("write 5000 words about boats"))
    assert sum(waits) <= 90


@settings(max_examples=200, deadline=1000)
@given(st.text(max_size=300), st.sampled_from([model.name for model in demo.DEMO_MODELS]))
def test_whatever_is_asked_gets_an_answer(text: str, model: str) -> None:
    found: list[demo.DemoEvent] = []
    try:
        asyncio.run(collect(talk(text), model, found))
    except (demo.DemoFailure, demo.DemoCut):
        assert re.match(r"(?:please\s+)?(?:fail|cut|stall)", text.strip(), re.I)
        return
    assert found[-1].kind == "finish"
    assert said(found).strip()


def test_a_long_hostile_text_takes_no_time() -> None:
    for text in ("(" * 5000, "1+" * 5000, "a " * 20_000, "my name is " * 2000, "compare " * 3000, "-1" * 4000):
        start = time.perf_counter()
        events(talk(text), "demo/thinker")
        assert time.perf_counter() - start < 5.0, text[:10]


def test_every_kind_of_reply_can_be_reached() -> None:
    assert len({name for name, _ in REPLIES}) == len(REPLIES)
    assert set(LANGUAGES) == {language for language, _ in SNIPPETS}
    assert {task for _, task in SNIPPETS} == set(TASKS)


def run(*command: str, stdin: str = "") -> str:
    return subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=60, check=True).stdout


@pytest.mark.parametrize(("language", "task"), list(SNIPPETS))
def test_snippets_say_what_they_print(language: str, task: str, tmp_path: Path) -> None:
    source = SNIPPETS[language, task]
    runners: dict[str, tuple[str, Callable[[Path], str]]] = {
        "python": ("python3", lambda path: run("python3", str(path))),
        "javascript": ("node", lambda path: run("node", str(path))),
        "bash": ("bash", lambda path: run("bash", str(path), stdin="the cat the hat")),
        "go": ("go", lambda path: run("go", "run", str(path))),
        "rust": ("rustc", lambda path: run("rustc", "-o", f"{path}.out", str(path)) + run(f"{path}.out")),
    }
    if language == "sql":
        run_sql(source)
        return
    if language not in runners or not shutil.which(runners[language][0]):
        pytest.skip(f"nothing here runs {language}")
    suffix = {"python": "py", "javascript": "js", "bash": "sh", "go": "go", "rust": "rs"}[language]
    path = tmp_path / f"snippet.{suffix}"
    path.write_text(source)
    printed = runners[language][1](path).strip()
    promised = re.search(r"(?:print|console\.log|Println|println!)\(.*(?:#|//) (.+)", source)
    if promised:
        assert printed == promised.group(1).strip()
    else:
        assert printed


def run_sql(source: str) -> None:
    with sqlite3.connect(":memory:") as connection:
        connection.execute("CREATE TABLE orders (customer TEXT, amount INTEGER)")
        connection.executemany("INSERT INTO orders VALUES (?, ?)", [("a", 5), ("b", 7), ("a", 4), ("c", 0)])
        assert connection.execute(source).fetchall()[0] in {("a", 9, 2), (1, 0)}
    connection.close()


# --- pictures -------------------------------------------------------------------------------------------------------


def shown(*urls: str) -> str:
    parts = [{"type": "image_url", "image_url": {"url": url}} for url in urls]
    return said(events([{"role": "user", "content": [{"type": "text", "text": "What is this?"}, *parts]}]))


def test_a_picture_is_named_by_what_its_header_says() -> None:
    dot = "R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7"
    text = shown(f"data:image/png;base64,{dot}")
    assert "a GIF of 1 × 1 pixels" in text, "the content counts, not what the address says"
    assert "does not see" in text


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("https://example.com/a.png", "the address of only"),
        ("data:image/png;base64,!!!", "cannot be read"),
        ("data:image/png;base64,aGVsbG8=", "cannot be read"),
        ("data:image/png;base64,", "cannot be read"),
    ],
)
def test_what_is_no_picture_breaks_nothing(url: str, told: str) -> None:
    assert told in shown(url)
