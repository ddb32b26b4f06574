"""Search on both databases: what is found, in which order, by whom, and how the index comes and goes."""

import secrets
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import func, insert, select, text
from sqlalchemy.orm import Session

from chatcore.accounts import Principal
from chatcore.conversations import erasing, indexing, search, words
from chatcore.conversations.history import Filters, Found, History
from chatcore.db import Database
from chatcore.db.tables import Conversation, Message, SearchEntry, Share, utcnow
from chatcore.errors import InvalidInput
from chatcore.ids import new_id
from tests.conftest import add_person


class Library:
    """Ann, her colleague Bob, Cleo of another tenant; conversations written straight into the tables."""

    def __init__(self, db: Database) -> None:
        self.db = db
        self.history = History(db)
        mark = secrets.token_hex(4)
        self.ann = add_person(db, f"ann-{mark}", tenant=f"A-{mark}")
        self.bob = add_person(db, f"bob-{mark}", tenant=f"A-{mark}", role="admin")
        self.cleo = add_person(db, f"cleo-{mark}", tenant=f"C-{mark}", role="operator")

    def new(self, who: Principal, *contents: str, title: str = "Untitled", indexed: bool = True, **values: Any) -> str:
        whose = {"tenant_id": who.tenant_id, "user_id": who.user_id}
        row = {"id": new_id("conv"), "title": title, "title_words": words.normal(title), "settings": {}} | values

        def work(session: Session) -> None:
            session.execute(insert(Conversation), [whose | row])
            for number, content in enumerate(contents):
                one = {
                    "id": new_id("msg"), "conversation_id": row["id"], "content": content, "parts": [],
                    "role": "assistant" if number % 2 else "user", "status": "complete",
                    "created_at": row.get("created_at", utcnow()),
                }  # fmt: skip
                session.execute(insert(Message.__table__), [whose | one | {"metadata": {}}])  # type: ignore[arg-type]
                if indexed:
                    search.index(session, str(row["id"]), str(one["id"]), content)

        self.db.write(work)
        return str(row["id"])

    def find(self, query: str, who: Principal | None = None, limit: int = 20, **filters: Any) -> Found:
        return self.history.find(who or self.ann, query, Filters(**filters), limit)

    def places(self, query: str, **more: Any) -> list[str]:
        return [hit.conversation_id for hit in self.find(query, **more).hits]

    def marked(self, query: str) -> list[str]:
        return ["".join(f"[{one}]" if hit else one for one, hit in found.snippet) for found in self.find(query).hits]

    def entries(self) -> int:
        return self.db.read(lambda session: session.scalar(select(func.count()).select_from(SearchEntry))) or 0

    def rows(self) -> int:
        """How many rows the index itself holds for Ann."""
        owner = indexing.owner_word(self.ann.user_id)
        match = "message_search MATCH :words" if self.db.is_sqlite else "words @@ CAST(:words AS tsquery)"
        query = text(f"SELECT count(*) FROM message_search WHERE {match}")
        asked = f'owner : "{owner}"' if self.db.is_sqlite else f"'@{owner}'"
        return self.db.read(lambda session: session.scalar(query, {"words": asked})) or 0


@pytest.fixture
def library(module_database: Database) -> Library:
    return Library(module_database)


@pytest.fixture
def own_library(any_database: Database) -> Library:
    """With a database that nobody else writes to."""
    return Library(any_database)


