"""`auto`: which purpose a question is of, what only looks like it, and what is taken where a model cannot be used."""

import time
from collections.abc import Callable
from dataclasses import replace
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatcore.config_file import Purpose
from chatcore.gateway.aliases import PURPOSES
from chatcore.gateway.choice import LONG, SHORT, Task, judge, pick

PROSE = "The harbour was quiet that morning and the boats lay still. "
ESSAY = "Please read this and tell me what you think. " + PROSE * 25
CODE = "What does this do?\n```python\ndef total(rows):\n    return sum(row.amount for row in rows)\n```"

# Question → purpose. Each stands for many like it.
QUESTIONS: list[tuple[str, Purpose]] = [
    # short and plain
    ("Hi", "fast"),
    ("", "fast"),
    ("What is the capital of Peru?", "fast"),
    ("Translate 'good morning' into Finnish", "fast"),
    ("Who wrote Middlemarch, and when?", "fast"),
    ("Wie spät ist es in Tokio?", "fast"),
    ("请用一句话介绍北京。", "fast"),
    ("Thanks! One more: what's the plural of octopus?", "fast"),
    ("Give me a synonym for 'quick'", "fast"),
    ("How much is a coffee at $5 and a cake at $3?", "fast"),
    ("What is 12 * 30?", "fast"),
    # everyday: longer than a line, nothing hard about it
    ("Write a friendly email to my landlord that the heating is off again. " + PROSE * 2, "balanced"),
    ("Summarise what happened yesterday in the meeting for somebody who was not there. " + PROSE * 2, "balanced"),
    # reasoning
    ("Prove that there are infinitely many primes", "reasoning"),
    ("Give me a proof of Pythagoras", "reasoning"),
    ("Derive the formula for compound interest", "reasoning"),
    ("Explain step by step how TLS works", "reasoning"),
    ("Think carefully: which of the two is heavier?", "reasoning"),
    ("What are the trade-offs between SQL and NoSQL?", "reasoning"),
    ("What is the root cause of inflation?", "reasoning"),
    ("Why does ice float?", "reasoning"),
    ("How many ways can eight queens stand on a board?", "reasoning"),
    ("What is the probability of two sixes?", "reasoning"),
    ("SOLVE THIS PUZZLE: a farmer, a wolf, a goat", "reasoning"),
    ("Optimise this route for me", "reasoning"),
    ("Optimize this route for me", "reasoning"),
    ("Solve x^2 - 5x + 6 = 0", "reasoning"),
    ("x^2 + y^2 with x = 3", "reasoning"),
    ("What is 12 + 30 = ?", "reasoning"),
    ("What is 3 + 4 * 5", "reasoning"),
    ("18/3+2", "reasoning"),
    ("Is 2-1=1", "reasoning"),
    (r"Evaluate \int_0^1 e^x dx", "reasoning"),
    (r"What is \frac{1}{2} of 10?", "reasoning"),
    ("Explain $$ e^{i\\pi} + 1 = 0 $$", "reasoning"),
    ("∫ sin x", "reasoning"),
    ("What does y ** 2 mean", "reasoning"),
    # complex
    (ESSAY, "balanced"),
    (CODE, "balanced"),
    ("Why is this wrong?\nfor (int i = 0; i < n; i++) {\n  total += i;\n}\n", "balanced"),
    ("It fails:\nTraceback (most recent call last):\n  File x, line 3\nKeyError: 'a'", "balanced"),
    ("SELECT name\nFROM people\nWHERE age > 3\nORDER BY name;\n-- is there an index I need", "balanced"),
    ("Do this:\n- buy milk\n- buy bread\n- buy tea", "balanced"),
    ("1. Name a river\n2. Name a hill\n3. Name a town", "balanced"),
    ("1) Name a river\n2) Name a hill\n3) Name a town", "balanced"),
    ("Who is she? Where is she from? What does she do?", "balanced"),
    # both
    ("Prove it. " + PROSE * 25, "powerful"),
    ("Find the root cause:\n" + CODE, "powerful"),
    ("Solve these:\n1. x + 1 = 2\n2. x + 2 = 3\n3. x + 3 = 4", "powerful"),
    ("Is it true? Can you prove it? Who did first?", "powerful"),
]

# What only looks like a formula, code, a list or a hard question.
NEAR_MISSES: list[tuple[str, Purpose]] = [
    ("Is $5 * 3 a good price?", "fast"),
    ("What happened on 2024-01-15?", "fast"),
    ("What happened on 12/31/1999?", "fast"),
    ("Whose number is 555-123-4567?", "fast"),
    ("Is a 4-4-2 better than a 3-5-2?", "fast"),
    ("Find me a $$ restaurant in Rome", "fast"),
    ("Are $$ or $$$ hotels better?", "fast"),
    ("Plan a **3** day trip", "fast"),
    ("Can I improve my spelling?", "fast"),
    ("Is this watch waterproof?", "fast"),
    ("What is dissolved in sea water?", "fast"),
    ("Where is biological waste taken?", "fast"),
    ("`import this` in one line?", "fast"),
    ("def f(x): return x", "fast"),
    ("const f = x => x;", "fast"),
    ("Two points:\n- milk\n- tea", "fast"),
    ("Well - who knows - maybe - not", "fast"),
    ("Really???", "fast"),
    ("What?? No way?!?", "fast"),
    ("Dear Tom,\nI am well\nand you\nyours", "fast"),
]


@pytest.mark.parametrize(("question", "purpose"), QUESTIONS, ids=lambda value: value[:32])
def test_questions_go_where_they_belong(question: str, purpose: Purpose) -> None:
    chosen = judge(Task(question))
    assert chosen.purpose == purpose, chosen.why


