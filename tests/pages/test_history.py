"""The history page: what it lists and finds, what it asks before it deletes, and what it says where nothing is."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from chatcore.agents import Agents
from chatcore.conversations import Conversations
from chatcore.conversations.history import Filters
from chatcore.db import Database
from chatcore.errors import DatabaseError
from pages.ui import history_parts
from tests.conversations.test_search import Library, share

PAGE = Path(__file__).parents[2] / "pages" / "history.py"


class Stage(Library):
    """Ann before the page."""

    def open(self, **params: str) -> AppTest:
        page = AppTest.from_file(str(PAGE), default_timeout=30)
        for name, value in params.items():
            page.query_params[name] = value
        return page.run()

    def mine(self) -> list[str]:
        return [row.title for row in self.history.page(self.ann, Filters()).rows]


@pytest.fixture
def stage(database: Database, monkeypatch: pytest.MonkeyPatch) -> Stage:
    stage = Stage(database)
    gateway = SimpleNamespace(catalog=SimpleNamespace(models=lambda: []))
    core = SimpleNamespace(
        history=stage.history, agents=Agents(database), conversations=Conversations(database), gateway=gateway
    )
    for module in ("history_filters", "history_acts"):
        monkeypatch.setattr(f"pages.ui.{module}.core", lambda: core)
    monkeypatch.setattr("chatcore.bootstrap.core", lambda: core)
    monkeypatch.setattr("pages.ui.session.current_principal", lambda: stage.ann)
    for part in ("draw_buttons", "draw_progress"):
        monkeypatch.setattr(f"pages.ui.import_parts.{part}", lambda _: None)
    # Links to other pages need the whole app around them.
    monkeypatch.setattr(st, "page_link", lambda page, label, **more: st.caption(f"{label} {more['query_params']}"))
    return stage


def texts(page: AppTest) -> str:
    return "\n".join(one.value for kind in ("markdown", "caption", "error") for one in page.get(kind))


def tick(page: AppTest, *ids: str) -> AppTest:
    for conversation_id in ids:
        page.checkbox(key=f"history-tick-{conversation_id}").check()
    return page.run()


def test_nothing_yet_says_what_to_do(stage: Stage) -> None:
    page = stage.open()
    assert not page.exception
    assert "No conversations yet" in texts(page)


def test_titles_and_their_facts_are_listed(stage: Stage) -> None:
    place = stage.new(stage.ann, title="Plan *B*", model="m", folder="Work", message_count=1)
    page = stage.open()
    assert not page.exception
    assert f"Plan \\*B\\* {{'c': '{place}'}}" in texts(page)
    assert "Work · m · 1 message · just now" in texts(page)
    assert page.checkbox[0].label == "Choose Plan B", "as a screen reader says it"
    assert "1 conversation" in texts(page)


def test_archived_ones_are_listed_apart(stage: Stage) -> None:
    made = stage.new(stage.ann, title="Put away")
    stage.history.archive(stage.ann, [made])
    page = stage.open()
    assert "Put away" not in texts(page)
    page.selectbox(key="history_state").select("archived").run()
    assert "Put away" in texts(page)


def test_a_search_in_the_url_shows_its_hits_marked(stage: Stage) -> None:
    place = stage.new(stage.ann, "The *budget* of [2026](http://x)", title="Plan")
    page = stage.open(q="budget")
    assert not page.exception
    assert page.text_input(key="history_q").value == "budget"
    assert ":orange-background[**budget**]" in texts(page)
    assert "The :orange-background[**budget**] of 2026" in texts(page), "Markdown as plain text"
    hit = stage.find("budget").hits[0]
    assert f"Plan {{'c': '{place}', 'm': '{hit.message_id}'}}" in texts(page)


def test_typing_sets_the_url_and_emptying_it_shows_the_list(stage: Stage) -> None:
    stage.new(stage.ann, "The budget", title="Plan")
    page = stage.open()
    page.text_input(key="history_q").input("budget").run()
    assert page.query_params["q"] == "budget"
    page.text_input(key="history_q").input("").run()
    assert "q" not in page.query_params
    assert "1 conversation" in texts(page)


def test_going_back_in_the_browser_goes_back_in_the_search(stage: Stage) -> None:
    page = stage.open(q="one")
    page.query_params["q"] = "two"
    page.run()
    assert page.text_input(key="history_q").value == "two"


@pytest.mark.parametrize("words", ["absent", "<b>x</b> :red[y]", "👍"])
def test_nothing_found_is_said(stage: Stage, words: str) -> None:
    page = stage.open(q=words)
    assert not page.exception
    assert "Nothing found for" in texts(page)
    assert "<b>" not in texts(page).replace("\\<b\\>", "")


@pytest.mark.parametrize(("words", "said"), [("***", "There is no word"), ("x " * 600, "at most 1,000 characters")])
def test_what_cannot_be_a_search_is_one_sentence(stage: Stage, words: str, said: str) -> None:
    page = stage.open(q=words)
    assert not page.exception
    assert said in page.error[0].value


def test_a_search_finds_what_is_archived_and_says_so(stage: Stage) -> None:
    stage.history.archive(stage.ann, [stage.new(stage.ann, "The budget")])
    assert "· archived" in texts(stage.open(q="budget"))


def test_many_are_archived_at_once(stage: Stage) -> None:
    made = [stage.new(stage.ann, title=f"Number {number}") for number in range(3)]
    page = tick(stage.open(), *made[:2])
    assert "2 chosen" in texts(page)
    page.button(key="history-bulk-archive").click().run()
    assert [row.id for row in stage.history.page(stage.ann, Filters(archived=False)).rows] == [made[2]]
    assert "chosen" not in texts(page)
    assert page.toast[0].value == "2 conversations archived\\."


@pytest.mark.parametrize("verb", ["pin", "archive"])
def test_what_something_was_done_with_is_not_ticked_any_more(stage: Stage, verb: str) -> None:
    made = [stage.new(stage.ann, title=f"Number {number}") for number in range(3)]
    page = tick(stage.open(), *made[:2])
    page.button(key=f"history-bulk-{verb}").click().run()
    assert "chosen" not in texts(page)
    # Said outright, as the browser sends back what it still shows.
    assert [page.session_state[f"history-tick-{one}"] for one in made[:2]] == [False, False]
    assert not [box for box in page.checkbox if box.value]
    tick(page, made[2])
    assert "1 chosen" in texts(page)


def move_script(who: object, rows: tuple[object, ...]) -> None:
    import streamlit as st

    from pages.ui import history_acts

    history_acts.begin()
    for row in rows:
        st.checkbox(row.title, key=history_acts.tick_key(row.id))  # type: ignore[attr-defined]
    history_acts._move(who, rows)  # type: ignore[arg-type]


def test_moving_by_the_dialog_empties_the_boxes(stage: Stage) -> None:
    for number in range(2):
        stage.new(stage.ann, title=f"Number {number}")
    rows = stage.history.page(stage.ann, Filters()).rows
    page = AppTest.from_function(move_script, default_timeout=30, args=(stage.ann, rows)).run()
    for box in page.checkbox:
        box.check()
    page.run()
    next(button for button in page.button if button.label == "Move").click().run()
    assert not page.exception
    assert [box.value for box in page.checkbox] == [False, False]
    assert page.toast[0].value == "2 conversations taken out of their folder\\."


def test_deleting_asks_first_and_says_what_is_lost(stage: Stage) -> None:
    made = [stage.new(stage.ann, title=f"Number {number}", message_count=2) for number in range(3)]
    page = tick(stage.open(), *made[:2])
    page.button(key="history-bulk-delete").click().run()
    assert "**2 conversations** and all their branches" in texts(page)
    assert "- Number 1\n- Number 0" in texts(page)
    assert "cannot be undone" in texts(page)
    assert len(stage.mine()) == 3
    page.button(key="history_delete").click().run()
    assert stage.mine() == ["Number 2"]


def test_of_many_that_would_be_deleted_five_are_named(stage: Stage) -> None:
    made = [stage.new(stage.ann, title=f"Number {number}") for number in range(8)]
    page = tick(stage.open(), *made[:7])
    page.button(key="history-bulk-delete").click().run()
    assert "- Number 2\n- and 2 more" in texts(page)
    assert "- Number 1" not in texts(page)


def test_cancelling_keeps(stage: Stage) -> None:
    made = stage.new(stage.ann, title="Kept")
    page = tick(stage.open(), made)
    page.button(key="history-bulk-delete").click().run()
    page.button(key="history_delete_cancel").click().run()
    assert stage.mine() == ["Kept"]
    assert "cannot be undone" not in texts(page)


def test_places_in_one_conversation_stand_together(stage: Stage) -> None:
    far = stage.new(stage.ann, "the zebra " + "and much more " * 50, title="Far")
    stage.new(stage.ann, "a zebra", "the zebra", "this zebra", title="Near")
    page = stage.open(q="zebra")
    assert [one.label for one in page.expander] == ["2 more places in this conversation"]
    assert texts(page).count("Near {") == 1
    assert f"Far {{'c': '{far}'" in texts(page)
    assert "4 places in 2 conversations, best first" in texts(page)


def test_filters_are_counted_and_cleared(stage: Stage) -> None:
    stage.new(stage.ann, title="In a folder", folder="Work")
    stage.new(stage.ann, title="In none")
    page = stage.open()
    page.selectbox(key="history_folder").select("Work").run()
    assert "In none" not in texts(page)
    page.button(key="history_clear").click().run()
    assert not page.exception
    assert "In none" in texts(page)


def test_what_colleagues_share_is_listed(stage: Stage) -> None:
    share(stage, stage.new(stage.ann, title="Our plan"))
    stage.ann, stage.bob = stage.bob, stage.ann
    page = stage.open()
    page.selectbox(key="history_state").select("team").run()
    assert not page.exception
    assert "Our plan" in texts(page)
    assert "read only" in texts(page)


def test_thirty_are_shown_and_the_rest_on_further_pages(stage: Stage) -> None:
    for number in range(31):
        stage.new(stage.ann, title=f"Number {number}")
    page = stage.open()
    assert len(page.checkbox) == 30
    assert "31 conversations" in texts(page)


def test_a_database_that_does_not_answer_is_one_sentence(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise DatabaseError("The database does not answer right now.")

    monkeypatch.setattr(stage.history, "page", broken)
    page = stage.open()
    assert not page.exception
    assert page.error[0].value == "The database does not answer right now."


def test_a_snippet_keeps_its_spaces_and_shows_signs_as_they_are() -> None:
    pieces = (("a *b* ", False), ("c_d", True), (" ", False), ("e", True), (" :red[f]", False))
    shown = r"a \*b\* :orange-background[**c\_d**] :orange-background[**e**] \:red\[f\]"
    assert history_parts.marked(pieces) == shown