# --- what is found --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "query", "marked"),
    [
        ("The budget for the rollout", "rollout budget", "The [budget] for the [rollout]"),
        ("The budget for the rollout", "roll", "The budget for the [rollout]"),
        ("The budget for the rollout", '"for the rollout"', "The budget [for the rollout]"),
        ("Das Café in der STRASSE", "cafe straße", "Das [Café] in der [STRASSE]"),
        ("我们明天讨论预算问题", "预算", "我们明天讨论[预算]问题"),
        ("検索のテストです", "テスト", "検索の[テスト]です"),
        ("오늘 회의는 취소", "회의", "오늘 [회의]는 취소"),
        ("สวัสดีครับทุกคน", "ครับ", "สวัสดี[ครับ]ทุกคน"),
        ("नमस्ते दुनिया", "दुनिया", "नमस्ते [दुनिया]"),
        ("well done 👍🏽 all", "👍", "well done [👍]🏽 all"),
        ("call get_user_by_id() now", "get_user_by_id", "call [get_user_by_id]() now"),
        ("a NUL\x00 sign and \ud800 a lone one", "sign lone", "[sign]"),
        ("it's 3.14 or AND NOT", "AND NOT 3.14", "[3.14]"),
    ],
)
def test_a_message_is_found_by_its_words(library: Library, content: str, query: str, marked: str) -> None:
    stored = content.replace("\x00", "").replace("\ud800", "\ufffd")
    expected = library.new(library.ann, stored)
    assert library.places(query) == [expected]
    assert marked in library.marked(query)[0]


@pytest.mark.parametrize("query", ["absent", '"rollout budget"', "budgets", "udget", "预问", "get_by"])
def test_what_is_not_there_is_not_found(library: Library, query: str) -> None:
    library.new(library.ann, "The budget for the rollout", "预算问题", "get_user_by")
    assert library.places(query) == []


HOSTILE = (
    '"', "'", "''", "' OR 1=1 --", '") OR owner : ("x', "words : x", "owner:*", "a* b*", "NEAR(a b, 2)", "^a", "a + b",
    "{words} : a", "-a", "a NOT b", "a & !b", "a <-> b", "a:*", "'a':A", "\\'a\\", "%", "_", "a\x00b", "\ud800a",
    "x" * 1_000, "); DROP TABLE message_search; --", ":words", "$1", "%(words)s", "👩‍👩‍👧", "\u202ea", "a\nb",
)  # fmt: skip


@pytest.mark.parametrize("query", HOSTILE)
def test_nothing_that_is_typed_is_syntax(library: Library, query: str) -> None:
    library.new(library.bob, "a b x owner words near not or drop table message search")
    mine = library.new(library.ann, "quite another thing")
    with suppress(InvalidInput):
        assert library.places(query) == []
    assert library.places("another") == [mine]


def test_ten_thousand_characters_are_refused_with_a_sentence(library: Library) -> None:
    with pytest.raises(InvalidInput, match="at most 1,000 characters"):
        library.find("word " * 2_000)


def test_titles_are_found_first(library: Library) -> None:
    said = library.new(library.ann, "The unicorn", title="Animals")
    named = library.new(library.ann, "Nothing", title="Unicorns of 2026")
    hits = library.find("unic").hits
    assert [(hit.conversation_id, hit.message_id is None, hit.role) for hit in hits] == [
        (named, True, None),
        (said, False, "user"),
    ]
    assert hits[0].snippet == (("Unicorns", True), (" of 2026", False))


def test_few_hits_are_ranked_by_how_much_they_are_about_it(library: Library) -> None:
    much = library.new(library.ann, "zebra zebra zebra")
    little = library.new(library.ann, "a zebra " + "and other animals " * 50)
    assert library.places("zebra ") == [much, little]


def test_equal_hits_come_newest_first(library: Library) -> None:
    made = [library.new(library.ann, "the same zebra") for _ in range(3)]
    assert library.places("zebra") == made[::-1]


def test_a_word_in_every_message_gives_the_newest(own_library: Library) -> None:
    library = own_library
    place = library.new(library.ann, *(f"everywhere {number}" for number in range(search.CAP + 5)))
    found = library.find("everywhere", limit=10)
    assert found.capped
    assert len(found.hits) == 10
    assert {hit.conversation_id for hit in found.hits} == {place}
    newest = library.db.read(lambda s: list(s.scalars(select(Message.id).order_by(Message.id.desc()).limit(10))))
    assert [hit.message_id for hit in found.hits] == newest
    assert not library.find("everywhere 17").capped


