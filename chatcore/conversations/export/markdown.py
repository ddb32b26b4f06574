"""A conversation as Markdown: what was written stands in it as it was written."""

import re
from typing import Final

from chatcore.conversations.export.document import (
    Document,
    body,
    facts,
    file_line,
    notes,
    omission,
    one_line,
    table_of,
    thought_label,
    when,
    who,
)
from chatcore.conversations.parts import (
    ChartPart,
    CitationsPart,
    CodePart,
    ComponentPart,
    ErrorPart,
    FilePart,
    MarkdownPart,
    MediaPart,
    Part,
    ReasoningPart,
    TablePart,
    TextPart,
    ToolCallPart,
    plain_text,
)
from chatcore.conversations.text import clean

_SIGNS: Final = re.compile(r"([\\`*_\[\]<>|~#$&])")
_FENCE: Final = re.compile(r"^[ ]{0,3}(`{3,}|~{3,})([^\n]*)$", re.MULTILINE)


def to_markdown(document: Document) -> str:
    """The title as a heading, one line of facts, then each message under a heading with who wrote it and when."""
    blocks = [f"# {_plain(document.title)}", f"*{_plain(facts(document))}*"]
    if sentence := omission(document):
        blocks.append(f"*{sentence}*")
    for message in document.messages:
        blocks.append(f"## {_plain(who(document, message))} · {when(message.created_at)}")
        blocks += [block for part in body(message, with_reasoning=document.with_reasoning) if (block := _part(part))]
        if note := notes(message):
            blocks.append(f"*{note}*")
    return "\n\n".join(blocks) + "\n"


def _part(part: Part) -> str:
    match part:
        case TextPart() | MarkdownPart():
            return _closed(clean(part.text).strip("\n"))
        case ReasoningPart():
            return _quoted(f"**{thought_label(part)}**\n\n{part.text}")
        case ToolCallPart():
            result = [_fenced(part.result, "")] if part.result else []
            return "\n\n".join([f"*Tool call: {_plain(part.name)}*", _fenced(part.arguments or "{}", "json"), *result])
        case ErrorPart():
            return _quoted(f"**Error:** {_plain(part.message)}")
        case ChartPart() | TablePart():
            return _table(part)
        case CodePart():
            return _fenced(part.code, part.language)
        case MediaPart() | FilePart():
            return f"- {_plain(file_line(part))}"
        case CitationsPart() | ComponentPart():
            return _quoted("  \n".join(_plain(line) for line in plain_text(part).split("\n")))


def _table(part: ChartPart | TablePart) -> str:
    headings, rows = table_of(part)
    lines = [headings, ["---"] * len(headings), *rows]
    escaped = [[value if number == 1 else _plain(value) for value in line] for number, line in enumerate(lines)]
    table = "\n".join(f"| {' | '.join(line)} |" for line in escaped)
    return f"**{_plain(part.title)}**\n\n{table}" if part.title else table


def _closed(text: str) -> str:
    """`text` with its last fence closed: a reply that was cut inside a code block must not swallow the next ones."""
    fence = ""
    for found in _FENCE.finditer(text):
        marks, rest = found[1], found[2].strip()
        if not fence:
            fence = "" if marks[0] == "`" and "`" in rest else marks
        elif marks[0] == fence[0] and len(marks) >= len(fence) and not rest:
            fence = ""
    return f"{text}\n{fence}" if fence else text


def _fenced(code: str, language: str) -> str:
    longest = max((len(run) for run in re.findall(r"`+", code)), default=0)
    fence = "`" * max(3, longest + 1)
    name = re.sub(r"[^\w+#.-]", "", language)
    return "\n".join([f"{fence}{name}", code.rstrip("\n"), fence])


def _quoted(text: str) -> str:
    return "\n".join(f"> {line}".rstrip() for line in text.split("\n"))


def _plain(text: str) -> str:
    return _SIGNS.sub(r"\\\1", one_line(text))
