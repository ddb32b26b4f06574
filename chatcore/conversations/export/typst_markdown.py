"""Markdown as Typst: parsed by markdown-it, written as calls of the page's own functions."""

import re
from collections.abc import Callable, Sequence
from typing import Final

from markdown_it import MarkdownIt
from markdown_it.tree import SyntaxTreeNode

from chatcore.conversations.export.maths_rule import add_maths
from chatcore.conversations.export.typst_code import (
    LONGEST_WORD,
    array,
    block,
    call,
    directed,
    has_run,
    literal,
    words,
)
from chatcore.conversations.text import clean

_DEEPEST: Final = 12  # containers inside each other; Typst refuses more than about twice as many
_DEEPEST_INLINE: Final = 24
_PARSED_DEPTH: Final = 90  # from 100 on, markdown-it leaves out what is nested deeper
_HIGHLIGHTED: Final = 20_000  # characters of one code block
_HIGHLIGHTED_IN_ALL: Final = 300_000  # highlighting 100,000 takes a second or two
_CODE_WIDTH: Final = 80  # characters that a line of code has room for
_LONGEST_RUN: Final = 2_000  # characters without a space that the page can divide inside highlighted code
_BREAK: Final = re.compile(r"<br\s*/?>", re.IGNORECASE)
_CLICKABLE: Final = re.compile(r"(?:https?://|mailto:)[^\s]+", re.IGNORECASE)
_TASK: Final = re.compile(r"\[([ xX])\] ")


