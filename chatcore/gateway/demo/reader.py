"""What a demo model takes from the conversation before it answers: question, role, tone, names, what came before."""

import random
import re
from collections import Counter
from dataclasses import dataclass
from typing import Any, Final

from chatcore.gateway.demo.pictures import described

Message = dict[str, Any]

_ROLE = re.compile(r"\byou(?:'re| are) (?:an?|the|our|my) ([^.,;:!\n]{3,60})", re.I)
_NAME = re.compile(r"\b(?:my name(?:'s| is)|call me|(?:i am|i'm) called)\s+([A-Z][\w'-]{1,30})", re.I)
_I_AM = re.compile(r"\b(?:[Ii] am|[Ii]'m)\s+([A-Z][a-z'-]{1,30})\b(?!\s+[a-z]+ing\b)")
_CONTINUE = re.compile(r"\s*(?:please\s+)?(?:continue|go on|carry on|keep going|weiter)\b.{0,120}", re.I | re.S)
_WORD = re.compile(r"[^\W\d_][\w'-]{2,}")

_COMMON: Final = """
about above after again all also and any anything are around ask back because been before being between both but can
can't cannot come could did didn't does doesn't doing don't down each either else even ever every few for from get
give given gives going good had has have having help her here him his how however i'd i'll i'm i've into isn't it's
its just know let let's like long look made make many may maybe mean might more most much must need new not now off
okay one only other our out over own please put really said same say see shall she should show since some something
still such sure take tell than thanks that that's the their them then there there's these they thing things think
this those three through too two under until use used using very want was way well were what what's when where
which while who whom whose why will with without won't word words would write yes yet you you'd you'll you're your
improve name sorry explain describe create list table compare summarize summarise plan idea ideas draft code function
"""
_STOP_WORDS: Final = frozenset(_COMMON.split())

TONES: Final = {
    "brief": r"\b(?:concise|brief|briefly|terse|one sentence|few words|short (?:answers?|replies|sentences))\b",
    "formal": r"\b(?:formal|professional|business|polite|lawyer|legal|executive)\b",
    "friendly": r"\b(?:friendly|cheerful|warm|casual|playful|enthusiastic|encouraging)\b",
    "teacher": r"\b(?:teacher|tutor|teach|coach|mentor|socratic|professor|student|learn)\b",
    "pirate": r"\bpirate\b",
    "engineer": r"\b(?:engineer|developer|programmer|code review|reviewer|software|coding|coder)\b",
    "writer": r"\b(?:writer|editor|author|copywriter|poet|writing)\b",
    "analyst": r"\b(?:analyst|data scientist|analytical|statistic\w*|research\w*)\b",
    "json": r"\b(?:(?:respond|reply|answer|output)\b.{0,30}\bjson|json only)\b",
}

LANGUAGES: Final = {"German": "de", "French": "fr", "Spanish": "es", "Italian": "it"}


@dataclass(frozen=True)
class Reading:
    """A conversation, understood as far as a demo can.

    `question`: what is to be answered. `said`: words of the answer that are on the page already, where it is to be
    continued. `questions`: earlier ones, oldest first. `turn`: 1 for the first question.
    `pictures`: of those that came with the question, what can be said of each.
    """

    question: str
    said: str = ""
    system: str = ""
    role: str | None = None
    tones: frozenset[str] = frozenset()
    language: str | None = None
    name: str | None = None
    names_itself: bool = False
    questions: tuple[str, ...] = ()
    attachments: int = 0
    pictures: tuple[str, ...] = ()
    tool_results: tuple[str, ...] = ()
    temperature: float | None = None

    @property
    def turn(self) -> int:
        return len(self.questions) + 1

    @property
    def seed(self) -> str:
        return f"{self.question}|{self.turn}|{self.role}|{self.temperature}"

    @property
    def topic(self) -> str:
        """What it is about: the longest run of telling words, or what the earlier question was about."""
        return topic_of(self.question) or next((found for q in reversed(self.questions) if (found := topic_of(q))), "")


def text_of(message: Message) -> str:
    """The text of a message whose content is text, parts or nothing."""
    content = message.get("content")
    if isinstance(content, str):
        return content
    return "\n".join(str(part.get("text", "")) for part in content or [] if part.get("type") == "text")


