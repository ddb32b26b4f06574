"""Model text as Streamlit should draw it: cut into short elements, with maths and money told apart.

Streamlit sends a whole element again for every update, so a long reply is drawn as several: a streamed page and a
reloaded one cut at the same places. Models write maths as `\\( … \\)`, which Streamlit knows as `$ … $`, and dollars
as `$5`, which Streamlit would take for maths.
"""

import re
from typing import Final

CUT: Final = object()
"""Stands between two elements in what `Cutter.feed` returns."""

_WINDOW: Final = 256  # how far back an end of text can be unsure: a bound on what is held, and on the work per piece
_SEGMENT: Final = 400  # characters after which the next paragraph end starts a new element
# Every repeat is possessive or bounded: a message of 200,000 newlines must not cost more than one of words.
_TOKEN: Final = re.compile(
    r"(?P<fence>(?<=\n)[ ]{0,3}(?:`{3,}+[^`\n]{0,100}+|~{3,}+[^\n]{0,100}+)(?=\n|\Z))"
    r"|(?P<ticks>`++)"
    r"|(?P<maths>\\[()\[\]])"
    r"|(?P<money>(?<![\\\w$])\$\d[^\s$]{0,38}(?=\s|\Z|(?<![\\\w$])\$\d))"
    r"|(?P<directive>(?<!\\):(?=[A-Za-z_][\w+\-/]{0,60}[\[:]))"
    r"|(?P<gap>\n(?:[ \t]*+\n)++)"
)
# What cannot be judged before more has come: a line's beginning, a backslash, backticks, an amount of money.
_UNSURE: Final = re.compile(
    r"(?:\n[\n \t]*(?:`{3,}[^`\n]{0,101}|~{3,}[^\n]{0,101}|[`~]*)|\\|`+|~+|(?<![\\\w$])\$[^\s$]{0,40}\$?|\$"
    r"|:(?:[A-Za-z_][\w+\-/]{0,60})?)\Z"
)
_AMOUNT: Final = re.compile(
    r"\$\d[\d,.]*(?:[kKMBb]|bn|mn)?(?:/\w+)?[^\w\\^_{}*+=]*"
    r"(?:(?:\*{1,3}|_{1,2})[^\w\\^_{}*+=]*)?"  # the end of bold or italics
)
_MATHS: Final = {"\\(": "$", "\\)": "$", "\\[": "$$", "\\]": "$$"}


class Cutter:
    """Feed it a reply in any pieces; it returns text to draw and `CUT` where a new element begins."""

    def __init__(self) -> None:
        self._held = ""
        self._before = "\n"  # the last character that was judged; a reply begins like a line
        self._fence = ""
        self._span = ""
        self._length = 0

    def feed(self, piece: str) -> list[object]:
        """Text and `CUT`s that are certain now; the rest is held back until more comes."""
        text = self._before + self._held + piece
        unsure = _UNSURE.search(text, max(0, len(text) - _WINDOW))
        return self._judge(text, max(1, unsure.start()) if unsure else len(text))

    def finish(self) -> list[object]:
        """What was held back: nothing more will come."""
        text = self._before + self._held
        return self._judge(text, len(text))

    def _judge(self, text: str, end: int) -> list[object]:
        """`text` begins with the last character judged before; from `end` on it only says how to judge what is left."""
        self._held = text[end:]
        out: list[object] = []
        pending: list[str] = []
        at = 1

        def keep(part: str) -> None:
            if part:
                pending.append(part)
                self._length += len(part)

        for token in _TOKEN.finditer(text, 1):
            if token.start() >= end:
                break
            keep(text[at : token.start()])
            at = token.end()
            replacement = self._replace(token)
            if replacement is not CUT:
                keep(str(replacement))
                continue
            if pending:
                out.append("".join(pending))
            pending.clear()
            out.append(CUT)
            self._length = 0
        keep(text[at:end])
        self._before = text[end - 1]
        return [*out, "".join(pending)] if pending else out

    def _replace(self, token: re.Match[str]) -> object:
        kind, found = token.lastgroup, token.group()
        if kind == "fence":
            self._toggle_fence(found.strip())
        elif kind == "ticks" and not self._fence:
            self._span = "" if self._span == found else self._span or found
        elif self._fence or (self._span and kind != "gap"):
            return found
        elif kind == "maths":
            return _MATHS[found]
        elif kind == "directive":
            return "\\:"  # `:red[…]` and `:smile:` are Streamlit's own, and not what was meant
        elif kind == "money" and _AMOUNT.fullmatch(found):
            return "\\" + found
        elif kind == "gap":
            self._span = ""  # a code span does not reach over a paragraph's end
            # What is indented after a gap belongs to the list before it.
            following = token.string[token.end() : token.end() + 1]
            if self._length >= _SEGMENT and following.strip():
                return CUT
        return found

    def _toggle_fence(self, line: str) -> None:
        marks = line[: len(line) - len(line.lstrip(line[0]))]
        if not self._fence:
            self._fence, self._span = marks, ""
        elif marks[0] == self._fence[0] and len(marks) >= len(self._fence) and marks == line:
            self._fence = ""


def segments(text: str) -> list[str]:
    """A whole text as the list of elements that streaming it would have drawn."""
    cutter = Cutter()
    drawn: list[str] = [""]
    for item in [*cutter.feed(text), *cutter.finish()]:
        if item is CUT:
            drawn.append("")
        else:
            drawn[-1] += str(item)
    return [segment for segment in drawn if segment.strip()]


def as_typed(text: str) -> str:
    """A person's own text as Markdown that keeps their line breaks, outside code."""
    lines, fenced = [], False
    for line in text.split("\n"):
        if re.match(r"[ ]{0,3}(```|~~~)", line):
            fenced = not fenced
            lines.append(line)
        else:
            lines.append(line if fenced or not line.strip() else line + "  ")
    return "\n\n".join(segments("\n".join(lines)))
