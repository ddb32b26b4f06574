"""The words of a text as the search knows them: one spelling, made here, for every database.

Case and diacritics do not count. Scripts without spaces between words (Chinese, Japanese, Korean, Thai, ...) become
single letters, so that any part of a sentence can be found as a phrase. An emoji is a word such as `u1f44d`.
"""

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from chatcore.errors import InvalidInput

VERSION: Final = 1  # raise it when `normal` spells anything differently: the index is built anew
MAX_QUERY: Final = 1_000  # characters
MAX_QUERY_WORDS: Final = 100
MIN_PREFIX: Final = 3  # letters from which the last word stands for every word that begins with it
_MOST_EXPANDED: Final = 3  # characters that are spelled for each one of the text, on the average
_MAX_WORD: Final = 64  # characters; what is longer is no word that anybody types in full

# Thai to Lao, Myanmar, Khmer, kana, ideographs, Hangul.
_SINGLE: Final = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff"
    "\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003ffff"
)
_EMOJI: Final = "\u2190-\u21ff\u2300-\u23ff\u2600-\u27bf\u2b00-\u2bff\U0001f000-\U0001f3fa\U0001f400-\U0001faff"
_MARKS: Final = "".join(
    chr(code)
    for code in (*range(0x300, 0x1E00), *range(0xA620, 0xAC00))
    if unicodedata.category(chr(code)) in ("Mn", "Mc")
)
_LETTER: Final = rf"[^\W_{_SINGLE}]"
_TOKEN: Final = re.compile(rf"[{_SINGLE}][{_MARKS}]*|[{_EMOJI}]|{_LETTER}+(?:[{_MARKS}]+{_LETTER}*)*")
_ASCII_TOKEN: Final = re.compile(r"[a-z0-9]+")
# Marks of Latin, Greek and Cyrillic, of Arabic and of Hebrew. The breve stays on i short, which is a letter of its own.
_DROPPED: Final = re.compile(
    "(?<!\u0438)\u0306|[\u0300-\u0305\u0307-\u036f\u0591-\u05bd\u05bf-\u05c7\u064b-\u065f\u0670]"
    "|[\u00ad\u0640\u200c-\u200f\u2060\ufe00-\ufe0f\U000e0000-\U000e01ef]"
)
_OPENING: Final = str.maketrans("“”„‟«»", '""""""')
_PART: Final = re.compile(r'"([^"]*)"|(\S+)')


def normal(text: str) -> str:
    """The words of `text` in their one spelling, separated by single spaces."""
    return " ".join(_tokens(text))


def _tokens(text: str) -> list[str]:
    if text.isascii():
        return [word[:_MAX_WORD] for word in _ASCII_TOKEN.findall(text.lower())]
    # A few signs stand for whole phrases (U+FDFA for 18 letters): a text of nothing else must not become a long one.
    known = unicodedata.normalize("NFKC", text)[: _MOST_EXPANDED * len(text)]
    text = unicodedata.normalize("NFD", known.casefold())
    text = unicodedata.normalize("NFC", _DROPPED.sub("", text))
    return [_spelled(word) for word in _TOKEN.findall(text)]


def _spelled(word: str) -> str:
    return f"u{ord(word):x}" if len(word) == 1 and not word.isalnum() else word[:_MAX_WORD]


@dataclass(frozen=True)
class Term:
    """Words that stand one after the other. `prefix`: the last one may go on."""

    words: tuple[str, ...]
    prefix: bool = False


@dataclass(frozen=True)
class Query:
    """What is looked for: every term must occur."""

    terms: tuple[Term, ...]

    @classmethod
    def parse(cls, text: str) -> "Query":
        """The query a person typed: words, "phrases in quotes", and a last word that may be unfinished. Nothing else
        has a meaning of its own.

        Raises `InvalidInput` when it is too long, or holds nothing that can be looked for.
        """
        if len(text) > MAX_QUERY:
            raise InvalidInput(f"A search has at most {MAX_QUERY:,} characters. Use a few words of what you look for.")
        terms = list(dict.fromkeys(_terms(text.translate(_OPENING))))
        if not terms:
            raise InvalidInput("There is no word in this search. Type a word, or a part of a sentence.")
        if sum(len(term.words) for term in terms) > MAX_QUERY_WORDS:
            raise InvalidInput(f"A search has at most {MAX_QUERY_WORDS} words. Use a few words of what you look for.")
        return cls(tuple(terms))

    def matches(self, spelled: str) -> bool:
        """Whether every term stands in a text spelled by `normal`."""
        spaced = f" {spelled} "
        return all(f" {' '.join(term.words)}{'' if term.prefix else ' '}" in spaced for term in self.terms)

    @property
    def words(self) -> tuple[str, ...]:
        """All its words, once each."""
        return tuple(dict.fromkeys(word for term in self.terms for word in term.words))


def _terms(text: str) -> Iterator[Term]:
    parts = _PART.findall(text)
    for number, (quoted, bare) in enumerate(parts):
        # Letters joined by signs, and letters of scripts without spaces, belong together.
        words = tuple(_tokens(quoted or bare))
        if words:
            is_last = number == len(parts) - 1 and not quoted
            yield Term(words, is_last and len(words[-1]) >= MIN_PREFIX and not _is_emoji(bare[-1]))


def _is_emoji(sign: str) -> bool:
    return not sign.isalnum() and unicodedata.category(sign) == "So"