def test_an_old_seldom_word_is_found_across_many_blocks(own_library: Library) -> None:
    library = own_library
    old = library.new(library.ann, "the unicorn")
    far = {"tenant_id": "t", "user_id": "u", "conversation_id": "none", "message_id": "none", "id": 3_000_000}
    library.db.write(lambda session: session.execute(insert(SearchEntry), [far]))
    assert library.places("unicorn") == [old]
    assert library.places("unicorn", archived=False) == [old]


# --- whose ----------------------------------------------------------------------------------------------------------


def test_nobody_finds_anothers_words(library: Library) -> None:
    library.new(library.ann, "the secret plan", title="Secret")
    for other in (library.bob, library.cleo):
        assert library.find("secret", other).hits == ()
        assert library.find(f'"{indexing.owner_word(library.ann.user_id)}"', other).hits == ()


def test_a_shared_conversation_is_found_by_its_owner_only(library: Library) -> None:
    place = library.new(library.ann, "shared words")
    share(library, place)
    assert library.places("shared") == [place]
    assert library.places("shared", who=library.bob) == []


def test_a_temporary_chat_is_never_found(library: Library) -> None:
    library.new(library.ann, "fleeting words", title="Fleeting", expires_at=utcnow() + timedelta(hours=1))
    assert library.places("fleeting") == []
    assert library.rows() == 0


# --- filters --------------------------------------------------------------------------------------------------------


def share(library: Library, conversation_id: str, **values: Any) -> None:
    who = library.ann
    row = {
        "id": new_id("share"), "tenant_id": who.tenant_id, "user_id": who.user_id, "kind": "team",
        "conversation_id": conversation_id,
    } | values  # fmt: skip
    library.db.write(lambda session: session.execute(insert(Share), [row]))