@pytest.mark.parametrize(("question", "purpose"), NEAR_MISSES, ids=lambda value: value[:32])
def test_near_misses_are_not_taken_for_more_than_they_are(question: str, purpose: Purpose) -> None:
    chosen = judge(Task(question))
    assert chosen.purpose == purpose, chosen.why


def test_the_lengths_are_those_that_the_rule_says() -> None:
    assert judge(Task("x" * SHORT)).purpose == "fast"
    assert judge(Task("x" * (SHORT + 1))).why == "It is an everyday question."
    assert judge(Task("x" * (LONG - 1))).why == "It is an everyday question."
    assert judge(Task("x" * LONG)).why == "It is complex (long)."


@pytest.mark.parametrize("extra", [{"images": 1}, {"sounds": 1}, {"files": 1}])
def test_attachments_make_it_complex(extra: dict[str, int]) -> None:
    chosen = judge(Task("What is this?", **extra))
    assert (chosen.purpose, chosen.why) == ("balanced", "It is complex (attachments).")


def test_tools_make_it_complex() -> None:
    chosen = judge(Task("Weather in Rome", tools=True))
    assert (chosen.purpose, chosen.why) == ("balanced", "It is complex (tools).")


@pytest.mark.parametrize(("wanted", "purpose"), [(1, "fast"), (500, "fast"), (501, "balanced"), (None, "balanced")])
def test_who_wants_the_first_word_soon_gets_a_fast_model(wanted: int | None, purpose: Purpose) -> None:
    assert judge(Task(ESSAY, wanted_ms=wanted)).purpose == purpose


def test_reasoning_is_worth_the_wait() -> None:
    assert judge(Task("Prove it", wanted_ms=100)).purpose == "reasoning"
    assert judge(Task("Prove it", wanted_ms=100, tools=True)).purpose == "powerful"


@pytest.mark.parametrize(
    ("task", "why"),
    [
        (Task("Hi"), "It is a short question."),
        (Task("x" * 500), "It is an everyday question."),
        (Task("Please Prove it"), "It needs reasoning (“prove”)."),
        (Task("1 + 2 = 3"), "It needs reasoning (a formula)."),
        (Task("Hi", wanted_ms=300), "The first word is wanted within 300 ms."),
        (Task(CODE), "It is complex (code)."),
        (Task("A? B? C?"), "It is complex (several parts)."),
        (Task(CODE + " A? B? C?", files=2, tools=True), "It is complex (code, several parts, attachments, tools)."),
        (Task("Solve it", images=1), "It needs reasoning (“solve”) and is complex (attachments)."),
    ],
)
def test_the_sentence_says_why(task: Task, why: str) -> None:
    assert judge(task).why == why


@given(st.text(max_size=400), st.booleans(), st.integers(0, 2), st.sampled_from([None, 100, 900]))
def test_whatever_is_asked_there_is_a_purpose_and_a_sentence(
    text: str, tools: bool, images: int, wanted: int | None
) -> None:
    task = Task(text, images=images, tools=tools, wanted_ms=wanted)
    chosen = judge(task)
    assert chosen.purpose in PURPOSES
    assert chosen.why.endswith(".")
    assert judge(replace(task)) == chosen, "the same question is judged the same"


@pytest.mark.parametrize("text", ["\n", " ", "1", "a ", "{ ", "- ", "\n- ", "1+", "\n\t", "$$", "?", "import ", ";\n"])
def test_the_longest_message_is_judged_in_a_moment(text: str) -> None:
    """A message may have 200,000 characters, and whoever judges it holds up the whole process."""
    message = (text * 200_000)[:200_000] + "x"
    began = time.process_time()
    judge(Task(message))
    assert time.process_time() - began < 1.0


# --- what can be used now -------------------------------------------------------------------------------------------

ASKED: dict[Purpose, Task] = {
    "fast": Task("Hi"),
    "balanced": Task("x" * 500),
    "powerful": Task("Solve it", tools=True),
    "reasoning": Task("Prove it"),
}
NEAREST: dict[Purpose, list[Purpose]] = {
    "fast": ["fast", "balanced", "powerful", "reasoning"],
    "balanced": ["balanced", "fast", "powerful", "reasoning"],
    "powerful": ["powerful", "reasoning", "balanced", "fast"],
    "reasoning": ["reasoning", "powerful", "balanced", "fast"],
}
SOME = [set(some) for count in range(1, 5) for some in combinations(PURPOSES, count)]


def among(usable: set[Purpose]) -> Callable[[Purpose], bool]:
    return lambda purpose: purpose in usable


@pytest.mark.parametrize("usable", SOME, ids=lambda some: "+".join(sorted(some)))
@pytest.mark.parametrize("purpose", PURPOSES)
def test_the_nearest_that_can_be_used_is_picked(purpose: Purpose, usable: set[Purpose]) -> None:
    task = ASKED[purpose]
    chosen = pick(task, among(usable))
    assert chosen is not None
    assert chosen.purpose == next(one for one in NEAREST[purpose] if one in usable)
    why = judge(task).why
    instead = "" if purpose in usable else f" The {purpose} model cannot be used now."
    assert chosen.why == why + instead


def test_where_none_can_be_used_none_is_picked() -> None:
    assert pick(Task("Hi"), among(set())) is None


def test_what_is_not_needed_is_not_looked_at() -> None:
    looked: list[Purpose] = []

    def usable(purpose: Purpose) -> bool:
        looked.append(purpose)
        return purpose == "balanced"

    assert pick(ASKED["fast"], usable)
    assert looked == ["fast", "balanced"]
