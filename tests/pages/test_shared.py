"""The page of shared conversations and the dialog that shares, driven without a browser."""

import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from chatcore import bootstrap
from chatcore.accounts import Console, Principal, passwords
from chatcore.bootstrap import Core, open_core
from chatcore.config import load_settings
from chatcore.conversations import store
from pages.ui import session
from pages.ui.text import plain
from tests.conftest import add_person

ROUTER = Path(__file__).parents[2] / "pages" / "router.py"
GONE = "This link does not work: it was revoked, has expired, or is not for you."


@pytest.fixture(scope="module")
def core(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Core]:
    folder = tmp_path_factory.mktemp("core")
    core = open_core(load_settings({"CHATCORE_DATA_DIR": "data", "CHATCORE_SECRET_KEY": "x"}, root=folder))
    bootstrap.use(core)
    yield core
    bootstrap.use(None)
    core.close()


class Tab:
    """A browser tab in which one of the three is signed in: Ann, her colleague Bob, Cleo of another tenant."""

    def __init__(self, core: Core) -> None:
        self.core = core
        mark = secrets.token_hex(4)
        self.ann = add_person(core.db, f"ann-{mark}", tenant=f"A-{mark}")
        self.bob = add_person(core.db, f"bob-{mark}", tenant=f"A-{mark}", role="admin")
        self.cleo = add_person(core.db, f"cleo-{mark}", tenant=f"C-{mark}", role="operator")
        self.who: Principal | None = self.bob
        self.id = self.conversation(4)

    def conversation(self, count: int) -> str:
        def work(db: Any) -> str:
            made = store.create(db, self.ann, "Plan [of](x) the *launch*", model="m", agent_id=None, settings={})
            parent = None
            for number in range(count):
                said = {"role": ("user", "assistant")[number % 2], "content": f"message {number}", "model": "m"}
                said |= {"status": "complete", "parts": [], "cost_nano_usd": 123_000_000, "prompt_tokens": 987}
                parent = store.add_message(db, self.ann, made.id, parent_id=parent, **said)
                store.advance(db, made.id, parent, 1)
            return made.id

        return self.core.db.write(work)

    def share(self, **more: Any) -> str:
        return self.core.shares.create(self.ann, more.pop("of", self.id), **{"kind": "link", **more}).handle

    def open(self, **params: str) -> AppTest:
        at = AppTest.from_file(str(ROUTER), default_timeout=30)
        for name, value in params.items():
            at.query_params[name] = value
        return run(at)


def run(at: AppTest) -> AppTest:
    at.run()
    assert not at.exception
    return at


@pytest.fixture
def tab(core: Core, monkeypatch: pytest.MonkeyPatch) -> Tab:
    tab = Tab(core)
    monkeypatch.setattr(session, "current_principal", lambda: tab.who)
    monkeypatch.setattr(session, "path", lambda: "/shared")
    navigation = st.navigation

    def shared(pages: list[Any], position: Any) -> Any:
        navigation(pages, position=position)
        page = next(page for page in pages if page.url_path == "shared")
        page._can_be_called = True
        return page

    monkeypatch.setattr(st, "navigation", shared)
    return tab


def press(at: AppTest, label: str) -> AppTest:
    next(button for button in at.button if button.label == label).click()
    return run(at)


def texts(at: AppTest) -> str:
    return "\n".join(str(one.value) for kind in (at.title, at.caption, at.markdown, at.info, at.error) for one in kind)


def test_a_colleague_reads_the_messages_and_whose_they_are(tab: Tab) -> None:
    at = tab.open(s=tab.share())
    assert at.title[0].value == r"Plan \[of\]\(x\) the \*launch\*"
    assert at.caption[0].value == f"Shared by {plain(tab.ann.name)} · live"
    for number in range(4):
        assert f"message {number}" in texts(at)
    assert "987" not in texts(at), "no tokens"
    assert "0.123" not in texts(at), "no costs"
    assert not at.chat_input, "there is nothing to ask here"
    assert [button.label for button in at.button if "copy" in button.label] == ["Continue in a copy of my own"]


def test_a_team_share_opens_under_either_name_and_stands_in_the_list(tab: Tab) -> None:
    handle = tab.share(kind="team")
    assert "message 3" in texts(tab.open(team=handle))
    assert "message 3" in texts(tab.open(s=handle))
    assert tab.ann.name in texts(tab.open()).replace("\\", "")
    at = press(tab.open(), r"**Plan \[of\]\(x\) the \*launch\***")
    assert "message 3" in texts(at), "a line of the list opens it"
    tab.who = tab.cleo
    assert "Nothing is shared yet" in texts(tab.open())


@pytest.mark.parametrize("case", ["another tenant", "nonsense", "revoked", "cut"])
def test_a_link_that_does_not_work_says_one_sentence_and_shows_nothing(tab: Tab, case: str) -> None:
    handle = tab.share()
    if case == "another tenant":
        tab.who = tab.cleo
    elif case == "revoked":
        tab.core.shares.revoke(tab.ann, handle.partition(".")[0])
    at = tab.open(s={"nonsense": "<b>no</b>\x00", "cut": handle[:-2]}.get(case, handle))
    assert [one.value for one in at.info] == [GONE]
    assert not at.title
    assert "message" not in texts(at)
    assert press(at, "What the team shares").title[0].value == "Shared with the team"