@pytest.mark.parametrize("few", [True, False], ids=["few", "many"])
def test_filters_narrow_titles_and_messages(library: Library, few: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not few:
        monkeypatch.setattr(search, "_FEW", 0)
    old = datetime(2026, 1, 5, tzinfo=UTC)
    agent = library.db.read(
        lambda s: s.scalar(text("SELECT id FROM agents WHERE tenant_id = :t"), {"t": library.ann.tenant_id})
    )
    made = {
        "plain": library.new(library.ann, "llama", title="llama one"),
        "model": library.new(library.ann, "llama", model="m"),
        "agent": library.new(library.ann, "llama", agent_id=agent),
        "folder": library.new(library.ann, "llama", folder="Work"),
        "archived": library.new(library.ann, "llama", archived_at=utcnow()),
        "old": library.new(library.ann, "llama", title="old llama", created_at=old, last_message_at=old),
        "shared": library.new(library.ann, "llama"),
    }
    share(library, made["shared"])
    everything = set(made.values())
    expected: list[tuple[dict[str, Any], set[str]]] = [
        ({}, everything),
        ({"model": "m"}, {made["model"]}),
        ({"agent_id": agent}, {made["agent"]}),
        ({"folder": "Work"}, {made["folder"]}),
        ({"folder": "work'--"}, set()),
        ({"archived": True}, {made["archived"]}),
        ({"archived": False}, everything - {made["archived"]}),
        ({"until": old + timedelta(days=1)}, {made["old"]}),
        ({"since": old + timedelta(days=1)}, everything - {made["old"]}),
        ({"shared": True}, {made["shared"]}),
        ({"shared": True, "model": "m"}, set()),
    ]
    for filters, places in expected:
        assert set(library.places("llama", **filters)) == places, filters


def test_a_revoked_or_expired_share_is_none(library: Library) -> None:
    place = library.new(library.ann, "llama")
    share(library, place, revoked_at=utcnow())
    share(library, place, expires_at=utcnow() - timedelta(seconds=1))
    assert library.places("llama", shared=True) == []


# --- the index ------------------------------------------------------------------------------------------------------


def test_indexing_twice_is_once(own_library: Library) -> None:
    library = own_library
    place = library.new(library.ann, "words")
    message = library.db.read(lambda s: s.scalar(select(Message.id)))
    library.db.write(lambda session: search.index(session, place, str(message), "words"))
    assert (library.entries(), library.rows(), len(library.places("words"))) == (1, 1, 1)


@pytest.mark.parametrize("content", ["", "  ", "…!?"])
def test_a_message_without_words_has_no_entry(own_library: Library, content: str) -> None:
    own_library.new(own_library.ann, content)
    assert own_library.entries() == 0


@pytest.mark.parametrize(
    "content",
    [
        "word " * 30_000,
        " ".join(f"w{number}" for number in range(30_000)),
        "日本" * 60_000,
        "x" * 300_000,
        "é" * 150_000,
    ],
)
def test_a_huge_message_is_indexed_as_far_as_it_goes(library: Library, content: str) -> None:
    library.new(library.ann, "begin " + content)
    assert len(library.places("begin")) == 1


def test_what_is_forgotten_is_not_in_the_index(own_library: Library) -> None:
    library = own_library
    gone = library.new(library.ann, "the unicorn", "and 日本語 👍")
    kept = library.new(library.ann, "another unicorn")
    library.db.write(lambda session: erasing.erase(session, [gone]))
    assert (library.places("unicorn"), library.entries(), library.rows()) == ([kept], 1, 1)
    if library.db.is_sqlite:
        library.db.write(
            lambda s: s.execute(text("INSERT INTO message_search(message_search) VALUES ('integrity-check')"))
        )


def all_of(step: Callable[[], bool]) -> int:
    count = 1
    while step():
        count += 1
    return count


def test_old_messages_are_indexed_behind(own_library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    library = own_library
    monkeypatch.setattr(indexing, "_BATCH", 3)
    old = library.new(
        library.ann, *(f"llama {number}" for number in range(10)), indexed=False, title_words="", title="Old"
    )
    new = library.new(library.ann, "llama")
    temporary = library.new(library.ann, "llama", expires_at=utcnow(), indexed=False)
    indexer = search.Indexer(library.db)
    assert indexer.progress() == 0.0
    for _ in range(4):
        assert indexer.step()
    assert 0 < (indexer.progress() or 0) < 1
    assert library.places("llama")[0] == new
    all_of(indexer.step)
    assert indexer.progress() is None
    assert library.entries() == library.rows() == 11
    assert library.places("llama")[:1] == [new], "what was indexed later is older"
    assert library.places("old") == [old]
    assert temporary not in library.places("llama")
    newest = library.db.read(lambda s: list(s.scalars(select(SearchEntry.message_id).order_by(SearchEntry.id))))
    assert newest == sorted(newest)


def test_another_spelling_builds_the_index_anew(own_library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    library = own_library
    library.new(library.ann, "llama", title="Llama")
    all_of(search.Indexer(library.db).step)
    monkeypatch.setattr(words, "VERSION", words.VERSION + 1)
    assert search.Indexer(library.db).progress() == 0.0
    all_of(search.Indexer(library.db).step)
    assert (library.entries(), library.rows(), len(library.places("llama"))) == (1, 1, 2)


def test_two_indexers_at_once_index_everything_once(own_library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    library = own_library
    monkeypatch.setattr(indexing, "_BATCH", 5)
    monkeypatch.setattr(indexing, "_PAUSE", 0.0)
    library.new(library.ann, *(f"llama {number}" for number in range(60)), indexed=False)
    others = [Database(library.db.url), Database(library.db.url)]
    indexers = [search.Indexer(db) for db in others]
    for one in indexers:
        one.start()
    library.new(library.ann, "llama")
    for one in indexers:
        one._thread.join(60)
        one.stop()
    assert search.Indexer(library.db).progress() is None
    assert library.entries() == library.rows() == 61
    for db in others:
        db.close()
