"""Every public function of the package, called with the ids of somebody else: not found, each time.

The functions are found by looking at the facades, so one that is added later fails here until it stands in the table.
"""

import inspect
import json
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest
from sqlalchemy.orm import Session

from chatcore.accounts import Principal
from chatcore.config import Settings
from chatcore.conversations import Conversations, store
from chatcore.conversations.attachments import Attachments
from chatcore.conversations.attachments import store as attachment_store
from chatcore.conversations.exchange import Imports
from chatcore.conversations.export import Exports
from chatcore.conversations.history import Filters, History
from chatcore.conversations.prompts import Prompts
from chatcore.conversations.ratings import Ratings
from chatcore.conversations.sharing import Shares
from chatcore.db import Database
from chatcore.errors import Forbidden, NotFound
from chatcore.ids import new_id
from tests.conftest import add_person

FACADES = (Conversations, History, Attachments, Exports, Imports, Shares, Prompts, Ratings)


@dataclass(frozen=True)
class Ids:
    """What somebody might name. `handle`: of a share."""

    conversation: str
    message: str
    share: str
    handle: str
    attachment: str
    import_: str
    prompt: str


NOBODYS = Ids(
    new_id("conv"), new_id("msg"), new_id("share"), new_id("share"), new_id("att"), new_id("import"), new_id("prompt")
)


class House:
    """Ann with one of everything, Bob of her tenant, Eve of another, who is an admin there."""

    def __init__(self, db: Database, settings: Settings) -> None:
        mark = secrets.token_hex(4)
        self.db = db
        self.ann = add_person(db, f"ann-{mark}", tenant=f"A-{mark}")
        self.bob = add_person(db, f"bob-{mark}", tenant=f"A-{mark}")
        self.eve = add_person(db, f"eve-{mark}", tenant=f"E-{mark}", role="admin")
        files = Attachments(db, settings)
        made: list[Any] = [
            *(Conversations(db), History(db), files, Exports(db, files), Imports(db, settings, files)),
            *(Shares(db, settings), Prompts(db), Ratings(db)),
        ]
        self.facades = {type(one).__name__: one for one in made}
        self.ids = self._furnish()

    def _furnish(self) -> Ids:
        at, who = self.facades, self.ann
        conversation, message = self.db.write(self._converse)
        file = at["Attachments"].add(who, "a.txt", b"porcupines")
        self.db.write(lambda session: attachment_store.link(session, who, conversation, message, [file]))
        share = at["Shares"].create(who, conversation, kind="link")
        at["Ratings"].rate(who, message, 4, "good", send_text=True)
        at["History"].move(who, [conversation], "Work")
        import_ = at["Imports"].start(who, "x.json", b"[]").id
        deadline = time.monotonic() + 30
        while at["Imports"].get(who, import_).state == "running":
            assert time.monotonic() < deadline
            time.sleep(0.005)
        prompt = at["Prompts"].create(who, "Porcupine", "text")
        return Ids(conversation, message, share.id, share.handle, file.id, import_, prompt)

    def _converse(self, session: Session) -> tuple[str, str]:
        step = {"workshop_session_id": "spring", "step_id": "define"}
        made = store.create(
            session, self.ann, "Porcupines", model="m", agent_id=None, settings={}, summary={"text": "x"}, **step
        )
        common = {"parts": [], "status": "complete", "model": "m"}
        first = {"role": "user", "content": "porcupine?", "parent_id": None}
        question = store.add_message(session, self.ann, made.id, **first, **common)
        second = {"role": "assistant", "content": "porcupine!", "parent_id": question}
        reply = store.add_message(session, self.ann, made.id, **second, **common)
        store.advance(session, made.id, reply, 2)
        return made.id, reply

    def call(self, name: str, who: Principal, ids: Ids) -> Any:
        facade, _, method = name.partition(".")
        return (REFUSED | LISTS | ADMINS)[name](getattr(self.facades[facade], method), who, ids)


Call = Callable[[Callable[..., Any], Principal, Ids], Any]
by_conversation: Call = lambda call, who, ids: call(who, ids.conversation)  # noqa: E731
by_message: Call = lambda call, who, ids: call(who, ids.conversation, ids.message)  # noqa: E731
by_conversations: Call = lambda call, who, ids: call(who, [ids.conversation])  # noqa: E731
by_handle: Call = lambda call, who, ids: call(who, ids.handle)  # noqa: E731
by_prompt: Call = lambda call, who, ids: call(who, ids.prompt)  # noqa: E731
by_import: Call = lambda call, who, ids: call(who, ids.import_)  # noqa: E731
by_nothing: Call = lambda call, who, _: call(who)  # noqa: E731

