"""Sharing: what a reader sees, whom it opens for, and that everybody else gets one and the same sentence."""

import secrets
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.orm import Session

from chatcore.accounts import Principal
from chatcore.config import Settings
from chatcore.conversations import Conversations, copying, erasing, store
from chatcore.conversations.history import Filters, History
from chatcore.conversations.sharing import MAX_SHARES, Shares, reads_attachment, token
from chatcore.db import Database
from chatcore.db.tables import Attachment, AuditEntry, MessageAttachment, User, utcnow
from chatcore.db.tables import Conversation as ConversationRow
from chatcore.db.tables import Message as MessageRow
from chatcore.db.tables import Share as ShareRow
from chatcore.errors import Conflict, InvalidInput, NotFound, Unauthorized
from chatcore.ids import new_id
from tests.conftest import add_person

GONE = "This link does not work: it was revoked, has expired, or is not for you."


class House:
    """Ann, her colleague Bob, Cleo of another tenant; and Ann's conversation of four messages."""

    def __init__(self, db: Database, settings: Settings) -> None:
        self.db = db
        self.settings = settings
        self.shares = Shares(db, settings)
        self.conversations = Conversations(db)
        mark = secrets.token_hex(4)
        self.ann = add_person(db, f"ann-{mark}", tenant=f"A-{mark}")
        self.bob = add_person(db, f"bob-{mark}", tenant=f"A-{mark}", role="admin")
        self.cleo = add_person(db, f"cleo-{mark}", tenant=f"C-{mark}", role="operator")
        self.id = self.new()
        self.said: list[str] = []
        for number in range(4):
            self.said.append(self.say(f"message {number}", self.said[-1] if self.said else None))

    def new(self, **values: Any) -> str:
        def work(session: Session) -> str:
            made = store.create(session, self.ann, "A title", model="m", agent_id=None, settings={"temperature": 0.5})
            if values:
                session.execute(update(ConversationRow).where(ConversationRow.id == made.id).values(**values))
            return made.id

        return self.db.write(work)

    def say(self, text: str, parent: str | None, *, head: bool = True, **values: Any) -> str:
        role = "user" if text.endswith(("0", "2")) else "assistant"
        values = {"role": role, "content": text, "parts": [], "status": "complete", "model": "m"} | values

        def work(session: Session) -> str:
            message_id = store.add_message(session, self.ann, self.id, parent_id=parent, **values)
            if head:
                store.advance(session, self.id, message_id, 1)
            return message_id

        return self.db.write(work)

    def attach(self, message_id: str) -> str:
        attachment = new_id("att")
        whose = {"tenant_id": self.ann.tenant_id, "user_id": self.ann.user_id}
        file = {"sha256": "0" * 64, "size": 1, "kind": "text", "media_type": "text/plain", "name": "a.txt"}
        link = {"message_id": message_id, "attachment_id": attachment, "conversation_id": self.id}

        def work(session: Session) -> None:
            session.execute(insert(Attachment).values(id=attachment, **whose, **file))
            session.execute(insert(MessageAttachment).values(tenant_id=self.ann.tenant_id, **link))

        self.db.write(work)
        return attachment

    def link(self, **more: Any) -> str:
        return self.shares.create(self.ann, self.id, kind="link", **more).handle

    def team(self, **more: Any) -> str:
        return self.shares.create(self.ann, self.id, kind="team", **more).handle

    def seen(self, who: Principal, handle: str) -> list[str]:
        return [message.content for message in self.shares.open(who, handle).messages]

    def change_share(self, handle: str, **values: Any) -> None:
        share_id = handle.partition(".")[0]
        self.db.write(lambda session: session.execute(update(ShareRow).where(ShareRow.id == share_id).values(**values)))

    def audited(self) -> list[tuple[str, str]]:
        rows = select(AuditEntry.action, AuditEntry.target).where(AuditEntry.user_id == self.ann.user_id)
        return [tuple(row) for row in self.db.read(lambda session: session.execute(rows.order_by(AuditEntry.id)).all())]  # type: ignore[misc]