def read(messages: list[Message], temperature: float | None = None) -> Reading:
    """Read a conversation in OpenAI's shape. An empty one reads as an empty question."""
    system = "\n".join(text_of(m) for m in messages if m.get("role") in {"system", "developer"})
    talk = [m for m in messages if m.get("role") in {"user", "assistant", "tool"}]
    talk, said = _continued(talk)
    asked = [text_of(m).strip() for m in talk if m.get("role") == "user"]
    role = _ROLE.search(system)
    return Reading(
        question=asked[-1] if asked else "",
        said=said,
        system=system,
        role=_clean_role(role.group(1)) if role else None,
        tones=frozenset(tone for tone, pattern in TONES.items() if re.search(pattern, system, re.I)),
        language=next(
            (code for name, code in LANGUAGES.items() if re.search(rf"\b(?:in|speak|use) {name}\b", system, re.I)), None
        ),
        name=next((found for text in reversed(asked) if (found := _name_in(text))), None),
        names_itself=bool(asked and _name_in(asked[-1])),
        questions=tuple(asked[:-1]),
        attachments=len(_attached(talk)),
        pictures=described(_attached(talk)),
        tool_results=_tool_results(talk),
        temperature=temperature,
    )


def _continued(talk: list[Message]) -> tuple[list[Message], str]:
    """Where the person asks to continue, the conversation as it was before, and what has been said since."""
    said: list[str] = []
    while talk:
        last = talk[-1]
        if last.get("role") == "assistant" and not last.get("tool_calls"):
            said.insert(0, text_of(last))
            talk = talk[:-1]
        elif last.get("role") == "user" and _CONTINUE.fullmatch(text_of(last)) and _answered(talk):
            talk = talk[:-1]
        else:
            break
    return talk, "".join(said)


def _answered(talk: list[Message]) -> bool:
    return len(talk) >= 3 and talk[-2].get("role") == "assistant" and bool(text_of(talk[-2]).strip())


def _clean_role(role: str) -> str:
    return re.split(r"\b(?:who|that|which|with|named|called|and you|reviewing|writing|helping|working|for|at)\b", role)[
        0
    ].strip(" \"'*")


def _name_in(text: str) -> str | None:
    found = _NAME.search(text) or _I_AM.search(text)
    return found.group(1).capitalize() if found else None


def _language_in(system: str) -> str | None:
    spoken = re.search(rf"\b(?:in|speak|use) ({'|'.join(LANGUAGES)})\b", system, re.I)
    return LANGUAGES[spoken.group(1).capitalize()] if spoken else None


def _attached(talk: list[Message]) -> list[dict[str, Any]]:
    last = next((m for m in reversed(talk) if m.get("role") == "user"), {})
    content = last.get("content")
    return [part for part in content if part.get("type") != "text"] if isinstance(content, list) else []


def _tool_results(talk: list[Message]) -> tuple[str, ...]:
    results: list[str] = []
    for message in reversed(talk):
        if message.get("role") != "tool":
            break
        results.insert(0, text_of(message))
    return tuple(results)


def key_words(text: str, count: int = 5) -> list[str]:
    """The words that tell most: frequent first, then as they stand."""
    words = [word for word in _WORD.findall(text) if word.lower() not in _STOP_WORDS]
    tally = Counter(word.lower() for word in words)
    seen: dict[str, str] = {}
    for word in words:
        seen.setdefault(word.lower(), word)
    ranked = sorted(seen, key=lambda word: (-tally[word], list(seen).index(word)))
    return [seen[word] for word in ranked[:count]]


def topic_of(text: str) -> str:
    """A short phrase for what the text is about, "" where nothing tells."""
    about = re.search(r"\b(?:about|regarding|on the subject of)\s+([^.?!,;\n]{3,60})", text, re.I)
    if about and key_words(about.group(1)):
        return re.sub(r"\s+(?:in|with|using)\s+\d+\s+\w+$", "", about.group(1).strip())
    best: list[str] = []
    run: list[str] = []
    for token in re.findall(r"[\w'-]+|[^\w\s]", text):
        if _WORD.fullmatch(token) and token.lower() not in _STOP_WORDS:
            run.append(token)
            # Of two runs of the same length the later one: objects follow their verbs.
            best = run[:4] if len(run) >= len(best) else best
        else:
            run = []
    return " ".join(best)


def says(reading: Reading, pattern: str) -> re.Match[str] | None:
    """Where the question holds the pattern, whatever the case."""
    return re.search(pattern, reading.question, re.I)


def pick(reading: Reading, choices: tuple[str, ...]) -> str:
    """One of the choices: always the same for the same question."""
    return random.Random(reading.seed).choice(choices)


def about(reading: Reading) -> str:
    """The topic, fit to stand in a sentence."""
    return reading.topic or "your question"