REFUSED: dict[str, Call] = {
    **{f"Conversations.{name}": by_conversation for name in ("get", "resolve", "window", "people", "totals")},
    **{f"Conversations.{name}": by_message for name in ("switch", "switch_to", "reply_from", "pick")},
    "Conversations.before": lambda call, who, ids: call(who, ids.conversation, ids.message, 5),
    "Conversations.branch": lambda call, who, ids: call(who, ids.conversation, ids.message, 5),
    "Conversations.children": lambda call, who, ids: call(who, ids.conversation, None, 5),
    "Conversations.of_step": lambda call, who, _: call(who, "spring", "define"),
    "Conversations.replies": lambda call, who, ids: call(who, ids.conversation, [ids.message]),
    "Conversations.fork": lambda call, who, ids: call(who, ids.message),
    "Conversations.rename": lambda call, who, ids: call(who, ids.conversation, "Mine now"),
    "Conversations.edit_summary": lambda call, who, ids: call(who, ids.conversation, "Mine now"),
    "Conversations.remember": lambda call, who, ids: call(who, ids.conversation, "m", None, {}),
    **{f"History.{name}": by_conversations for name in ("archive", "restore", "pin", "unpin", "delete", "discard")},
    "History.recover": lambda call, who, ids: (
        call.__self__.discard(who, [ids.conversation]),
        by_conversation(call, who, ids),
    ),
    "History.move": lambda call, who, ids: call(who, [ids.conversation], "Mine now"),
    "Attachments.get": lambda call, who, ids: call(who, ids.attachment, share_token=ids.handle),
    **{f"Exports.{name}": by_conversation for name in ("markdown", "pdf", "json")},
    **{f"Imports.{name}": by_import for name in ("get", "cancel")},
    "Shares.create": lambda call, who, ids: call(who, ids.conversation, kind="team", up_to_message_id=ids.message),
    "Shares.of": by_conversation,
    "Shares.revoke": lambda call, who, ids: call(who, ids.share),
    **{f"Shares.{name}": by_handle for name in ("open", "version", "copy")},
    **{f"Prompts.{name}": by_prompt for name in ("get", "delete")},
    "Prompts.update": lambda call, who, ids: call(who, ids.prompt, "Mine now", "text", False),
    "Ratings.rate": lambda call, who, ids: call(who, ids.message, 1, "", True),
    "Ratings.remove": lambda call, who, ids: call(who, ids.message),
}
LISTS: dict[str, Call] = {
    **{f"Conversations.{name}": by_nothing for name in ("recent", "pinned")},
    "Conversations.head": by_conversation,
    "History.page": lambda call, who, _: call(who, Filters()).rows,
    "History.newest": lambda call, who, _: call(who, archived=None),
    "History.find": lambda call, who, _: call(who, "porcupine", Filters()).hits,
    **{f"History.{name}": by_nothing for name in ("folders", "models", "shared_with_me")},
    "Imports.mine": by_nothing,
    "Imports.export_all": lambda call, who, _: json.loads("".join(call(who)))["conversations"],
    "Shares.with_team": by_nothing,
    "Prompts.list": by_nothing,
    "Ratings.mine": lambda call, who, ids: call(who, [ids.message]),
}
ADMINS: dict[str, Call] = {
    **{f"Ratings.{name}": by_nothing for name in ("by_model", "comments")},
    "Ratings.choices": lambda call, who, _: [*call(who)[0], *call(who)[1]],
}
# They name nothing of anybody, or take a value that only `get` hands out.
NO_IDS = {
    *("Attachments.add", "Attachments.read", "Attachments.text_of", "Attachments.collect"),
    *("Imports.start", "Prompts.create"),
}
NOT_ANNS = {"History.shared_with_me", "Shares.with_team", "Conversations.pinned"}  # empty for her too


@pytest.fixture
def house(module_database: Database, settings: Settings) -> House:
    return House(module_database, settings)


def known_to(house: House, name: str) -> Ids:
    """Ann's ids as others may have got hold of them: of the link Bob has no more than the id, as it is for him too."""
    return replace(house.ids, handle=house.ids.share) if name == "bob" else house.ids


def test_every_public_function_stands_in_the_tables() -> None:
    found = {
        f"{facade.__name__}.{name}"
        for facade in FACADES
        for name, _ in inspect.getmembers(facade, callable)
        if not name.startswith("_")
    }
    tables = (set(REFUSED), set(LISTS), set(ADMINS), NO_IDS)
    assert found == set().union(*tables)
    assert len(found) == sum(map(len, tables)), "each in one of them"


def test_nothing_without_a_person_takes_an_id() -> None:
    for name in NO_IDS:
        facade, _, method = name.partition(".")
        (found,) = (getattr(one, method) for one in FACADES if one.__name__ == facade)
        assert not [one for one in inspect.signature(found).parameters if one.endswith(("_id", "_ids", "ids"))]


@pytest.mark.parametrize("other", ["bob", "eve"])
@pytest.mark.parametrize("name", REFUSED)
def test_anothers_is_as_absent_as_what_never_was(house: House, name: str, other: str) -> None:
    who = getattr(house, other)
    before = house.call("Exports.json", house.ann, house.ids).data
    said = []
    for ids in (known_to(house, other), NOBODYS):
        with pytest.raises(NotFound) as caught:
            house.call(name, who, ids)
        said.append(str(caught.value))
    assert said[0] == said[1]
    assert house.call("Exports.json", house.ann, house.ids).data == before
    assert house.call("Prompts.get", house.ann, house.ids).title == "Porcupine"
    assert house.call("Shares.open", house.ann, house.ids).title == "Porcupines"


@pytest.mark.parametrize("other", ["bob", "eve"])
@pytest.mark.parametrize("name", LISTS)
def test_no_list_has_anything_of_anothers(house: House, name: str, other: str) -> None:
    assert not house.call(name, getattr(house, other), known_to(house, other))


@pytest.mark.parametrize("name", ADMINS)
def test_what_admins_see_ends_at_their_tenant(house: House, name: str) -> None:
    assert house.call(name, house.eve, house.ids) == []
    with pytest.raises(Forbidden):
        house.call(name, house.bob, house.ids)
    assert house.call(name, replace(house.bob, role="admin"), house.ids)


@pytest.mark.parametrize("name", [*REFUSED, *(name for name in LISTS if name not in NOT_ANNS)])
def test_the_same_call_works_for_its_owner(house: House, name: str) -> None:
    found = house.call(name, house.ann, house.ids)
    assert found or name not in LISTS
