"""The structured parts of a message as Typst."""

import json
from collections.abc import Mapping
from typing import Final

from chatcore.conversations.export.charts import drawing
from chatcore.conversations.export.document import counted, file_line, one_line, table_of, thought_label
from chatcore.conversations.export.typst_code import block, call, literal, words
from chatcore.conversations.export.typst_markdown import Renderer
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

_MOST_ROWS: Final = 200  # of one table: pages of numbers are read in another program


def part_content(renderer: Renderer, part: Part, pictures: Mapping[str, str], *, as_typed: bool) -> str:
    """Content of one part. `pictures`: the page's image files by attachment id; `as_typed`: as `Renderer.markdown`."""
    match part:
        case TextPart() | MarkdownPart():
            return renderer.markdown(part.text, as_typed=as_typed)
        case ReasoningPart():
            label = call("label-line", literal(thought_label(part)))
            return call("quoted", block([label, renderer.markdown(part.text)]))
        case ToolCallPart():
            return _tool_call(renderer, part)
        case ErrorPart():
            return call("problem", words(one_line(part.message)))
        case ChartPart() | TablePart():
            return _table(renderer, part)
        case CodePart():
            return renderer.code(part.code, part.language)
        case MediaPart() | FilePart():
            return _file(part, pictures)
        case CitationsPart() | ComponentPart():
            return call("quoted", renderer.plain(plain_text(part)))


def _tool_call(renderer: Renderer, part: ToolCallPart) -> str:
    pieces = [call("label-line", words(f"Tool call: {one_line(part.name)}"))]
    pieces.append(renderer.code(_indented(part.arguments), "json"))
    return block([*pieces, renderer.code(part.result) if part.result else ""])


def _indented(arguments: str) -> str:
    try:
        return json.dumps(json.loads(arguments or "{}"), indent=2, ensure_ascii=False)
    except (ValueError, RecursionError):
        return arguments


def _table(renderer: Renderer, part: ChartPart | TablePart) -> str:
    headings, rows = table_of(part)
    columns = range(len(headings))
    longest = max(6, 60 // len(headings))
    shown = [[words(value, longest) for value in row] for row in rows[:_MOST_ROWS]]
    alignments = ["end" if rows and all(_is_number(row[i]) for row in rows) else "start" for i in columns]
    return block(
        [
            call("label-line", words(one_line(part.title))) if part.title.strip() else "",
            drawing(part) if isinstance(part, ChartPart) else "",
            renderer.table([words(heading, longest) for heading in headings], shown, alignments),
            call("note", literal(f"{counted(len(rows) - _MOST_ROWS, 'more row')} left out."))
            if len(rows) > _MOST_ROWS
            else "",
        ]
    )


def _is_number(value: str) -> bool:
    try:
        float(value.replace(",", "").removesuffix("%"))
    except ValueError:
        return value == ""
    return True


def _file(part: MediaPart | FilePart, pictures: Mapping[str, str]) -> str:
    path = pictures.get(part.attachment_id)
    if path is None:
        return call("note", words(f"Attached: {file_line(part)}"))
    return call("picture", literal(path), literal(one_line(part.name)))