@pytest.fixture
def house(module_database: Database, settings: Settings) -> House:
    return House(module_database, settings)


WAYS: list[Callable[[House], str]] = [House.link, House.team]
both_ways = pytest.mark.parametrize("share", WAYS, ids=["link", "team"])


@both_ways
def test_a_colleague_reads_the_branch_and_the_authors_name(house: House, share: Callable[[House], str]) -> None:
    shared = house.shares.open(house.bob, share(house))
    assert (shared.title, shared.author) == ("A title", house.ann.name)
    assert [one.content for one in shared.messages] == ["message 0", "message 1", "message 2", "message 3"]
    assert shared.is_live
    assert not shared.earlier
    assert shared.conversation_id is None, "who only reads learns no id of the conversation"


@both_ways
def test_another_tenant_gets_the_one_sentence_from_every_function(house: House, share: Callable[[House], str]) -> None:
    handle, attachment = share(house), house.attach(house.said[0])
    for call in (house.shares.open, house.shares.version, house.shares.copy):
        with pytest.raises(NotFound) as found:
            call(house.cleo, handle)  # type: ignore[operator]
        assert str(found.value) == GONE
    read = house.db.read
    assert read(lambda s: reads_attachment(s, house.settings, house.bob, handle, attachment))
    assert not read(lambda s: reads_attachment(s, house.settings, house.cleo, handle, attachment))
    assert house.shares.with_team(house.cleo) == []


@pytest.mark.parametrize("who", ["bob", "cleo"])
def test_only_the_owner_shares_lists_and_revokes(house: House, who: str) -> None:
    other = getattr(house, who)
    share = house.shares.create(house.ann, house.id, kind="team", can_reply=True)
    with pytest.raises(NotFound, match="not yours"):
        house.shares.create(other, house.id, kind="link")
    with pytest.raises(NotFound, match="not yours"):
        house.shares.of(other, house.id)
    with pytest.raises(NotFound, match="no such share"):
        house.shares.revoke(other, share.id)
    with pytest.raises(NotFound, match="no such share"):
        house.shares.revoke(other, new_id("share"))
    assert house.seen(house.bob, share.handle)


def broken(handle: str) -> dict[str, str]:
    share_id, _, signature = handle.partition(".")
    return {
        "empty": "",
        "dot": ".",
        "no signature": share_id,
        "an empty signature": f"{share_id}.",
        "cut": handle[:-1],
        "longer": handle + "A",
        "a flipped letter": handle[:-1] + ("A" if handle[-1] != "A" else "B"),
        "another id": f"{new_id('share')}.{signature}",
        "capital letters": handle.upper(),
        "a space": handle + " ",
        "NUL": handle + "\x00",
        "NUL in the id": f"share_\x00{share_id[7:]}",
        "a lone surrogate": handle[:-1] + "\ud800",
        "umlauts": "ü" * 60,
        "SQL": "' OR 1=1 --",
        "ten thousand letters": "a" * 10_000,
    }


@pytest.mark.parametrize("name", broken("share_x.y"))
def test_a_wrong_or_truncated_token_gets_the_same_sentence(house: House, name: str) -> None:
    with pytest.raises(NotFound) as found:
        house.shares.open(house.bob, broken(house.link())[name])
    assert str(found.value) == GONE


def test_a_token_of_another_instance_does_not_open(house: House) -> None:
    handle = house.link()
    other = replace(house.settings, secret_key="another secret")
    with pytest.raises(NotFound, match="does not work"):
        Shares(house.db, other).open(house.bob, handle)
    assert token(other, handle.partition(".")[0]) != handle


def test_a_team_share_has_no_token_that_opens(house: House) -> None:
    with pytest.raises(NotFound, match="does not work"):
        house.shares.open(house.bob, token(house.settings, house.team()))


def test_a_token_is_long_and_stored_nowhere(house: House) -> None:
    handle = house.link()
    signature = handle.partition(".")[2]
    assert len(signature) * 6 >= 128
    rows = house.db.read(lambda session: session.execute(select(*ShareRow.__table__.columns)).all())
    assert signature not in str(rows)
    assert [share.handle for share in house.shares.of(house.ann, house.id)] == [handle], "its owner can see it again"


