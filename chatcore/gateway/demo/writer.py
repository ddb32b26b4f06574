"""Composes a demo model's whole reply. Nothing here waits, fails or streams: `demo` does that with the `Draft`."""

import json
import random
import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Final

from chatcore.gateway.demo import blocks, talk, tools, work
from chatcore.gateway.demo.reader import Reading
from chatcore.gateway.demo.texts import CLOSINGS, GREETING_IN, OPENINGS

_FAIL = re.compile(r"(?:please\s+)?fail(?:\s+(?P<status>[45]\d\d))?(?P<midway>\s+midway)?", re.I)
_SLOW = re.compile(r"(?:please\s+)?slow(?:\s+(?P<seconds>\d{1,3}))?(?:\s*[:,]\s*(?P<rest>.+))?", re.I | re.S)
_CUT = re.compile(r"(?:please\s+)?(?P<how>cut|stall)(?:\s*[:,]\s*(?P<rest>.+))?", re.I | re.S)

FAILURES: Final = {
    401: "Incorrect API key provided. (The demo failed on request.)",
    403: "This key may not use this model. (The demo failed on request.)",
    404: "The model does not exist. (The demo failed on request.)",
    408: "Request timed out. (The demo failed on request.)",
    429: "Rate limit reached. Please try again in 5 seconds. (The demo failed on request.)",
    503: "The engine is currently overloaded. (The demo failed on request.)",
}


@dataclass(frozen=True)
class Draft:
    """A whole reply and how it is to go wrong. `stop_at`: characters after which it breaks off."""

    text: str = ""
    reasoning: str = ""
    tool_calls: list[dict[str, Any]] = field(default_factory=list)
    first_word_after: float = 0.35
    fail_status: int = 0
    fail_message: str = ""
    fail_midway: bool = False
    retry_after: float | None = None
    stop_at: int | None = None
    stalls: bool = False


def write(reading: Reading, model: str, offered: list[dict[str, Any]]) -> Draft:
    """The reply of `model` (a `demo/…` name) to a conversation. `offered`: tools, in OpenAI's shape."""
    if reading.said:
        return _continued(reading, model, offered)
    asked = reading.question.strip().rstrip(".!")
    if found := _FAIL.fullmatch(asked):
        return _failure(reading, int(found["status"] or 500), bool(found["midway"]))
    if found := _SLOW.fullmatch(asked):
        seconds = float(found["seconds"] or 8)
        draft = _plain(replace(reading, question=found["rest"] or f"That took {seconds:g} seconds"), model, offered)
        waited = f"That was the slow start you asked for: {seconds:g} seconds to the first word."
        text = f"{waited}\n\n{draft.text}" if found["rest"] else f"{waited} From here on it goes at the usual pace."
        return replace(draft, text=text, first_word_after=seconds)
    if found := _CUT.fullmatch(asked):
        text = talk.breaking_off(replace(reading, question=found["rest"] or ""), found["how"].lower())
        return Draft(text, stop_at=int(len(text) * 0.6), stalls=found["how"].lower() == "stall")
    return _plain(reading, model, offered)


def _failure(reading: Reading, status: int, midway: bool) -> Draft:
    message = FAILURES.get(status, "The server had an error. (The demo failed on request.)")
    text = talk.breaking_off(replace(reading, question=""), "fail") if midway else ""
    return Draft(
        text,
        fail_status=status,
        fail_message=message,
        fail_midway=midway,
        retry_after=5.0 if status == 429 else None,
        stop_at=int(len(text) * 0.6) if midway else None,
    )


def _continued(reading: Reading, model: str, offered: list[dict[str, Any]]) -> Draft:
    """What is missing of the reply that broke off. It is composed again, word for word, and the rest is said."""
    whole = write(replace(reading, said=""), model, offered).text
    place = _end_of(reading.said, whole)
    if place is not None and whole[place:].strip():
        return Draft(whole[place:])
    if place is not None:
        return Draft("That was all of it. Ask for another angle, or say `help`.")
    topic = reading.topic or "that"
    return Draft(f"\n\nTo go on with {topic}: {talk.angles(reading)}")


def _end_of(said: str, whole: str) -> int | None:
    """How far `said` reaches into `whole`; None where it is another text. White space may have been trimmed."""
    place = 0
    for character in "".join(said.split()):
        while place < len(whole) and whole[place].isspace():
            place += 1
        if place == len(whole) or whole[place] != character:
            return None
        place += 1
    # What was kept with its last space goes on after it.
    return place + (len(said) - len(said.rstrip()) if whole.startswith(said) else 0)


