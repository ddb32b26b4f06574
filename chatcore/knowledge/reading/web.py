"""Sections of a web page: what stands below its headings. Scripts, styles and what is not shown are left out."""

from collections.abc import Iterator
from typing import Final

from selectolax.lexbor import LexborHTMLParser

from chatcore.knowledge.reading.problems import Problem
from chatcore.knowledge.reading.sections import Outline, Section, squeezed

_HIDDEN: Final = ["script", "style", "noscript", "template", "svg", "iframe", "object", "head", "nav", "select"]
_LINES: Final = frozenset(("br", "tr", "dt", "dd", "option", "figcaption", "summary"))
_BLOCKS: Final = frozenset(
    ("p", "div", "section", "article", "main", "header", "footer", "aside", "ul", "ol", "dl", "table", "pre",
     "blockquote", "form", "fieldset", "figure", "details", "hr", "address")
)  # fmt: skip
_LEVELS: Final = {f"h{level}": level for level in range(1, 7)}


def sections(text: str) -> Iterator[Section]:
    """A section for each heading."""
    tree = LexborHTMLParser(text)
    tree.strip_tags(_HIDDEN)
    if tree.body is None:
        raise Problem("empty")
    outline, pieces = Outline(), list[str]()
    for node in tree.body.traverse(include_text=True):
        tag = node.tag or ""
        if tag in _LEVELS:
            yield Section(_joined(pieces), str(outline), str(outline))
            outline.enter(_LEVELS[tag], node.text())
            pieces = []
        elif tag == "-text":
            pieces.append(_words(node.text(deep=False), in_pre=node.parent is not None and node.parent.tag == "pre"))
        else:
            pieces.append(_before(tag))
    yield Section(_joined(pieces), str(outline), str(outline))


def _before(tag: str) -> str:
    if tag in _BLOCKS:
        return "\n\n"
    if tag == "li":
        return "\n- "
    if tag in ("td", "th"):
        return " | "
    return "\n" if tag in _LINES else ""


def _words(text: str, *, in_pre: bool) -> str:
    return text if in_pre else squeezed(text.replace("\n", " ").replace("\r", " "))


def _joined(pieces: list[str]) -> str:
    lines = (line.strip(" ").removeprefix("| ") for line in "".join(pieces).split("\n"))
    return "\n".join(lines).strip()
