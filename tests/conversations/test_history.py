"""The history: lists and their filters, folders, what is done to many at once, and erasing for good."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import func, insert, select, update
from sqlalchemy.orm import Session

from chatcore.accounts import Principal
from chatcore.conversations import erasing
from chatcore.conversations.history import Filters, History
from chatcore.db import Database
from chatcore.db.tables import (
    Attachment,
    Conversation,
    Message,
    MessageAttachment,
    QueuedMessage,
    SearchEntry,
    Share,
    Turn,
    TurnChunk,
    UsageMetric,
    User,
    utcnow,
)
from chatcore.errors import Conflict, DatabaseError, InvalidInput, NotFound
from chatcore.ids import new_id
from tests.conversations.test_search import Library, share

NOW = utcnow()


@pytest.fixture
def library(module_database: Database) -> Library:
    return Library(module_database)


def listed(library: Library, who: Principal | None = None, **filters: Any) -> list[str]:
    return [row.id for row in library.history.page(who or library.ann, Filters(**filters)).rows]


def run_turn(library: Library, conversation_id: str, status: str = "running") -> str:
    who, turn = library.ann, new_id("turn")
    row = {
        "id": turn, "tenant_id": who.tenant_id, "user_id": who.user_id, "message_id": "m", "status": status,
        "conversation_id": conversation_id, "owner_host": "h", "owner_pid": 1, "owner_started": "x",
    }  # fmt: skip
    library.db.write(lambda session: session.execute(insert(Turn), [row]))
    return turn


# --- lists ----------------------------------------------------------------------------------------------------------


def test_pinned_ones_stand_first_then_newest_activity(library: Library) -> None:
    made = [library.new(library.ann, last_message_at=NOW - timedelta(hours=hours)) for hours in (3, 1, 2, 4)]
    library.history.pin(library.ann, [made[3]])
    assert listed(library) == [made[3], made[1], made[2], made[0]]
    rows = library.history.page(library.ann, Filters(), offset=0, limit=4).rows
    assert [row.pinned for row in rows] == [True, False, False, False]


@pytest.mark.parametrize("pinned", [0, 3, 7])
def test_pages_follow_each_other(library: Library, pinned: int) -> None:
    made = [library.new(library.ann, last_message_at=NOW - timedelta(hours=hours)) for hours in range(7)]
    library.history.pin(library.ann, made[-pinned:] if pinned else [])
    whole = listed(library)
    assert sorted(whole) == sorted(made)
    for size in (1, 2, 3, 4, 10):
        pages = [library.history.page(library.ann, Filters(), offset=at, limit=size) for at in range(0, 7, size)]
        assert [row.id for page in pages for row in page.rows] == whole
        assert {page.total for page in pages} == {7}
    beyond = library.history.page(library.ann, Filters(), offset=50, limit=5)
    assert (beyond.rows, beyond.total) == ((), 7)


def test_a_row_says_all_that_is_drawn(library: Library) -> None:
    place = library.new(library.ann, title="T", preview="P", model="m", message_count=2, folder="F", archived_at=NOW)
    share(library, place)
    run_turn(library, place)
    row = library.history.page(library.ann, Filters()).rows[0]
    assert (row.id, row.title, row.preview, row.model, row.message_count, row.folder) == (place, "T", "P", "m", 2, "F")
    assert (row.archived, row.shared, row.running, row.pinned, row.agent_id) == (True, True, True, False, None)


def test_filters_narrow_the_list(library: Library) -> None:
    old = NOW - timedelta(days=30)
    plain = library.new(library.ann)
    model = library.new(library.ann, model="m")
    folder = library.new(library.ann, folder="Work")
    archived = library.new(library.ann, archived_at=NOW)
    aged = library.new(library.ann, last_message_at=old)
    shared_ = library.new(library.ann)
    share(library, shared_)
    everything = {plain, model, folder, archived, aged, shared_}
    assert set(listed(library)) == everything
    assert listed(library, model="m") == [model]
    assert listed(library, folder="Work") == [folder]
    assert listed(library, archived=True) == [archived]
    assert set(listed(library, archived=False)) == everything - {archived}
    assert listed(library, until=old + timedelta(days=1)) == [aged]
    assert set(listed(library, since=old + timedelta(days=1))) == everything - {aged}
    assert listed(library, shared=True) == [shared_]
    assert library.history.models(library.ann) == ["m"]


def test_a_temporary_chat_is_never_listed(library: Library) -> None:
    library.new(library.ann, expires_at=NOW + timedelta(hours=1), folder="Hidden", model="hidden")
    assert listed(library) == []
    assert library.history.folders(library.ann) == library.history.models(library.ann) == []


def test_nobody_lists_anothers(library: Library) -> None:
    library.new(library.ann, folder="Mine")
    for other in (library.bob, library.cleo):
        assert library.history.page(other, Filters()).total == 0
        assert library.history.folders(other) == []


def test_what_colleagues_share_with_the_team(library: Library) -> None:
    place = library.new(library.ann, title="Plan")
    share(library, place, can_reply=True)
    share(library, library.new(library.ann), kind="link")
    share(library, library.new(library.ann), revoked_at=NOW)
    share(library, library.new(library.ann), expires_at=NOW - timedelta(seconds=1))
    (row,) = library.history.shared_with_me(library.bob)
    assert (row.conversation_id, row.title, row.author, row.can_reply) == (place, "Plan", library.ann.name, True)
    assert library.history.shared_with_me(library.ann) == []
    assert library.history.shared_with_me(library.cleo) == []


def test_nothing_of_a_disabled_colleague_is_shared(library: Library) -> None:
    share(library, library.new(library.ann))
    assert len(library.history.shared_with_me(library.bob)) == 1
    disabled = update(User).where(User.id == library.ann.user_id).values(disabled_at=NOW)
    library.db.write(lambda session: session.execute(disabled))
    assert library.history.shared_with_me(library.bob) == []


# --- many at once ---------------------------------------------------------------------------------------------------


def test_archive_and_restore(library: Library) -> None:
    made = [library.new(library.ann) for _ in range(3)]
    library.history.archive(library.ann, made[:2])
    assert set(listed(library, archived=True)) == set(made[:2])
    library.history.restore(library.ann, made[:1])
    assert listed(library, archived=True) == [made[1]]


def test_unpin(library: Library) -> None:
    place = library.new(library.ann)
    library.history.pin(library.ann, [place])
    library.history.unpin(library.ann, [place])
    assert not library.history.page(library.ann, Filters()).rows[0].pinned


def test_folders_come_and_go_with_what_is_in_them(library: Library) -> None:
    one, two = library.new(library.ann), library.new(library.ann)
    library.history.move(library.ann, [one, two], "  work \x00 2026\n")
    library.history.move(library.ann, [two], "Ärger 👍")
    assert library.history.folders(library.ann) == ["work 2026", "Ärger 👍"]
    library.history.move(library.ann, [two], None)
    assert library.history.folders(library.ann) == ["work 2026"]


@pytest.mark.parametrize("name", ["", "  ", "\x00", "x" * 61])
def test_a_folder_has_a_name(library: Library, name: str) -> None:
    place = library.new(library.ann)
    with pytest.raises(InvalidInput, match="1 to 60 characters"):
        library.history.move(library.ann, [place], name)


VERBS: dict[str, Callable[[History, Principal, list[str]], None]] = {
    "archive": History.archive,
    "restore": History.restore,
    "pin": History.pin,
    "unpin": History.unpin,
    "move": lambda history, who, ids: history.move(who, ids, "Elsewhere"),
    "delete": History.delete,
}


def stored(library: Library, ids: list[str]) -> list[tuple[Any, ...]]:
    columns = (Conversation.id, Conversation.archived_at, Conversation.pinned_at, Conversation.folder)
    query = select(*columns).where(Conversation.id.in_(ids)).order_by(Conversation.id)
    return library.db.read(lambda session: [tuple(row) for row in session.execute(query)])


@pytest.mark.parametrize("verb", VERBS)
def test_one_that_is_not_theirs_stops_it_all(library: Library, verb: str) -> None:
    mine = library.new(library.ann, "words", archived_at=NOW, pinned_at=NOW)
    strangers = [
        library.new(library.bob, "words"),
        library.new(library.cleo, "words"),
        library.new(library.ann, expires_at=NOW + timedelta(hours=1)),
        "conv_absent",
    ]
    share(library, strangers[0], can_reply=True)
    before = stored(library, [mine, *strangers])
    said = set()
    for strange in strangers:
        with pytest.raises(NotFound) as caught:
            VERBS[verb](library.history, library.ann, [mine, strange])
        said.add(str(caught.value))
    assert len(said) == 1
    assert stored(library, [mine, *strangers]) == before


@pytest.mark.parametrize("verb", VERBS)
def test_none_twice_or_too_many(library: Library, verb: str) -> None:
    place = library.new(library.ann)
    VERBS[verb](library.history, library.ann, [])
    VERBS[verb](library.history, library.ann, [place, place])
    with pytest.raises(InvalidInput, match="at most 1,000"):
        VERBS[verb](library.history, library.ann, [f"conv_{number}" for number in range(1_001)])


# --- erasing --------------------------------------------------------------------------------------------------------


def furnish(library: Library) -> str:
    """A conversation with something in every table that hangs on it."""
    who, place = library.ann, library.new(library.ann, "unicorn one", "unicorn two", title="Unicorns")
    turn = run_turn(library, place, "complete")
    share(library, place)
    whose = {"tenant_id": who.tenant_id, "user_id": who.user_id}

    def work(session: Session) -> None:
        message = session.scalars(select(Message.id).where(Message.conversation_id == place)).first()
        chunk = {"turn_id": turn, "seq": 1, "tenant_id": who.tenant_id, "kind": "text", "text": "words"}
        session.execute(insert(TurnChunk), [chunk])
        queued = {"id": new_id("q"), "content": "x", "model": "m", "conversation_id": place, "attachments": []}
        session.execute(insert(QueuedMessage), [whose | queued])
        file = {"id": new_id("file"), "sha256": "0", "size": 1, "kind": "text", "media_type": "text/plain", "name": "n"}
        session.execute(insert(Attachment), [whose | file])
        link = {"message_id": message, "attachment_id": file["id"], "conversation_id": place}
        session.execute(insert(MessageAttachment), [link | {"tenant_id": who.tenant_id}])
        call = {"id": new_id("use"), "purpose": "chat", "provider": "p", "model": "m", "outcome": "ok", "trace_id": "t"}
        session.execute(insert(UsageMetric), [whose | call | {"conversation_id": place}])

    library.db.write(work)
    return place


HANGING = (Message, Turn, QueuedMessage, Share, MessageAttachment, SearchEntry)


def hanging(library: Library, place: str) -> dict[str, int]:
    def work(session: Session) -> dict[str, int]:
        def count(table: Any) -> int:
            return session.scalar(select(func.count()).select_from(table).where(table.conversation_id == place)) or 0

        counts = {table.__tablename__: count(table) for table in HANGING}
        turns = select(Turn.id).where(Turn.tenant_id == library.ann.tenant_id)
        mine = TurnChunk.tenant_id == library.ann.tenant_id
        orphans = select(func.count()).select_from(TurnChunk).where(mine, TurnChunk.turn_id.not_in(turns))
        counts["orphans"] = session.scalar(orphans) or 0
        counts["ledger"] = count(UsageMetric)
        return counts

    return library.db.read(work)


def test_deleting_takes_all_but_the_ledger(library: Library) -> None:
    gone, kept = furnish(library), furnish(library)
    before = hanging(library, kept)
    library.history.delete(library.ann, [gone])
    assert stored(library, [gone]) == []
    assert hanging(library, gone) == {table.__tablename__: 0 for table in HANGING} | {"orphans": 0, "ledger": 1}
    assert hanging(library, kept) == before
    assert all(before[table.__tablename__] for table in HANGING)
    assert set(library.places("unicorn")) == {kept}


def test_many_are_deleted_in_small_transactions(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    made = [library.new(library.ann, *["unicorn"] * 3) for _ in range(22)]
    write, sizes = library.db.write, list[int]()
    mine = select(func.count()).select_from(Conversation).where(Conversation.user_id == library.ann.user_id)

    def counted(work: Callable[[Session], Any]) -> Any:
        def watched(session: Session) -> Any:
            before = session.scalar(mine) or 0
            done = work(session)
            sizes.append(before - (session.scalar(mine) or 0))
            return done

        done = write(watched)
        assert listed(library) == [], "they are gone at once and together"
        return done

    monkeypatch.setattr(library.db, "write", counted)
    library.history.delete(library.ann, made)
    assert max(sizes) <= 5
    assert sum(sizes) == 22
    assert library.rows() == 0


def test_a_long_conversation_is_taken_out_of_the_index_in_parts(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(erasing, "_ENTRIES", erasing._ENTRIES.limit(4))
    place = library.new(library.ann, *[f"unicorn {number}" for number in range(11)])
    kept = library.new(library.ann, "unicorn")
    library.history.delete(library.ann, [place])
    assert library.places("unicorn") == [kept]
    assert library.rows() == 1


def test_a_deletion_that_was_cut_short_is_finished_later(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    made = [library.new(library.ann, "unicorn") for _ in range(12)]
    write, left = library.db.write, [3]

    def dies(work: Callable[[Session], Any]) -> Any:
        left[0] -= 1
        if left[0] < 0:
            raise DatabaseError("away")
        return write(work)

    with monkeypatch.context() as patched:
        patched.setattr(library.db, "write", dies)
        library.history.delete(library.ann, made)
    assert listed(library) == library.places("unicorn") == []
    assert 0 < len(stored(library, made)) <= 12
    library.db.write(lambda session: erasing.erase(session, erasing.expired(session)))
    assert stored(library, made) == []
    assert library.rows() == 0


def test_a_running_reply_is_not_deleted_under_its_reader(library: Library) -> None:
    idle, busy = library.new(library.ann), library.new(library.ann, title="Busy one")
    run_turn(library, busy)
    with pytest.raises(Conflict, match=r"“Busy one”.*nothing was deleted"):
        library.history.delete(library.ann, [idle, busy])
    assert set(listed(library)) == {idle, busy}


def test_temporary_chats_end(library: Library) -> None:
    over = library.new(library.ann, "words", expires_at=NOW - timedelta(minutes=1))
    busy = library.new(library.ann, expires_at=NOW - timedelta(minutes=1))
    later = library.new(library.ann, expires_at=NOW + timedelta(hours=1))
    kept = library.new(library.ann)
    run_turn(library, busy)
    expired = library.db.read(erasing.expired)
    assert over in expired
    assert not {busy, later, kept} & set(expired)
    library.db.write(lambda session: erasing.erase(session, expired))
    assert stored(library, [over]) == []
