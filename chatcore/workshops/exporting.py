"""A workshop as a PDF: every step with its guidance, notes and conversation, set as exported conversations are."""

import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from chatcore.conversations import Message
from chatcore.conversations.export.document import Document, body, counted, notes, one_line, when, who
from chatcore.conversations.export.pdf import COMPILER, MOST_CHARACTERS, MOST_MESSAGES, PAGE
from chatcore.conversations.export.typst_code import block, call, literal, words
from chatcore.conversations.export.typst_markdown import Renderer
from chatcore.conversations.export.typst_parts import part_content
from chatcore.conversations.parts import TextPart
from chatcore.errors import InvalidInput
from chatcore.workshops.values import Content, Notes

_SECONDS: Final = 60
_SHORT: Final = 70  # characters of the title above each page
_LEFT_OUT: Final = "The conversations are longer: only their newest messages are in this file."
_room = threading.BoundedSemaphore(2)  # a large document takes a core and hundreds of megabytes


@dataclass(frozen=True)
class Export:
    """A workshop as it is to be read outside Chatcore. By the steps' ids: `notes` that stand, `said`: the messages of
    the visible branch, `done`: when it was marked. `people`: names by user id; `models`: names as people read them.

    `cut`: older messages exist and are not in it.
    """

    title: str
    content: Content
    notes: Mapping[str, Notes]
    said: Mapping[str, tuple[Message, ...]]
    done: Mapping[str, datetime | None]
    taking_part: tuple[str, ...]
    people: Mapping[str, str]
    models: Mapping[str, str]
    made_at: datetime
    cut: bool = False


def to_pdf(export: Export) -> bytes:
    """The workshop on A4 pages. What the compiler refuses as Markdown is printed as it was written.

    Raises `InvalidInput` when it cannot be laid out within a minute.
    """
    with _room:
        pdf = _compiled(_source(export, plain=False)) or _compiled(_source(export, plain=True))
    if pdf is None:
        raise InvalidInput("This workshop cannot be laid out as a PDF.")
    return pdf


def fitting(said: Mapping[str, tuple[Message, ...]]) -> tuple[dict[str, tuple[Message, ...]], bool]:
    """As many of each step's newest messages as the file takes, and whether any were left out."""
    share, room = MOST_MESSAGES // max(len(said), 1), MOST_CHARACTERS // max(len(said), 1)
    kept, cut = {}, False
    for step_id, messages in said.items():
        some: list[Message] = []
        characters = 0
        for message in reversed(messages[-share:]):
            characters += len(message.content)
            if some and characters > room:
                break
            some.insert(0, message)
        kept[step_id] = tuple(some)
        cut = cut or len(some) < len(messages)
    return kept, cut


def _source(export: Export, *, plain: bool) -> str:
    renderer = Renderer()
    title = one_line(export.title) or "Workshop"
    short = title if len(title) <= _SHORT else title[: _SHORT - 1] + "…"
    date = f"{export.made_at.astimezone(UTC):%-d %B %Y}"
    below = " · ".join([
        f"Exported {when(export.made_at)}", one_line(export.content.name),
        f"{counted(len(export.taking_part), 'person', 'people')}: {', '.join(map(one_line, export.taking_part))}",
    ])  # fmt: skip
    missing = literal(_LEFT_OUT) if export.cut else "none"
    steps = [_step(export, number, renderer, plain=plain) for number in range(len(export.content.steps))]
    heads = (literal(title), literal(short), literal(date), words(below))
    return f"{PAGE}\n#{call('conversation', *heads, missing, block(steps))}\n"


def _step(export: Export, number: int, renderer: Renderer, *, plain: bool) -> str:
    step = export.content.steps[number]
    done = export.done.get(step.id)
    state = f"Done {when(done)}" if done else "Not done yet"
    pieces = [call("head", "1", words(f"{number + 1}. {step.title}")), call("note", literal(state))]
    if step.guidance:
        pieces.append(call("quoted", _markdown(renderer, step.guidance, plain=plain)))
    pieces.append(call("head", "2", literal("Notes")))
    found = export.notes.get(step.id)
    if found and found.text:
        pieces.append(_markdown(renderer, found.text, plain=plain))
        by = f"{found.model} for {found.author}" if found.model and found.author else found.author or "A teammate"
        pieces.append(call("note", words(f"Saved by {one_line(by)}, {when(found.created_at)}")))
    else:
        pieces.append(call("note", literal("No notes were written in this step.")))
    pieces.append(call("head", "2", literal("Conversation")))
    messages = export.said.get(step.id, ())
    document = Document(export.title, messages, export.made_at, export.people, export.models)
    pieces += [_message(document, message, renderer, plain=plain) for message in messages]
    if not messages:
        pieces.append(call("note", literal("Nothing was said in this step.")))
    return block([*pieces, call("rule")])


def _message(document: Document, message: Message, renderer: Renderer, *, plain: bool) -> str:
    parts = body(message, with_reasoning=False)
    if plain:
        contents = [renderer.plain(part.text) for part in parts if isinstance(part, TextPart)]
    else:
        contents = [part_content(renderer, part, {}, as_typed=message.role == "user") for part in parts]
    if said := notes(message):
        contents.append(call("note", literal(said)))
    head = words(who(document, message)), literal(when(message.created_at)), literal(message.role)
    return call("message", *head, block(contents))


def _markdown(renderer: Renderer, text: str, *, plain: bool) -> str:
    if plain:
        return renderer.plain(text)
    return part_content(renderer, TextPart.model_construct(text=text), {}, as_typed=False)


def _compiled(source: str) -> bytes | None:
    """The PDF, or None when the compiler refused the source."""
    with tempfile.TemporaryDirectory(prefix="chatcore-workshop-") as folder:
        command = [sys.executable, "-I", str(COMPILER), folder]
        try:
            done = subprocess.run(  # noqa: S603 - our own interpreter and script; without our environment and its keys
                command, input=source.encode(), capture_output=True, timeout=_SECONDS, check=False, cwd=folder, env={}
            )
        except subprocess.TimeoutExpired as error:
            raise InvalidInput("This workshop is too long for a PDF.") from error
    return done.stdout if done.returncode == 0 else None