@both_ways
def test_a_revoked_share_is_closed_at_once(house: House, share: Callable[[House], str]) -> None:
    handle = share(house)
    assert house.seen(house.bob, handle)
    house.shares.revoke(house.ann, handle.partition(".")[0])
    for who in (house.bob, house.ann):
        with pytest.raises(NotFound, match="does not work"):
            house.shares.open(who, handle)
    assert house.shares.of(house.ann, house.id) == []
    with pytest.raises(NotFound, match="revoked already"):
        house.shares.revoke(house.ann, handle.partition(".")[0])


def test_a_link_expires(house: House) -> None:
    share = house.shares.create(house.ann, house.id, kind="link", days=7)
    assert share.expires_at is not None
    assert timedelta(days=6, hours=23) < share.expires_at - utcnow() <= timedelta(days=7)
    assert house.seen(house.bob, share.handle)
    house.change_share(share.handle, expires_at=utcnow() - timedelta(seconds=1))
    with pytest.raises(NotFound, match="does not work"):
        house.shares.open(house.bob, share.handle)
    assert house.shares.of(house.ann, house.id) == []


@both_ways
def test_nothing_opens_while_the_author_is_disabled(house: House, share: Callable[[House], str]) -> None:
    handle = share(house)
    disable = update(User).where(User.id == house.ann.user_id)
    house.db.write(lambda session: session.execute(disable.values(disabled_at=utcnow())))
    with pytest.raises(NotFound, match="does not work"):
        house.shares.open(house.bob, handle)
    assert house.shares.with_team(house.bob) == []
    with pytest.raises(Unauthorized):
        house.shares.create(house.ann, house.id, kind="team")
    house.db.write(lambda session: session.execute(disable.values(disabled_at=None)))
    assert house.seen(house.bob, handle)


def test_a_deleted_conversation_takes_its_shares_along(house: House) -> None:
    handle = house.link()
    for table, column in ((MessageRow, MessageRow.conversation_id), (ConversationRow, ConversationRow.id)):
        house.db.write(lambda session, t=table, c=column: session.execute(delete(t).where(c == house.id)))  # type: ignore[misc]
    with pytest.raises(NotFound, match="does not work"):
        house.shares.open(house.bob, handle)


def test_up_to_a_message_shows_nothing_beside_or_after_it(house: House) -> None:
    house.say("a sibling 1", house.said[0], head=False)
    handle = house.link(up_to_message_id=house.said[1])
    before = house.shares.version(house.bob, handle)
    later = house.say("said later 0", house.said[1])
    shared = house.shares.open(house.bob, handle)
    assert [one.content for one in shared.messages] == ["message 0", "message 1"]
    assert not shared.is_live
    assert later not in str(shared)
    assert shared.version == before, "it never changes"


def test_a_live_share_shows_the_visible_branch_as_it_grows(house: House) -> None:
    handle = house.team()
    before = house.shares.version(house.bob, handle)
    assert house.shares.open(house.bob, handle).version == before
    sibling = house.say("another 1", house.said[0])
    assert house.shares.version(house.bob, handle) != before
    assert house.seen(house.bob, handle) == ["message 0", "another 1"]
    house.db.write(lambda session: store.set_head(session, house.id, house.said[3]))
    assert sibling not in str(house.shares.open(house.bob, handle))


def test_a_reply_that_is_being_written_comes_when_it_has_ended(house: House) -> None:
    handle = house.link()
    reply = house.say("", house.said[3], role="assistant", status="streaming")
    shared = house.shares.open(house.bob, handle)
    assert shared.running
    assert len(shared.messages) == 4
    with pytest.raises(Conflict, match="being written"):
        house.link(up_to_message_id=reply)
    house.db.write(lambda s: store.finish_message(s, house.id, reply, "the end", status="complete"))
    assert house.shares.version(house.bob, handle) != shared.version
    assert house.seen(house.bob, handle)[-1] == "the end"


