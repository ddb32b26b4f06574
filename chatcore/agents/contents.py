"""What a person may write of an agent: checked before it is stored, and read back."""

import base64
import re
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any, Final

from chatcore.agents.pictures import MAX_BYTES, is_png
from chatcore.agents.values import VISIBILITIES, AgentTool, Content, Visibility
from chatcore.errors import InvalidInput

MAX_NAME: Final = 60
MAX_DESCRIPTION: Final = 300
MAX_PROMPT: Final = 50_000
MAX_SUGGESTIONS: Final = 6
MAX_HEADING: Final = 80
MAX_QUESTION: Final = 2_000
MAX_TOOLS: Final = 64
MAX_KNOWLEDGE: Final = 20
MAX_PEOPLE: Final = 500
MAX_TOKENS: Final = 1_000_000
MAX_NOTE: Final = 200
_MAX_MODEL: Final = 200
_MAX_ICON: Final = 10  # code points: a family of four has seven
_TOOL: Final = re.compile(r"[\w./:@-]{1,200}", re.ASCII)
_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]|[\ud800-\udfff]")
_OF_EMOJI: Final = ("So", "Sk", "Sm", "Mn", "Me", "Cf")


def checked(content: Content, *, unfinished: bool = False) -> dict[str, Any]:
    """The columns of an agent. `unfinished`: it need not have a name yet. Raises `InvalidInput`."""
    name = one_line(content.name)
    _within("An agent's name", name, MAX_NAME, least=0 if unfinished else 1)
    description, prompt = one_line(content.description), cleaned(content.system_prompt).strip()
    _within("An agent's description", description, MAX_DESCRIPTION)
    _within("A system prompt", prompt, MAX_PROMPT)
    if content.picture is not None and not (is_png(content.picture) and len(content.picture) <= MAX_BYTES):
        raise InvalidInput("This picture cannot be kept. Upload it again.")
    return {
        "name": name,
        "description": description,
        "icon": _icon(content.icon),
        "picture": content.picture,
        "system_prompt": prompt,
        "model": _model(content.model),
        "parameters": _parameters(content.parameters),
        "suggestions": _suggestions(content.suggestions),
        "tools": _tools(content.tools),
        "knowledge": _ids("knowledge bases", content.knowledge, MAX_KNOWLEDGE),
        "visibility": _visibility(content.visibility),
        "shared_with": _ids("people", content.shared_with, MAX_PEOPLE) if content.visibility == "people" else [],
    }


def content_of(values: Mapping[str, Any]) -> Content:
    """What stands in these columns, or in a version."""
    return Content(
        name=values["name"],
        description=values["description"],
        icon=values["icon"],
        picture=values["picture"],
        system_prompt=values["system_prompt"],
        model=values["model"],
        parameters=values["parameters"] or {},
        suggestions=tuple(values["suggestions"] or ()),
        tools=tools_of(values["tools"]),
        knowledge=tuple(values["knowledge"] or ()),
        visibility=values["visibility"],
        shared_with=tuple(values["shared_with"] or ()),
    )


def tools_of(stored: Sequence[Mapping[str, Any]] | None) -> tuple[AgentTool, ...]:
    """The tools as the column keeps them."""
    return tuple(AgentTool(one["name"], one.get("asks_first")) for one in stored or ())


def packed(values: Mapping[str, Any]) -> dict[str, Any]:
    """The columns as a version keeps them: JSON."""
    picture = values["picture"]
    return {**values, "picture": base64.b64encode(picture).decode() if picture else None}


def unpacked(kept: Mapping[str, Any]) -> Content:
    """The content of a version."""
    return content_of({**kept, "picture": base64.b64decode(kept["picture"]) if kept["picture"] else None})


def cleaned(text: str) -> str:
    """Without control characters and lone surrogates, which no database takes."""
    return _CONTROL.sub("", text.replace("\r\n", "\n"))


def one_line(text: str) -> str:
    """Cleaned, on one line."""
    return " ".join(cleaned(text).split())


def note(text: str) -> str:
    """The note of a version. Raises `InvalidInput`."""
    found = one_line(text)
    _within("A note", found, MAX_NOTE)
    return found


def _within(what: str, text: str, most: int, least: int = 0) -> None:
    if least <= len(text) <= most:
        return
    allowed = f"{least} to {most:,}" if least else f"at most {most:,}"
    raise InvalidInput(f"{what} has {allowed} characters; this one has {len(text):,}.")


def _icon(typed: str) -> str:
    icon = typed.strip()
    is_keycap = icon.endswith("\u20e3")
    fits = all(unicodedata.category(sign) in _OF_EMOJI or (is_keycap and sign in "0123456789#*") for sign in icon)
    shown = any(unicodedata.category(sign) in ("So", "Sm", "Me") for sign in icon)
    if icon and not (len(icon) <= _MAX_ICON and fits and shown):
        raise InvalidInput("An icon is one emoji, such as 🧭.")
    return icon


def _model(name: str | None) -> str | None:
    found = one_line(name or "")
    _within("A model's name", found, _MAX_MODEL)
    return found or None


def _parameters(given: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    temperature, most = given.get("temperature"), given.get("max_tokens")
    if temperature is not None:
        if isinstance(temperature, bool) or not isinstance(temperature, int | float) or not 0 <= temperature <= 2:
            raise InvalidInput("A temperature is a number from 0 to 2.")
        found["temperature"] = temperature
    if most is not None:
        if isinstance(most, bool) or not isinstance(most, int) or not 0 < most <= MAX_TOKENS:
            raise InvalidInput(f"The most tokens of a reply are a whole number from 1 to {MAX_TOKENS:,}.")
        found["max_tokens"] = most
    return found


def _suggestions(given: Sequence[str]) -> list[str]:
    found = []
    for one in given:
        heading, _, question = cleaned(one).partition("\n")
        heading, question = one_line(heading), question.strip()
        question = question or heading
        if not question:
            continue
        heading = heading or one_line(question)[:MAX_HEADING].strip()
        _within("The heading of a suggestion", heading, MAX_HEADING)
        _within("A suggestion", question, MAX_QUESTION)
        found.append(f"{heading}\n{question}")
    if len(found) > MAX_SUGGESTIONS:
        raise InvalidInput(f"An agent has at most {MAX_SUGGESTIONS} suggestions.")
    return found


def _tools(given: Sequence[AgentTool]) -> list[dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for tool in given:
        if not _TOOL.fullmatch(tool.name):
            raise InvalidInput("A tool's name has 1 to 200 letters, digits and . / : @ _ -")
        found[tool.name] = {"name": tool.name, "asks_first": tool.asks_first}
    if len(found) > MAX_TOOLS:
        raise InvalidInput(f"An agent has at most {MAX_TOOLS} tools.")
    return list(found.values())


def _ids(what: str, given: Sequence[str], most: int) -> list[str]:
    found = list(dict.fromkeys(given))
    if not all(_ID.fullmatch(one) for one in found):
        raise InvalidInput(f"Some of the {what} are unknown. Choose them again.")
    if len(found) > most:
        raise InvalidInput(f"At most {most} {what} can be chosen.")
    return found


def _visibility(given: str) -> Visibility:
    for one in VISIBILITIES:
        if one == given:
            return one
    raise InvalidInput(f"Who may use an agent is one of {', '.join(VISIBILITIES)}.")