def _plain(reading: Reading, model: str, offered: list[dict[str, Any]]) -> Draft:
    if reading.tool_results:
        return Draft(_dressed(reading, tools.from_results(reading), model))
    if call := tools.tool_call(reading, offered):
        return Draft("", reasoning="The question asks for a tool, and one is offered. I call it.", tool_calls=[call])
    if not offered and (call := tools.shown_call(reading)):
        return Draft(_dressed(reading, tools.NO_TOOLS, model), tool_calls=[call])
    title = talk.title(reading)
    if title is not None:
        return Draft(title)
    name, text = next((name, text) for name, make in REPLIES if (text := make(reading)) is not None)
    if "json" in reading.tones:
        return Draft(json.dumps({"demo": True, "kind": name, "answer": text}, ensure_ascii=False, indent=2))
    whole = text if name in BARE else _dressed(reading, text, model)
    return Draft(whole, reasoning=_reasoning(reading, name))


def _dressed(reading: Reading, text: str, model: str) -> str:
    """The answer with the manner that the system prompt asks for around it."""
    chance = random.Random(reading.seed)
    if "brief" in reading.tones or model == "demo/quick":
        return "\n\n".join(text.split("\n\n")[:3]) if len(text) > 1200 and "```" not in text else text
    called = f", {reading.name}" if reading.name and not reading.names_itself else ""
    opening = [GREETING_IN[reading.language]] if reading.language else []
    tone = next((tone for tone in OPENINGS if tone in reading.tones), None)
    if tone:
        opening.append(chance.choice(OPENINGS[tone]).format(name=called))
    elif called and chance.random() < 0.5:
        opening.append(f"For you, {reading.name}:")
    if reading.role and not re.search(r"\bassistant\b", reading.role, re.I):
        opening.append(f"{chance.choice(('As your', 'Speaking as your'))} {reading.role}:")
    closing = next((chance.choice(CLOSINGS[tone]) for tone in CLOSINGS if tone in reading.tones), "")
    return "\n\n".join(part for part in (" ".join(opening), text, closing) if part)


def _reasoning(reading: Reading, name: str) -> str:
    steps = [f"The question is “{reading.question[:120].strip()}”."]
    if reading.role:
        steps.append(f"The system prompt makes me {reading.role}, so the manner follows that.")
    if reading.turn > 1:
        steps.append(
            f"It is question {reading.turn} of this conversation; the one before was “{reading.questions[-1][:80]}”."
        )
    if reading.name:
        steps.append(f"The person is called {reading.name}.")
    steps.append(f"Among the things I have rules for, it looks most like **{name}**.")
    steps.append(REASONS.get(name, "I compose it from what stands in the conversation and add nothing I cannot know."))
    steps.append("Then I check that I do not claim more than a demo can, and answer.")
    return " ".join(steps)


REASONS: Final = {
    "arithmetic": "I work it out with exact fractions, then once more backwards, and only then say the number.",
    "code": "I pick a snippet that is known to run, in the language asked for, and say what it does.",
    "long": "I plan sections first, then count words while writing, so that the total is exact.",
    "unknown": "It asks for knowledge of the world, which I do not have; saying so is the only honest answer.",
}

# The order is the order of asking: the first that has an answer gives it.
REPLIES: Final[tuple[tuple[str, Callable[[Reading], str | None]], ...]] = (
    ("empty", talk.nothing_asked),
    ("help", talk.help_text),
    ("identity", talk.identity),
    ("long", work.long_text),
    ("attachment", talk.attachments),
    ("memory", talk.memory),
    ("introduction", talk.introduction),
    ("greeting", talk.greeting),
    ("review", work.review),
    ("edit", work.edited),
    ("summary", work.summary),
    ("note", work.note),
    ("arithmetic", work.arithmetic),
    ("code", work.code),
    ("chart", blocks.chart),
    ("component", blocks.component),
    ("table", work.table),
    ("maths", work.maths),
    ("plan", work.plan),
    ("draft", work.drafted),
    ("small text", work.small_text),
    ("unknown", talk.unknown),
    ("reflection", talk.reflection),
)
BARE: Final = frozenset({"empty", "help", "identity", "long", "introduction"})
