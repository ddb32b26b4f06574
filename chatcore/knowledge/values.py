"""What the knowledge package takes and hands out."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal, get_args

from chatcore.accounts.principal import Principal

Visibility = Literal["own", "team"]
VISIBILITIES: Final[tuple[Visibility, ...]] = get_args(Visibility)
State = Literal["waiting", "indexing", "ready", "failed"]
Kind = Literal["pdf", "word", "markdown", "html", "csv", "text"]
Embeds = Callable[[Principal, Sequence[str]], list[list[float]]]
"""A vector for each text, at the person's cost. It may block. Raises `ChatcoreError`."""

MAX_NAME: Final = 100
MAX_DESCRIPTION: Final = 500
MAX_BASES: Final = 100  # of one person
MAX_DOCUMENTS: Final = 5_000  # of one base
MAX_PASSAGES: Final = 200_000  # of one base
MAX_MB: Final = 50  # of one document
MAX_QUESTION: Final = 2_000  # characters of a question that are looked at


@dataclass(frozen=True)
class Base:
    """A knowledge base. `documents`, `passages`: those that can be found now. `working`: documents that wait or are
    being indexed; `failed`: that could not be read. `size`: bytes of all documents. `owner`: the name of who made it,
    '' where nobody is left. `can_edit`: this person may change it and its documents."""

    id: str
    name: str
    description: str
    visibility: Visibility
    owner: str
    is_own: bool
    can_edit: bool
    documents: int
    passages: int
    working: int
    failed: int
    size: int
    updated_at: datetime


@dataclass(frozen=True)
class Document:
    """A document of a base. `size`: bytes. `pages`: of a PDF. `passages`: None until it was read; `done` of them can
    be found by their words, `embedded` by their meaning. `problem`: why it failed. `person`: the name of who uploaded
    it, '' where that person was erased."""

    id: str
    base_id: str
    name: str
    kind: Kind
    size: int
    state: State
    problem: str
    pages: int | None
    passages: int | None
    done: int
    embedded: int
    person: str
    created_at: datetime


@dataclass(frozen=True)
class Added:
    """An upload. `is_new`: False where the base had the same bytes already."""

    document: Document
    is_new: bool


@dataclass(frozen=True)
class Found:
    """A passage that was found. `id`: as citations name it. `title`: the document's name. `place`: where in it, for
    people, '' where it has no place."""

    id: str
    base_id: str
    document_id: str
    title: str
    place: str
    text: str


@dataclass(frozen=True)
class Passage:
    """A passage with what stands before and behind it, '' at either end of the document."""

    found: Found
    base: str
    before: str
    after: str
