"""What `auto` chooses, and why. The whole rule stands in `judge`; docs/operations.md says it in words.

It looks at the question alone, never at who asks, and sends nothing anywhere. The words are English: in other languages
length, code, formulas and attachments decide.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from chatcore.config_file import Purpose
from chatcore.gateway.aliases import PURPOSES

SHORT: Final = 160  # characters up to which a question can be a simple one
LONG: Final = 1_200  # characters from which it is a complex one
QUICK_MS: Final = 500  # a wanted latency up to which only a fast model will do

# Whoever judges holds up the process, so none of these may look at a stretch of blanks from each of its places.
_CODE: Final = re.compile(
    r"```|^[ \t]*(?:def|class|import|from|function|SELECT|public|#include)\b|[{};][ \t\r]*$|=>|Traceback", re.MULTILINE
)
# Dates, telephone numbers, `$$` for a price and numbers in bold are no formulas.
_MATHS: Final = re.compile(
    r"\$\$(?=[^$]{1,400}\$\$)[^$]*?[\\^_=+]|\\(?:frac|int|sum|begin)|[∫∑√≤≥∞]|"
    r"\b\d+\s*(?:[+*^]\s*\d+\s*[-+*/^=]|[-/]\s*\d+\s*[+*^=]|\s[-/]\s+\d+\s+[-/]\s)|"
    r"\b[a-z](?:\s*\^\s*|\*\*| \*\* )\d"
)
_REASON: Final = re.compile(
    r"(?i)\b(?:prove|proof|derive|deduce|step[- ]by[- ]step|trade-?offs?|optimi[sz]e|root cause|why does|solve|"
    r"theorem|puzzle|logic(?:al)?|reason through|think (?:hard|carefully)|how many ways|probability)\b"
)
_PARTS: Final = re.compile(r"(?m)^[ \t]*(?:\d+[.)]|[-*])[ \t]+\S")
_QUESTIONS: Final = re.compile(r"\?[?!]*")
_NEAREST: Final[dict[Purpose, Sequence[Purpose]]] = {
    "fast": ("balanced", "powerful", "reasoning"),
    "balanced": ("fast", "powerful", "reasoning"),
    "powerful": ("reasoning", "balanced", "fast"),
    "reasoning": ("powerful", "balanced", "fast"),
}


@dataclass(frozen=True)
class Task:
    """What is asked, as far as the choice of a model goes.

    `wanted_ms`: the first word is wanted within. `embeds`: vectors are wanted, not words.
    """

    text: str = ""
    images: int = 0
    sounds: int = 0
    files: int = 0
    tools: bool = False
    embeds: bool = False
    wanted_ms: int | None = None


@dataclass(frozen=True)
class Chosen:
    """The purpose, and a sentence that says why."""

    purpose: Purpose
    why: str


def judge(task: Task) -> Chosen:
    """The purpose that a question is of.

    Needs reasoning: formulas, or words such as prove, solve, step by step. Complex: long (1,200 characters), code in
    more than a few lines, three points or questions, attachments, tools. Both → powerful; reasoning alone → reasoning;
    complex alone → balanced; short (160 characters) and neither → fast; all else → balanced. Where the first word is
    wanted within 500 ms → fast, unless it needs reasoning.
    """
    reasons, signs = _reasoning(task.text), _complexity(task)
    if reasons and signs:
        return Chosen("powerful", f"It needs reasoning ({reasons}) and is complex ({', '.join(signs)}).")
    if reasons:
        return Chosen("reasoning", f"It needs reasoning ({reasons}).")
    if task.wanted_ms is not None and task.wanted_ms <= QUICK_MS:
        return Chosen("fast", f"The first word is wanted within {task.wanted_ms} ms.")
    if signs:
        return Chosen("balanced", f"It is complex ({', '.join(signs)}).")
    if len(task.text) <= SHORT:
        return Chosen("fast", "It is a short question.")
    return Chosen("balanced", "It is an everyday question.")


def pick(task: Task, usable: Callable[[Purpose], bool]) -> Chosen | None:
    """The purpose whose model is to answer: the one of `judge`, else the nearest that is `usable`. None for none."""
    chosen = judge(task)
    for purpose in (chosen.purpose, *_NEAREST[chosen.purpose]):
        if usable(purpose):
            if purpose == chosen.purpose:
                return chosen
            return Chosen(purpose, f"{chosen.why} The {chosen.purpose} model cannot be used now.")
    return None


def _reasoning(text: str) -> str:
    if _MATHS.search(text):
        return "a formula"
    found = _REASON.search(text)
    return f"“{found[0].lower()}”" if found else ""


def _complexity(task: Task) -> list[str]:
    signs = []
    if len(task.text) >= LONG:
        signs.append("long")
    if _CODE.search(task.text) and task.text.count("\n") >= 3:
        signs.append("code")
    if len(_PARTS.findall(task.text)) >= 3 or len(_QUESTIONS.findall(task.text)) >= 3:
        signs.append("several parts")
    if task.images or task.sounds or task.files:
        signs.append("attachments")
    if task.tools:
        signs.append("tools")
    return signs


assert set(_NEAREST) == set(PURPOSES)