def test_earlier_messages_come_on_request(house: House) -> None:
    handle = house.link()
    shared = house.shares.open(house.bob, handle, limit=2)
    assert [one.content for one in shared.messages] == ["message 2", "message 3"]
    assert shared.earlier
    assert not house.shares.open(house.bob, handle, limit=4).earlier


def test_a_stranger_reads_no_costs_ids_or_providers_words(house: House) -> None:
    secret = "sk-0123456789"
    parts = [
        {"type": "reasoning", "text": "because", "duration_ms": 10, "provider": secret, "trace_id": secret},
        {"type": "text", "text": "said"},
        {"type": "error", "code": "bad_key", "message": f"refused {secret}", "provider": secret, "retryable": True},
        {"type": "unheard of", "text": secret},
    ]
    facts = {"provider": secret, "cost_nano_usd": 77, "prompt_tokens": 77, "completion_tokens": 77, "turn_id": secret}
    meta = {"trace_id": secret, "session_id": secret, "usage_source": secret, "trimmed": 3}
    house.say("said", house.said[3], parts=parts, meta=meta, agent_id=secret, status="failed", **facts)
    shared = house.shares.open(house.bob, house.link())
    last = shared.messages[-1]
    assert secret not in str(shared)
    assert "77" not in str((last.cost_nano_usd, last.prompt_tokens, last.completion_tokens, last.latency_ms))
    assert house.ann.user_id not in str(shared)
    assert [part["type"] for part in last.parts] == ["reasoning", "text", "error"]
    assert last.parts[0] == {"type": "reasoning", "text": "because", "duration_ms": 10}
    assert last.parts[2]["message"] == "This reply could not be finished."
    assert last.meta == {"trimmed": 3}
    assert (last.model, last.status) == ("m", "failed"), "what one needs to read it stays"


def test_a_copy_is_the_readers_own_and_leaves_the_original_alone(house: House) -> None:
    attachment = house.attach(house.said[0])
    house.say("secret later", house.said[3], head=False)
    made = house.shares.copy(house.bob, house.link(up_to_message_id=house.said[3]))
    conversation, window = house.conversations.window(house.bob, made)
    assert (conversation.title, conversation.user_id, conversation.agent_id) == ("A title", house.bob.user_id, None)
    assert (conversation.message_count, conversation.settings, conversation.parent_conversation_id) == (4, {}, None)
    assert [one.content for one in window.messages] == ["message 0", "message 1", "message 2", "message 3"]
    assert not {one.id for one in window.messages} & set(house.said)
    assert [one.parent_id for one in window.messages] == [None, *(one.id for one in window.messages[:-1])]
    assert {one.user_id for one in window.messages} == {house.bob.user_id}
    linked = select(MessageAttachment.attachment_id).where(MessageAttachment.message_id == window.messages[0].id)
    assert house.db.read(lambda session: list(session.scalars(linked))) == [attachment]
    with pytest.raises(NotFound):
        house.conversations.get(house.ann, made)
    assert house.conversations.get(house.ann, house.id).message_count == 4


def test_a_copy_keeps_parts_and_leaves_out_what_is_being_written(house: House) -> None:
    parts = [{"type": "tool_call", "name": "add", "arguments": "{}", "state": "pending"}, {"type": "text", "text": "x"}]
    house.say("x", house.said[3], parts=parts, cost_nano_usd=5)
    house.say("", house.said[3], role="assistant", status="streaming", head=False)
    _, window = house.conversations.window(house.bob, house.shares.copy(house.bob, house.link()))
    assert list(window.messages[-1].parts) == parts
    assert window.messages[-1].cost_nano_usd is None
    assert [one.status for one in window.messages] == ["complete"] * 5


class Crash(Exception):
    pass


def long_branch(house: House, count: int) -> str:
    """Ann's conversation grows to `count` messages; the handle of a link to it."""
    for number in range(4, count):
        house.said.append(house.say(f"porcupine {number}", house.said[-1]))
    return house.link()