class Renderer:
    """Turns the messages of one document into Typst content."""

    def __init__(self) -> None:
        self._highlight_left = _HIGHLIGHTED_IN_ALL
        self._parser = _parser()
        self._writers: dict[str, Callable[[SyntaxTreeNode, int], str]] = {
            "heading": self._heading,
            "paragraph": self._paragraph,
            "bullet_list": self._list,
            "ordered_list": self._list,
            "blockquote": self._quote,
            "fence": self._code,
            "code_block": self._code,
            "table": self._table,
            "hr": lambda node, depth: "rule()",
            "maths_block": lambda node, depth: call("maths", literal(node.content.strip("\n"))),
        }

    def markdown(self, text: str, *, as_typed: bool = False) -> str:
        """Content of Markdown. `as_typed`: a line's end stays one, as a person typed it."""
        tokens = self._parser.parse(clean(text))
        inlines = [child for token in tokens for child in token.children or ()]
        if any(token.level >= _PARSED_DEPTH for token in [*tokens, *inlines]):
            return self.plain(text)
        for token in inlines:
            if as_typed and token.type == "softbreak":
                token.type = "hardbreak"
        return self._blocks(SyntaxTreeNode(tokens).children, 0)

    def plain(self, text: str) -> str:
        """Content of a text that is shown as it was written, line by line."""
        return block(call("par", words(line)) for line in text.split("\n") if line.strip())

    def code(self, source: str, language: str = "") -> str:
        """A block of code, highlighted where the language is known and the block is not huge."""
        label = " ".join(language.split())[:40]
        named = {"label": literal(label)} if label else {}
        source = source.rstrip("\n")
        if has_run(source, _LONGEST_RUN):
            lines = "; linebreak(); ".join(words(line) for line in source.split("\n"))
            return call("code", "{" + lines + "}", **named)
        if label and len(source) <= min(_HIGHLIGHTED, self._highlight_left):
            self._highlight_left -= len(source)
            named["lang"] = literal(label.lower())
        if has_run(source, _CODE_WIDTH):
            named["split"] = "true"
        return call("code", literal(source), **named)

    def table(self, headings: Sequence[str], rows: Sequence[Sequence[str]], alignments: Sequence[str] = ()) -> str:
        """A table of contents that are Typst already."""
        columns = len(headings)
        return call(
            "grid-table",
            str(columns),
            array(alignments or ["start"] * columns),
            _table_size(columns),
            array(headings),
            array(cell for row in rows for cell in row),
        )

    def _blocks(self, nodes: Sequence[SyntaxTreeNode], depth: int) -> str:
        return block(self._block(node, depth) for node in nodes)

    def _block(self, node: SyntaxTreeNode, depth: int) -> str:
        writer = self._writers.get(node.type)
        return writer(node, depth) if writer else call("par", words(node.content))

    def _heading(self, node: SyntaxTreeNode, depth: int) -> str:
        return directed(call("head", node.tag[1:], _inlines(node)), _words_of(node))

    def _paragraph(self, node: SyntaxTreeNode, depth: int) -> str:
        content = _inlines(node)
        return directed(content if node.hidden else call("par", content), _words_of(node))

    def _list(self, node: SyntaxTreeNode, depth: int) -> str:
        items = [self._blocks(item.children, depth + 1) for item in node.children]
        if depth >= _DEEPEST:
            return block(call("par", item) for item in items)
        tight = all(child.hidden for item in node.children for child in item.children if child.type == "paragraph")
        named = {"tight": "true" if tight else "false"}
        if node.type == "ordered_list":
            start = min(int(node.attrs.get("start", 1)), 999_999_999)
            return directed(call("enum", *items, start=str(start), **named), _words_of(node))
        return directed(call("list", *items, **named), _words_of(node))

    def _quote(self, node: SyntaxTreeNode, depth: int) -> str:
        content = self._blocks(node.children, depth + 1)
        return content if depth >= _DEEPEST else call("quoted", content)

    def _code(self, node: SyntaxTreeNode, depth: int) -> str:
        return self.code(node.content, node.info.split(maxsplit=1)[0] if node.info.strip() else "")

    def _table(self, node: SyntaxTreeNode, depth: int) -> str:
        rows = [row.children for part in node.children for row in part.children]
        longest = max(6, 60 // len(rows[0]))
        cells = [[_inlines(cell, longest) for cell in row] for row in rows]
        return directed(self.table(cells[0], cells[1:], [_alignment(cell) for cell in rows[0]]), _words_of(node))


def _parser() -> MarkdownIt:
    parser = MarkdownIt("commonmark", {"html": False, "maxNesting": 100}).enable(["table", "strikethrough"])
    parser.validateLink = lambda url: True  # type: ignore[method-assign]  # every address is shown; few can be clicked
    add_maths(parser)
    return parser


def _inlines(node: SyntaxTreeNode, longest: int = LONGEST_WORD) -> str:
    """Content of the words of a paragraph, heading or cell."""
    children = [child for inline in node.children for child in inline.children]
    pieces = [_inline(child, longest, 0) for child in children]
    is_item = node.parent is not None and node.parent.type == "list_item"
    if is_item and children and children[0].type == "text" and (task := _TASK.match(children[0].content)):
        box = "☐ " if task[1] == " " else "☑ "
        pieces[0] = block([literal(box), _text(children[0].content[task.end() :], longest)])
    return block(pieces)


def _inline(node: SyntaxTreeNode, longest: int, depth: int) -> str:
    kind = node.type
    if kind == "text":
        return _text(node.content, longest)
    if kind == "softbreak":
        return literal(" ")
    if kind == "hardbreak":
        return "linebreak()"
    if kind in ("code_inline", "maths"):
        lines = [words(line, min(longest, 30)) for line in node.content.split("\n")]
        return call("inline-code", "{" + "; linebreak(); ".join(lines) + "}")
    if kind == "image":
        return _link(str(node.attrs.get("src", "")), literal(node.content or "image"), node.content)
    content = block(_inline(child, longest, depth + 1) for child in node.children)
    if kind == "link":
        return _link(str(node.attrs.get("href", "")), content, _words_of(node))
    styles = {"strong": "strong", "em": "emph", "s": "strike"}
    return call(styles[kind], content) if kind in styles and depth < _DEEPEST_INLINE else content


def _text(text: str, longest: int) -> str:
    return "; linebreak(); ".join(words(piece, longest) for piece in _BREAK.split(text))


def _link(url: str, content: str, shown: str) -> str:
    """Only addresses of the web and of mail can be clicked; any other is told in brackets."""
    if _CLICKABLE.fullmatch(url) and len(url) <= 2_000:
        return call("link", literal(url), content)
    return content if url == shown or not url else block([content, words(f" ({url[:2_000]})")])


def _alignment(cell: SyntaxTreeNode) -> str:
    style = str(cell.attrs.get("style", ""))
    return style.removeprefix("text-align:") if style else "start"


def _table_size(columns: int) -> str:
    """Smaller letters for wide tables."""
    return next((size for most, size in ((4, "8.5pt"), (6, "8pt"), (9, "7pt"), (14, "6pt")) if columns <= most), "5pt")


def _words_of(node: SyntaxTreeNode) -> str:
    """The first words in a node, enough to tell their direction."""
    found, length = [], 0
    for child in node.walk():
        if child.type == "text":
            found.append(child.content)
            length += len(child.content)
            if length > 200:
                break
    return "".join(found)