def test_only_up_to_the_message_is_drawn_and_earlier_ones_on_request(tab: Tab) -> None:
    long = tab.conversation(40)
    _, window = tab.core.conversations.window(tab.ann, long, 40)
    at = tab.open(s=tab.share(of=long, up_to_message_id=window.messages[35].id))
    assert "message 35" in texts(at)
    assert "message 36" not in texts(at)
    assert "live" not in at.caption[0].value
    assert "message 5" not in texts(at).split("\n")
    at = press(at, "Show earlier messages")
    assert "message 0" in texts(at).split("\n")
    assert not [button for button in at.button if button.label == "Show earlier messages"]


def test_who_may_reply_is_told_who_pays_and_comes_to_the_conversation(tab: Tab) -> None:
    at = tab.open(s=tab.share(kind="team", can_reply=True))
    at = press(at, "Reply in this conversation, billed to you")
    assert at.query_params["c"] in (tab.id, [tab.id])


def test_a_reader_goes_on_in_a_copy(tab: Tab) -> None:
    at = press(tab.open(s=tab.share()), "Continue in a copy of my own")
    made = at.query_params["c"]
    made = made if isinstance(made, str) else made[0]
    conversation, window = tab.core.conversations.window(tab.bob, made)
    assert conversation.user_id == tab.bob.user_id
    assert [one.content for one in window.messages] == [f"message {number}" for number in range(4)]


def test_a_share_that_was_revoked_meanwhile_cannot_be_copied(tab: Tab) -> None:
    handle = tab.share(days=7)
    at = tab.open(s=handle)
    assert "until" in at.caption[0].value
    tab.core.shares.revoke(tab.ann, handle.partition(".")[0])
    assert [one.value for one in press(at, "Continue in a copy of my own").info] == [GONE]
    assert tab.core.conversations.recent(tab.bob) == []


def test_signed_out_it_shows_the_form_and_lands_here_afterwards(tab: Tab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passwords, "_ROUNDS", 4)
    mark = secrets.token_hex(4)
    Console(tab.core.db).add_user(f"eve-{mark}", "correct horse", name="Eve", role=None, tenant=None, tier="free")
    gone_to: list[str] = []
    monkeypatch.setattr(session, "enter", lambda ticket, next_path: gone_to.append(next_path))
    tab.who, handle = None, tab.share()
    at = tab.open(s=handle)
    assert [one.label for one in at.text_input] == ["Username", "Password"]
    assert "message" not in texts(at)
    at.text_input[0].set_value(f"eve-{mark}")
    at.text_input[1].set_value("correct horse")
    press(at, "Sign in")
    assert gone_to == [f"/shared?s={handle}"]


def dialog_script(who: object, conversation_id: str, message_id: object) -> None:
    from chatcore.bootstrap import core
    from pages.ui import share_parts

    share_parts.dialog(who, core().conversations.get(who, conversation_id), message_id)


def dialog(tab: Tab, message_id: str | None = None) -> AppTest:
    return run(AppTest.from_function(dialog_script, default_timeout=30, args=(tab.ann, tab.id, message_id)))


def choice(at: AppTest, label: str) -> Any:
    return next(one for one in at.radio if one.label == label)


def test_the_dialog_shares_with_the_team_live_and_revokes(tab: Tab) -> None:
    at = dialog(tab)
    assert "no costs" in texts(at)
    assert not at.toggle, "at first only what is there now"
    choice(at, "What they see").set_value(True)
    at = run(at)
    at.toggle[0].set_value(True)
    at = press(at, "Share")
    (share,) = tab.core.shares.of(tab.ann, tab.id)
    assert (share.kind, share.can_reply, share.up_to_message_id, share.expires_at) == ("team", True, None, None)
    assert at.code[0].value.endswith(f"/shared?s={share.handle}")
    assert [one.value for one in at.subheader] == ["Shared"], "what was made stands apart"
    at = press(at, "Revoke")
    assert tab.core.shares.of(tab.ann, tab.id) == []
    assert not at.code


def test_the_dialog_makes_a_link_up_to_here_that_ends(tab: Tab) -> None:
    _, window = tab.core.conversations.window(tab.ann, tab.id)
    at = dialog(tab, window.messages[1].id)
    choice(at, "Who can read it").set_value("link")
    at = run(at)
    assert not at.toggle, "a link is read-only"
    assert choice(at, "What they see").value is False, "only up to here"
    at.selectbox[0].set_value(30)
    at = press(at, "Share")
    (share,) = tab.core.shares.of(tab.ann, tab.id)
    assert f"as of {share.created_at:%H:%M} UTC · read-only" in texts(at)
    assert (share.kind, share.up_to_message_id) == ("link", window.messages[1].id)
    assert share.expires_at is not None
    assert (share.expires_at - share.created_at).days == 30


def test_the_dialog_says_why_something_cannot_be_shared(tab: Tab) -> None:
    at = dialog(tab, "msg_none")
    assert [one.value for one in press(at, "Share").error] == ["This message does not exist, or it is not yours."]
