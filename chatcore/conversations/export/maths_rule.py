"""Maths in Markdown, found so that it is kept as it was written: `$…$`, `$$…$$`, `\\(…\\)`, `\\[…\\]`."""

from typing import Final

from markdown_it import MarkdownIt
from markdown_it.rules_block import StateBlock
from markdown_it.rules_inline import StateInline

_PAIRS: Final = (("$$", "$$"), ("$", "$"), ("\\(", "\\)"), ("\\[", "\\]"))
_LONGEST: Final = 2_000  # characters and
_MOST_LINES: Final = 50  # lines: a message of nothing but openings must not cost its square


def add_maths(markdown: MarkdownIt) -> None:
    """Teach `markdown` the tokens `maths` (inline) and `maths_block`; `content` is the source with its signs."""
    markdown.inline.ruler.before("escape", "maths", _inline)
    # It does not end a paragraph: there the inline rule finds it, without a look ahead at each line.
    markdown.block.ruler.before("fence", "maths_block", _block)


def _inline(state: StateInline, silent: bool) -> bool:
    src, at = state.src, state.pos
    pair = next((pair for pair in _PAIRS if src.startswith(pair[0], at)), None)
    if pair is None:
        return False
    start = at + len(pair[0])
    end = src.find(pair[1], start, min(state.posMax, start + _LONGEST))
    if end <= start or (pair[0] == "$" and not _is_maths(src, start, end)):
        return False
    if not silent:
        state.push("maths", "", 0).content = src[at : end + len(pair[1])]
    state.pos = end + len(pair[1])
    return True


def _is_maths(src: str, start: int, end: int) -> bool:
    """Between two dollars stands maths and not the way from one amount of money to the next."""
    touches = not src[start].isspace() and not src[end - 1].isspace()
    return touches and not src[end + 1 : end + 2].isalnum()


def _block(state: StateBlock, first: int, last: int, silent: bool) -> bool:
    line = _line(state, first)
    closer = "$$" if line.startswith("$$") else "\\]" if line.startswith("\\[") else ""
    if not closer or state.is_code_block(first):
        return False
    if closer in line[2:]:
        end = first if line.endswith(closer) and len(line) > 4 else None
    else:
        lines = range(first + 1, min(last, first + _MOST_LINES))
        end = next((number for number in lines if _line(state, number).endswith(closer)), None)
    if end is None:
        return False
    if not silent:
        token = state.push("maths_block", "", 0)
        token.content = state.getLines(first, end + 1, state.blkIndent, False)
        token.map = [first, end + 1]
        state.line = end + 1
    return True


def _line(state: StateBlock, number: int) -> str:
    return state.src[state.bMarks[number] + state.tShift[number] : state.eMarks[number]].rstrip()