def listed(house: House, who: Principal) -> list[str]:
    return [row.id for row in History(house.db).page(who, Filters()).rows]


def test_a_long_copy_lets_others_write_in_between(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copying, "_BATCH", 5)
    handle, seen = long_branch(house, 23), list[list[str]]()
    file = house.attach(house.said[20])
    write, sizes = house.db.write, list[int]()

    def counted(work: Callable[[Session], Any]) -> Any:
        def watched(session: Session) -> Any:
            before = session.scalar(select(func.count()).select_from(MessageRow)) or 0
            made = work(session)
            sizes.append((session.scalar(select(func.count()).select_from(MessageRow)) or 0) - before)
            return made

        seen.append(listed(house, house.bob))
        return write(watched)

    monkeypatch.setattr(house.db, "write", counted)
    made = house.shares.copy(house.bob, handle)
    assert max(sizes) == 5
    assert sum(sizes) == 23
    assert not any(seen), "until it is whole nobody sees it"
    assert listed(house, house.bob) == [made]
    conversation, window = house.conversations.window(house.bob, made, 50)
    assert (conversation.message_count, conversation.expires_at, len(window.messages)) == (23, None, 23)
    linked = select(MessageAttachment.message_id).where(
        MessageAttachment.attachment_id == file, MessageAttachment.conversation_id == made
    )
    assert house.db.read(lambda session: list(session.scalars(linked))) == [window.messages[20].id]
    found = History(house.db).find(house.bob, "porcupine", Filters(), 50).hits
    assert {hit.message_id for hit in found} == {message.id for message in window.messages[4:]}


def test_half_a_copy_is_listed_nowhere_and_erased(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copying, "_BATCH", 5)
    handle, write, left = long_branch(house, 12), house.db.write, [3]

    def dies(work: Callable[[Session], Any]) -> Any:
        left[0] -= 1
        if left[0] < 0:
            raise Crash
        return write(work)

    with monkeypatch.context() as patched:
        patched.setattr(house.db, "write", dies)
        with pytest.raises(Crash):
            house.shares.copy(house.bob, handle)
    mine = select(ConversationRow.id, ConversationRow.expires_at).where(ConversationRow.user_id == house.bob.user_id)
    (half,) = house.db.read(lambda session: session.execute(mine).all())
    assert utcnow() < half.expires_at <= utcnow() + timedelta(hours=1)
    assert listed(house, house.bob) == []
    assert house.conversations.recent(house.bob) == []
    assert History(house.db).find(house.bob, "porcupine", Filters()).hits == ()
    over = update(ConversationRow).where(ConversationRow.id == half.id).values(expires_at=utcnow())
    write(lambda session: session.execute(over))
    write(lambda session: erasing.erase(session, erasing.expired(session)))
    assert house.db.read(lambda session: session.execute(mine).all()) == []


def test_a_copy_does_not_ask_again_which_reply_to_go_on_with(house: House) -> None:
    row = {"role": "user", "content": "q", "parts": [], "status": "complete", "model": "m", "id": "old"}
    row |= {"parent_id": None, "metadata": {"compare": ["a", "b"], "picked": "a", "imported": "chatgpt"}}
    made = copying.copy(house.db, house.bob, copying.Branch([row], {}), "T", model="m")
    _, window = house.conversations.window(house.bob, made)
    assert window.messages[0].meta == {"imported": "chatgpt"}


def test_a_copy_of_nothing_is_an_empty_conversation(house: House) -> None:
    made = copying.copy(house.db, house.bob, copying.Branch([], {}), "T", model=None)
    assert house.conversations.get(house.bob, made).expires_at is None


