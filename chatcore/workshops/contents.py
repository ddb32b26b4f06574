"""What a person may write of workshops: checked before it is stored, and read back."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from chatcore.agents.contents import cleaned, one_line
from chatcore.errors import InvalidInput
from chatcore.workshops.values import Content, Step

MAX_NAME: Final = 80
MAX_DESCRIPTION: Final = 300
MAX_PROMPT: Final = 20_000
MAX_GUIDANCE: Final = 4_000
MAX_STEPS: Final = 20
MAX_NOTES: Final = 20_000
_STEP_ID: Final = re.compile(r"[a-z0-9_-]{1,64}")
_AGENT: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")


def checked(content: Content) -> Content:
    """The content, cleaned. Raises `InvalidInput`."""
    if not 1 <= len(content.steps) <= MAX_STEPS:
        raise InvalidInput(f"A playbook has 1 to {MAX_STEPS} steps.")
    steps: list[Step] = []
    for number, step in enumerate(content.steps, 1):
        steps.append(_step(step, number, [one.id for one in steps]))
    return Content(
        name=_line("A playbook's name", content.name, MAX_NAME, least=1),
        description=_line("A playbook's description", content.description, MAX_DESCRIPTION),
        system_prompt=_text("The prompt for all steps", content.system_prompt, MAX_PROMPT),
        steps=tuple(steps),
    )


def packed(content: Content) -> dict[str, Any]:
    """The content as a column keeps it: JSON."""
    return {
        "name": content.name,
        "description": content.description,
        "system_prompt": content.system_prompt,
        "steps": [{**vars(step), "brings": list(step.brings)} for step in content.steps],
    }


def unpacked(kept: Mapping[str, Any]) -> Content:
    """The content of a column."""
    steps = tuple(Step(**{**step, "brings": tuple(step["brings"])}) for step in kept["steps"])
    return Content(kept["name"], kept["description"], kept["system_prompt"], steps)


def title(text: str) -> str:
    """The title of a session. Raises `InvalidInput`."""
    return _line("A workshop's title", text, MAX_NAME, least=1)


def notes(text: str) -> str:
    """Notes of a step, cleaned. Raises `InvalidInput`."""
    return _text("Notes", text, MAX_NOTES)


def step_id(text: str, taken: Sequence[str]) -> str:
    """A word for a step of this title that none of the others has."""
    word = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:50] or "step"
    number, found = 1, word
    while found in taken:
        number += 1
        found = f"{word}-{number}"
    return found


def _step(step: Step, number: int, earlier: Sequence[str]) -> Step:
    if not _STEP_ID.fullmatch(step.id):
        raise InvalidInput(f"The id of step {number} has 1 to 64 small letters, digits, hyphens and underscores.")
    if step.id in earlier:
        raise InvalidInput(f"Two steps have the id “{step.id}”. Give one of them another.")
    if any(one not in earlier for one in step.brings):
        raise InvalidInput(f"Step {number} can bring forward the notes of earlier steps only.")
    if step.agent_id is not None and not _AGENT.fullmatch(step.agent_id):
        raise InvalidInput(f"Step {number} has an agent that does not exist. Choose another.")
    return Step(
        id=step.id,
        title=_line(f"The title of step {number}", step.title, MAX_NAME, least=1),
        guidance=_text(f"The guidance of step {number}", step.guidance, MAX_GUIDANCE),
        system_prompt=_text(f"The prompt of step {number}", step.system_prompt, MAX_PROMPT),
        agent_id=step.agent_id,
        brings=tuple(one for one in earlier if one in step.brings),
    )


def _line(what: str, text: str, most: int, least: int = 0) -> str:
    return _within(what, one_line(text), most, least)


def _text(what: str, text: str, most: int) -> str:
    return _within(what, cleaned(text).strip(), most)


def _within(what: str, text: str, most: int, least: int = 0) -> str:
    if not least <= len(text) <= most:
        allowed = f"{least} to {most:,}" if least else f"at most {most:,}"
        verb = "have" if what == "Notes" else "has"
        raise InvalidInput(f"{what} {verb} {allowed} characters; there are {len(text):,}.")
    return text
