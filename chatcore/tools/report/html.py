"""A report as one HTML file that needs nothing else: no script, no address that is loaded, and what was written as HTML
is shown as text."""

import re
from collections.abc import Sequence
from html import escape
from pathlib import Path
from string import Template
from typing import Any, Final

from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token

from chatcore.conversations.export.document import table_of, when
from chatcore.conversations.export.maths_rule import add_maths
from chatcore.conversations.parts import ChartPart, CodePart, MarkdownPart, Part, TablePart, TextPart, plain_text
from chatcore.tools.report.contents import Report
from chatcore.tools.report.svg import drawing

_PAGE: Final = Template(Path(__file__).with_name("page.html").read_text(encoding="utf-8"))
_DEEPEST: Final = 90  # from 100 on, markdown-it leaves out what is nested deeper
_CLICKABLE: Final = re.compile(r"(?:https?://|mailto:)[^\s]{1,2000}", re.IGNORECASE)
_NUMBER: Final = re.compile(r"-?[\d,]+(?:\.\d+)?(?:e[+-]?\d+)?%?", re.IGNORECASE)


def page(report: Report) -> str:
    """The file's text."""
    parser = _parser()
    body = "\n".join(_part(parser, part) for part in report.parts)
    return _PAGE.substitute(title=escape(report.title), facts=escape(f"Made {when(report.made_at)}"), body=body)


def _part(parser: MarkdownIt, part: Part) -> str:
    match part:
        case TextPart() | MarkdownPart():
            return _markdown(parser, part.text)
        case ChartPart():
            chart, table = drawing(part), _table(part)
            hidden = f"<details><summary>Figures</summary>{table}</details>" if chart else table
            return f"<figure>{_caption(part.title)}{chart}{hidden}</figure>"
        case TablePart():
            return f"<figure>{_caption(part.title)}{_table(part)}</figure>"
        case CodePart():
            return _code(part.code)
        case _:
            return f"<blockquote>{_lines(plain_text(part))}</blockquote>"


def _markdown(parser: MarkdownIt, text: str) -> str:
    tokens = parser.parse(text)
    if any(token.level >= _DEEPEST for token in _all(tokens)):
        return _lines(text)
    return str(parser.renderer.render(tokens, parser.options, {}))


def _all(tokens: Sequence[Token]) -> Sequence[Token]:
    return [*tokens, *(child for token in tokens for child in token.children or ())]


def _table(part: ChartPart | TablePart) -> str:
    headings, rows = table_of(part)
    classes = [
        ' class="number"' if rows and all(_NUMBER.fullmatch(row[i]) or not row[i] for row in rows) else ""
        for i in range(len(headings))
    ]
    head = "".join(f"<th{kind}>{escape(said)}</th>" for kind, said in zip(classes, headings, strict=True))
    lines = ("".join(f"<td{kind}>{escape(said)}</td>" for kind, said in zip(classes, row, strict=True)) for row in rows)
    body = "".join(f"<tr>{line}</tr>" for line in lines)
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _caption(title: str) -> str:
    return f"<figcaption>{escape(title)}</figcaption>" if title.strip() else ""


def _code(text: str) -> str:
    return f"<pre><code>{escape(text)}</code></pre>"


def _lines(text: str) -> str:
    return "".join(f"<p>{escape(line)}</p>" for line in text.split("\n") if line.strip())


class _Writer(RendererHTML):
    """markdown-it's own writer, which escapes whatever it prints, with our ways for what it would load or mark."""

    def image(self, tokens: Sequence[Token], at: int, options: Any, env: Any) -> str:
        """Nothing is loaded from elsewhere: a picture is a link to it."""
        url, said = str(tokens[at].attrs.get("src", "")), tokens[at].content or "image"
        return f'<a href="{escape(url)}" rel="noreferrer">{escape(said)}</a>' if url else escape(said)

    def fence(self, tokens: Sequence[Token], at: int, options: Any, env: Any) -> str:
        return _code(tokens[at].content)

    def maths(self, tokens: Sequence[Token], at: int, options: Any, env: Any) -> str:
        return f"<code>{escape(tokens[at].content)}</code>"

    def maths_block(self, tokens: Sequence[Token], at: int, options: Any, env: Any) -> str:
        return _code(tokens[at].content.strip("\n"))

    def table_open(self, tokens: Sequence[Token], at: int, options: Any, env: Any) -> str:
        return '<div class="wide"><table>\n'

    def table_close(self, tokens: Sequence[Token], at: int, options: Any, env: Any) -> str:
        return "</table></div>\n"


def _parser() -> MarkdownIt:
    chosen = {"html": False, "maxNesting": 100}
    parser = MarkdownIt("commonmark", chosen, renderer_cls=_Writer).enable(["table", "strikethrough"])
    parser.validateLink = lambda url: _CLICKABLE.fullmatch(url) is not None  # type: ignore[method-assign]
    add_maths(parser)
    return parser