def test_an_attachment_is_read_only_where_its_message_is_shown(house: House) -> None:
    shown, later = house.attach(house.said[0]), house.attach(house.said[2])
    elsewhere = house.attach(house.say("a sibling 1", house.said[0], head=False))
    handle = house.link(up_to_message_id=house.said[1])
    assert house.shares.open(house.bob, handle).attachments == {house.said[0]: (shown,)}

    def reads(attachment: str, by: str = handle) -> bool:
        return house.db.read(lambda s: reads_attachment(s, house.settings, house.bob, by, attachment))

    assert [reads(one) for one in (shown, later, elsewhere, "att_none", "")] == [True, False, False, False, False]
    assert reads(later, house.team())
    assert not reads(shown, "share_nonsense")
    house.shares.revoke(house.ann, handle.partition(".")[0])
    assert not reads(shown)


def test_the_team_may_reply_only_where_the_author_said_so(house: House) -> None:
    handle = house.team(can_reply=True)
    assert house.shares.open(house.bob, handle).conversation_id == house.id
    assert house.conversations.get(house.bob, house.id).title == "A title"
    house.shares.revoke(house.ann, handle)
    house.team()
    with pytest.raises(NotFound):
        house.conversations.get(house.bob, house.id)


@pytest.mark.parametrize(
    "wrong",
    [
        {"kind": "link", "can_reply": True},
        {"kind": "public"},
        {"kind": "link", "days": 0},
        {"kind": "link", "days": 366},
        {"kind": "link", "days": -1},
    ],
    ids=str,
)
def test_what_cannot_be_is_refused(house: House, wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        house.shares.create(house.ann, house.id, **wrong)
    with pytest.raises(InvalidInput, match="as it grows"):
        house.shares.create(house.ann, house.id, kind="team", can_reply=True, up_to_message_id=house.said[1])
    assert house.shares.of(house.ann, house.id) == []


def test_a_message_of_another_conversation_is_not_found(house: House) -> None:
    other = House(house.db, house.settings)
    with pytest.raises(NotFound):
        house.link(up_to_message_id=other.said[0])
    with pytest.raises(NotFound):
        house.link(up_to_message_id="msg_none")
    second = house.new()
    with pytest.raises(NotFound, match="not part of"):
        house.shares.create(house.ann, second, kind="link", up_to_message_id=house.said[0])


def test_a_temporary_chat_is_never_shared(house: House) -> None:
    temporary = house.new(expires_at=utcnow() + timedelta(hours=1))
    with pytest.raises(Conflict, match="temporary chat"):
        house.shares.create(house.ann, temporary, kind="team")


def test_the_team_list_has_titles_and_authors_of_others_only(house: House) -> None:
    handle = house.team(can_reply=True)
    house.link()
    (one,) = house.shares.with_team(house.bob)
    assert (one.handle, one.title, one.author, one.can_reply) == (handle, "A title", house.ann.name, True)
    assert house.shares.with_team(house.ann) == []
    house.change_share(handle, expires_at=utcnow() - timedelta(seconds=1))
    assert house.shares.with_team(house.bob) == []


def test_making_and_revoking_stand_in_the_audit_log(house: House) -> None:
    share = house.shares.create(house.ann, house.id, kind="link", days=1)
    house.shares.revoke(house.ann, share.id)
    assert house.audited() == [("share.create", share.id), ("share.revoke", share.id)]
    details = select(AuditEntry.details).where(AuditEntry.target == share.id)
    found = house.db.read(lambda session: list(session.scalars(details)))
    assert share.handle.partition(".")[2] not in str(found), "a secret never stands in the log"


def test_a_conversation_has_no_more_than_fifty_shares(house: House) -> None:
    row = {"tenant_id": house.ann.tenant_id, "user_id": house.ann.user_id, "conversation_id": house.id, "kind": "link"}
    rows = [row | {"id": new_id("share"), "can_reply": False} for _ in range(MAX_SHARES)]
    house.db.write(lambda session: session.execute(insert(ShareRow), rows))
    with pytest.raises(Conflict, match="50 shares"):
        house.link()
    house.shares.revoke(house.ann, rows[0]["id"])
    assert house.link()
    with pytest.raises(Conflict, match="50 shares"):
        house.link()
    house.change_share(rows[1]["id"], expires_at=utcnow() - timedelta(seconds=1))
    assert house.link(), "one that has expired does not count"