def snippet(text: str, query: Query, around: int = 80) -> tuple[tuple[str, bool], ...]:
    """The first good place of `text`, with up to `around` characters on either side, as pieces; True marks a hit.

    A good place holds as many different words of the query as can be seen at once. Without any hit it is the beginning.
    Markdown's own signs are left out.
    """
    spots = list(_spots(text, query))
    if not spots:
        cut = _line(_without_markdown(text[: 4 * around])[: 2 * around])
        return ((cut + ("…" if len(text) > 2 * around else ""), False),) if cut.strip() else ()
    begin, end = _window(text, spots, around)
    begin, end = _widened(text, begin, end)
    excerpt = _without_markdown(text[begin:end])
    spots = list(_spots(excerpt, query))
    if not spots:  # what was found is a part of the markup, such as an address
        excerpt = text[begin:end]
        spots = list(_spots(excerpt, query))
    return _pieces(excerpt, spots, around, before=begin > 0, behind=end < len(text))


def _pieces(
    text: str, spots: list[tuple[int, int, int]], around: int, *, before: bool, behind: bool
) -> tuple[tuple[str, bool], ...]:
    """The best place of `text`. `before`, `behind`: something was cut off there already."""
    begin, end = _window(text, spots, around)
    while begin and text[begin] in " ·•":
        begin += 1
    pieces: list[tuple[str, bool]] = [("…" if before or begin else "", False)]
    at = begin
    for start, stop, _ in spots:
        if begin <= start and stop <= end and start >= at:
            pieces += [(_line(text[at:start]), False), (_line(text[start:stop]), True)]
            at = stop
    pieces += [(_line(text[at:end]), False), ("…" if behind or end < len(text) else "", False)]
    return tuple(piece for piece in pieces if piece[0])


_WIDER: Final = 400  # characters, for whole lines: Markdown is read by the line


def _widened(text: str, begin: int, end: int) -> tuple[int, int]:
    """More of the text on both sides, from the beginning of a line where there is one."""
    first = max(0, begin - _WIDER)
    if first and (line := text.find("\n", first, begin)) != -1:
        first = line + 1
    elif first:
        first = begin
    return first, min(len(text), end + _WIDER)


# What stands at the beginning of a line or is one, then what stands around words; not `2**3`, and not `a_b`.
_MARKUP: Final = (
    (re.compile(r"^[ \t]*(?:>[ \t]?)+", re.M), ""),
    (re.compile(r"^[ \t]*(?:```|~~~).*$", re.M), ""),
    (re.compile(r"^[ \t]*(?=[^\n]*---)[|:\- \t]+$", re.M), ""),
    (re.compile(r"^[ \t]*#{1,6}[ \t]+", re.M), ""),
    (re.compile(r"^[ \t]*[-*+][ \t]+(?:\[[ xX]\][ \t]+)?", re.M), "• "),
    (re.compile(r"^[ \t]*\|[ \t]*|[ \t]*\|[ \t]*$", re.M), ""),
    (re.compile(r"[ \t]+\|[ \t]+"), " · "),
    (re.compile(r"!?\[([^\[\]\n]{1,200})\]\([^()\s]{1,300}\)"), r"\1"),
    (re.compile(r"(?<![A-Za-z0-9_*])\*\*(?=[^\s*])([^\n]{1,200}?)(?<=[^\s*])\*\*(?![A-Za-z0-9_*])"), r"\1"),
    (re.compile(r"(?<![A-Za-z0-9_*])\*(?=[^\s*])([^*\n]{1,200}?)(?<=[^\s*])\*(?![A-Za-z0-9_*])"), r"\1"),
    (re.compile(r"(?<![A-Za-z0-9_`])(`{1,2})(?=[^\s`])([^`\n]{1,200}?)\1(?![A-Za-z0-9_`])"), r"\2"),
)


def _without_markdown(text: str) -> str:
    for pattern, instead in _MARKUP:
        text = pattern.sub(instead, text)
    return text


def _window(text: str, spots: list[tuple[int, int, int]], around: int) -> tuple[int, int]:
    """Begin and end of the piece that is shown, at the ends of words."""

    def seen(place: int) -> int:
        first = spots[place][0]
        return len({term for start, _, term in spots[place : place + 30] if start < first + around})

    best = max(range(min(len(spots), 200)), key=lambda place: (seen(place), -place))
    start = spots[best][0]
    begin, end = max(0, start - around), min(len(text), start + 2 * around)
    if begin and (space := text.find(" ", begin, start)) != -1:
        begin = space + 1
    if end < len(text) and (space := text.rfind(" ", spots[best][1], end)) != -1:
        end = space
    return begin, max(end, spots[best][1])


def _line(text: str) -> str:
    return re.sub(r"\s+", " ", text)


_PIECE: Final = re.compile(rf"[{_SINGLE}][{_MARKS}]*|[{_EMOJI}]|[^\W_{_SINGLE}{_EMOJI}](?:[^\W_{_SINGLE}]|[{_MARKS}])*")
_MOST_READ: Final = 200_000


def _spots(text: str, query: Query) -> Iterator[tuple[int, int, int]]:
    """Begin, end and number of each term where it stands in the original."""
    places: list[tuple[str, int, int]] = []
    for match in _PIECE.finditer(text[:_MOST_READ]):
        places += [(word, match.start(), match.end()) for word in _tokens(match.group())]
    wanted: dict[str, list[tuple[int, Term]]] = {}
    for number, term in enumerate(query.terms):
        wanted.setdefault(term.words[0][:1], []).append((number, term))
    for place, (word, start, _) in enumerate(places):
        for number, term in wanted.get(word[:1], ()):
            found = [one[0] for one in places[place : place + len(term.words)]]
            if _fits(found, term):
                yield start, places[place + len(term.words) - 1][2], number


def _fits(found: list[str], term: Term) -> bool:
    if len(found) != len(term.words) or found[:-1] != list(term.words[:-1]):
        return False
    return found[-1].startswith(term.words[-1]) if term.prefix else found[-1] == term.words[-1]
