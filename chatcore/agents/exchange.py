"""Agents as JSON: `chatcore.agent`, version 1 (docs/agents.md). No ids leave, and none are taken in."""

import base64
import binascii
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, NoReturn

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from chatcore.agents import contents
from chatcore.agents.pictures import MAX_BYTES, square
from chatcore.agents.values import AgentTool, Content
from chatcore.errors import InvalidInput

FORMAT: Final = "chatcore.agent"
MAX_IMPORT: Final = 2**20  # bytes
_SHOWN: Final = 5  # problems in one sentence
_WORDS: Final = 60  # characters of what a file calls something


@dataclass(frozen=True)
class Allowed:
    """What an importer may use. `tools`: names; `knowledge`: ids of knowledge bases, each with its name; `models`."""

    tools: Collection[str] = ()
    knowledge: Mapping[str, str] | None = None
    models: Collection[str] = ()


@dataclass(frozen=True)
class Imported:
    """An agent that was taken in. `left_out`: a sentence for each thing that was not."""

    agent_id: str
    name: str
    left_out: tuple[str, ...]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class _Tool(_Strict):
    name: str = Field(max_length=200)
    asks_first: bool | None = None


class _Suggestion(_Strict):
    title: str = ""
    text: str


class _Agent(_Strict):
    name: str
    description: str = ""
    icon: str = ""
    picture: str | None = Field(default=None, max_length=MAX_BYTES * 2)
    system_prompt: str = ""
    model: str | None = None
    parameters: dict[str, Any] = Field(default_factory=dict, max_length=20)
    tools: list[_Tool] = Field(default_factory=list, max_length=contents.MAX_TOOLS)
    knowledge: list[str] = Field(default_factory=list, max_length=contents.MAX_KNOWLEDGE)
    suggestions: list[_Suggestion] = Field(default_factory=list, max_length=contents.MAX_SUGGESTIONS)


class _File(_Strict):
    format: Literal["chatcore.agent"]
    version: Literal[1]
    agent: _Agent


def written(content: Content, knowledge: Mapping[str, str]) -> bytes:
    """The agent as JSON in UTF-8, without who may use it. `knowledge`: names of knowledge bases by id; those without
    one are left out."""
    agent = {
        "name": content.name,
        "description": content.description,
        "icon": content.icon,
        "picture": base64.b64encode(content.picture).decode() if content.picture else None,
        "system_prompt": content.system_prompt,
        "model": content.model,
        "parameters": dict(content.parameters),
        "tools": [{"name": one.name, "asks_first": one.asks_first} for one in content.tools],
        "knowledge": [knowledge[one] for one in content.knowledge if one in knowledge],
        "suggestions": [
            {"title": heading, "text": question}
            for heading, _, question in (one.partition("\n") for one in content.suggestions)
        ],
    }
    return json.dumps({"format": FORMAT, "version": 1, "agent": agent}, ensure_ascii=False, indent=2).encode() + b"\n"


def read(data: bytes, allowed: Allowed) -> tuple[Content, tuple[str, ...]]:
    """The agent of a file, for its importer alone, and a sentence for each thing that they may not use or that is
    not here. Raises `InvalidInput` with what is wrong with the file."""
    agent = _parsed(data)
    left_out: list[str] = []
    tools = []
    for tool in agent.tools:
        if tool.name in allowed.tools:
            tools.append(AgentTool(tool.name, tool.asks_first))
        else:
            left_out.append(f"The tool {_quoted(tool.name)} is not here, or not yours to use.")
    model = agent.model or None
    if model and model not in allowed.models:
        left_out.append(f"The model {_quoted(model)} is not here, or not yours to use. Who asks chooses one.")
        model = None
    found = Content(
        name=agent.name, description=agent.description, icon=agent.icon, picture=_picture(agent.picture),
        system_prompt=agent.system_prompt, model=model, parameters=_parameters(agent.parameters),
        tools=tuple(tools), knowledge=_knowledge(agent.knowledge, allowed.knowledge or {}, left_out),
        suggestions=tuple(f"{contents.one_line(one.title)}\n{one.text}" for one in agent.suggestions),
    )  # fmt: skip
    return found, tuple(left_out)


def _parsed(data: bytes) -> _Agent:
    if len(data) > MAX_IMPORT:
        raise InvalidInput("This file is too large for an agent: at most 1 MB is read.")
    try:
        raw = json.loads(data.decode("utf-8-sig"), parse_constant=_no_number, object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        raise InvalidInput("This file is no JSON that can be read. Choose a file that was exported here.") from error
    if not isinstance(raw, dict) or raw.get("format") != FORMAT:
        raise InvalidInput(f'This is no exported agent: its "format" is not "{FORMAT}".')
    if raw.get("version") != 1:
        raise InvalidInput("This agent was exported by a later Chatcore. Only version 1 of the form can be read here.")
    try:
        return _File.model_validate(raw).agent
    except ValidationError as error:
        raise InvalidInput(_problems(error)) from error


def _problems(error: ValidationError) -> str:
    found = error.errors(include_url=False, include_context=False, include_input=False)
    said = [f"{_short('.'.join(map(str, one['loc'])))}: {one['msg'][:200].lower()}" for one in found[:_SHOWN]]
    more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    return f"The agent in this file cannot be used: {'; '.join(said)}{more}."


def _parameters(given: Mapping[str, Any]) -> Mapping[str, Any]:
    unknown = sorted(set(given) - {"temperature", "max_tokens"})
    if unknown:
        raise InvalidInput(f"The parameter {_quoted(unknown[0])} of this agent is none that Chatcore knows.")
    return given


def _knowledge(wanted: list[str], known: Mapping[str, str], left_out: list[str]) -> tuple[str, ...]:
    found = []
    for name in wanted:
        ids = [one for one, called in known.items() if called == name]
        if len(ids) == 1:
            found.append(ids[0])
        elif ids:
            left_out.append(f"You have several knowledge bases called {_quoted(name)}: choose one yourself.")
        else:
            left_out.append(f"The knowledge base {_quoted(name)} is not here, or not yours to use.")
    return tuple(found)


def _picture(encoded: str | None) -> bytes | None:
    """Drawn anew: what else may be in a file does not come along."""
    if not encoded:
        return None
    try:
        return square(base64.b64decode(encoded, validate=True))
    except binascii.Error as error:
        raise InvalidInput("The picture in this file is not in base64.") from error


def _quoted(name: str) -> str:
    return f"“{_short(name)}”"


def _short(name: str) -> str:
    line = contents.one_line(name)
    return line if len(line) <= _WORDS else f"{line[: _WORDS - 1]}…"


def _no_number(word: str) -> NoReturn:
    raise ValueError(f"{word} is no number")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name stands twice in one object")
    return found
