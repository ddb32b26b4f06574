"""The page of prompts, the picker beside the chat input, and the rating form, driven without a browser."""

import secrets
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from chatcore import bootstrap
from chatcore.conversations import store
from chatcore.conversations.prompts import Prompts
from chatcore.conversations.ratings import Ratings
from chatcore.db import Database
from pages.ui import session
from tests.conftest import add_person

PAGE = Path(__file__).parents[2] / "pages" / "prompts.py"


@pytest.fixture
def house(database: Database, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    house = SimpleNamespace(db=database, prompts=Prompts(database), ratings=Ratings(database))
    mark = secrets.token_hex(4)
    house.ann = house.who = add_person(database, f"ann-{mark}")
    house.bob = add_person(database, f"bob-{mark}")
    house.dora = add_person(database, f"dora-{mark}", role="admin")
    monkeypatch.setattr(session, "current_principal", lambda: house.who)
    bootstrap.use(house)  # type: ignore[arg-type]
    yield house
    bootstrap.use(None)


def run(at: AppTest) -> AppTest:
    at.run()
    assert not at.exception
    return at


def page() -> AppTest:
    return run(AppTest.from_file(str(PAGE), default_timeout=30))


def press(at: AppTest, label: str) -> AppTest:
    next(button for button in at.button if button.label == label).click()
    return run(at)


def words(at: AppTest) -> str:
    return "\n".join(str(one.value) for kind in (at.markdown, at.caption, at.info, at.success) for one in kind)


def titles(house: Any, who: Any) -> list[str]:
    return [one.title for one in house.prompts.list(who)]


def test_at_first_it_says_what_prompts_are_for(house: Any) -> None:
    assert "use again and again" in page().info[0].value


def edit_script(who: object, prompt: object) -> None:
    from pages.ui import prompt_parts

    prompt_parts.edit(who, prompt)


def remove_script(who: object, prompt: object) -> None:
    from pages.ui import prompt_parts

    prompt_parts.remove(who, prompt)


def dialog(script: Any, *arguments: Any) -> AppTest:
    return run(AppTest.from_function(script, default_timeout=30, args=arguments))


def test_a_prompt_is_made_changed_and_deleted(house: Any) -> None:
    assert field(press(page(), "New prompt"), "Title").value == ""
    at = dialog(edit_script, house.ann, None)
    field(at, "Title").set_value("Review")
    at.text_area[0].set_value("Review this {{language}} code")
    press(at, "Save")
    at = page()
    assert "**Review**" in words(at)
    assert "`language`" in words(at)
    assert field(press(at, "Edit"), "Title").value == "Review"
    (prompt,) = house.prompts.list(house.ann)
    at = dialog(edit_script, house.ann, prompt)
    field(at, "Title").set_value("Check")
    at.toggle[0].set_value(True)
    press(at, "Save")
    assert titles(house, house.bob) == ["Check"]
    at = press(page(), "Delete")
    assert "everybody of your team" in words(at)
    assert titles(house, house.ann) == ["Check"], "it asks first"
    press(dialog(remove_script, house.ann, house.prompts.list(house.ann)[0]), "Delete")
    assert titles(house, house.ann) == []


def field(at: AppTest, label: str) -> Any:
    return next(one for one in at.text_input if one.label == label)


def test_what_cannot_be_saved_says_why(house: Any) -> None:
    at = dialog(edit_script, house.ann, None)
    field(at, "Title").set_value("   ")
    at = press(at, "Save")
    assert at.error[0].value == "A prompt's title has 1 to 100 characters."


def test_the_search_finds_words_and_says_when_there_are_none(house: Any) -> None:
    for title in ("Alpha", "Beta"):
        house.prompts.create(house.ann, title, "text")
    at = page()
    field(at, "Search").set_value("alp")
    assert "Beta" not in words(run(at))
    field(at, "Search").set_value("nothing")
    assert run(at).info[0].value == "No prompt has these words."


def test_markup_in_a_prompt_stays_text(house: Any) -> None:
    house.prompts.create(house.ann, "**bold** [a](b)", ":red[x] <b>y</b> $z$", is_team=True)
    shown = words(page())
    assert r"\*\*bold\*\* \[a\]\(b\)" in shown
    assert r"\:red\[x\] \<b\>y\<\/b\> \$z\$" in shown


def test_a_colleagues_team_prompt_can_be_read_and_not_changed(house: Any) -> None:
    house.prompts.create(house.ann, "Ours", "text", is_team=True)
    house.who = house.bob
    at = page()
    assert "Ours" in words(at)
    assert "a colleague's" in words(at)
    assert [button.label for button in at.button] == ["New prompt", "Use in chat"]
    house.who = house.dora
    assert [button.label for button in page().button] == ["New prompt", "Use in chat", "Edit", "Delete"]


def list_script(who: object) -> None:
    import streamlit as st

    from chatcore.bootstrap import core
    from pages.ui import prompt_parts

    st.page_link = lambda *_args, **_more: None  # type: ignore[assignment]
    st.session_state.setdefault("inserted", [])
    prompt_parts._draw_open(who, st.session_state["inserted"].append)
    assert core()


def picker(house: Any) -> AppTest:
    return run(AppTest.from_function(list_script, default_timeout=30, args=(house.ann,)))


def test_choosing_a_prompt_puts_it_into_the_input(house: Any) -> None:
    house.prompts.create(house.ann, "Plain", "Just *this*")
    at = picker(house)
    at.button[0].click()
    assert run(at).session_state["inserted"] == ["Just *this*"]


def test_variables_are_asked_for_first(house: Any) -> None:
    house.prompts.create(house.ann, "Letter", "Dear {{name}}, from {{place: Rome}}. {{name}}!")
    at = picker(house)
    at.button[0].click()
    at = run(at)
    assert [(one.label, one.placeholder) for one in at.text_input] == [("name", ""), ("place", "Rome")]
    assert at.session_state["inserted"] == []
    at.text_input[0].set_value("Ann {{x}}")
    at = press(at, "Insert")
    assert at.session_state["inserted"] == ["Dear Ann {{x}}, from Rome. Ann {{x}}!"]
    assert [one.label for one in at.text_input] == ["Search prompts"], "the list again"


def test_what_has_a_line_to_itself_may_have_many_lines(house: Any) -> None:
    house.prompts.create(house.ann, "Review", "Review this {{language}} code, and mind {{what: types}}:\n\n {{code}}\n")
    at = picker(house)
    at.button[0].click()
    at = run(at)
    assert [one.label for one in at.text_input] == ["language", "what"]
    assert [one.label for one in at.text_area] == ["code"]


def use_script(prompt: object) -> None:
    import streamlit as st

    from pages.ui import composer, prompt_parts

    switch = st.switch_page
    st.switch_page = lambda page: st.session_state.update(gone_to=page)  # type: ignore[assignment]
    try:
        prompt_parts.use(prompt, composer.put_back)
    finally:
        st.switch_page = switch


def test_a_prompt_is_used_in_the_chat_its_variables_filled(house: Any) -> None:
    house.prompts.create(house.ann, "Letter", "Dear {{name}}")
    at = dialog(use_script, house.prompts.list(house.ann)[0])
    field(at, "name").set_value("Ann")
    at = press(at, "Use in chat")
    assert at.session_state["chat_returned"]["text"] == "Dear Ann"
    assert at.session_state["gone_to"] == "chat.py"


def test_a_prompt_without_variables_goes_to_the_chat_at_once(house: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    house.prompts.create(house.ann, "Plain", "Just this")
    gone_to: list[str] = []
    monkeypatch.setattr("streamlit.switch_page", gone_to.append)
    at = press(page(), "Use in chat")
    assert gone_to == ["chat.py"]
    assert at.session_state["chat_returned"]["text"] == "Just this"


def test_the_form_can_be_left_and_a_prompt_that_went_meanwhile_is_no_trap(house: Any) -> None:
    made = house.prompts.create(house.ann, "Letter", "Dear {{name}}")
    at = picker(house)
    at.button[0].click()
    at = press(run(at), "Back")
    assert at.session_state["inserted"] == []
    at.button[0].click()
    run(at)
    house.prompts.delete(house.ann, made)
    assert "no saved prompts" in words(run(at))


def test_the_picker_searches_and_says_how_many_more(house: Any) -> None:
    for number in range(10):
        house.prompts.create(house.ann, f"Prompt {number}", "x")
    at = picker(house)
    assert len(at.button) == 8
    assert "2 more" in words(at)
    at.text_input[0].set_value("prompt 9")
    assert len(run(at).button) == 1


def rating_script(who: object, message_id: str) -> None:
    from pages.ui import rating_parts

    rating_parts.draw(who, message_id)


def admin_script(who: object) -> None:
    from pages.ui import rating_parts

    rating_parts.draw_admin(who)


def reply_of(house: Any) -> str:
    def work(db: Any) -> str:
        made = store.create(db, house.ann, "hello", model="m", agent_id=None, settings={})
        said = {"parts": [], "status": "complete"}
        asked = store.add_message(db, house.ann, made.id, parent_id=None, role="user", content="asked *it*", **said)
        said |= {"role": "assistant", "model": "m_1"}
        return str(store.add_message(db, house.ann, made.id, parent_id=asked, content="replied", **said))

    return str(house.db.write(work))


def test_a_reply_is_rated_and_the_rating_taken_back(house: Any) -> None:
    reply = reply_of(house)
    at = run(AppTest.from_function(rating_script, default_timeout=30, args=(house.ann, reply)))
    assert next(one for one in at.button if one.label == "Send").disabled, "stars first"
    assert at.toggle[0].value is False, "the text stays with the person"
    at.feedback[0].set_value(3)
    at.text_area[0].set_value("good")
    run(at)
    press(at, "Send")
    found = house.ratings.mine(house.ann, [reply])[reply]
    assert (found.stars, found.comment, found.text_sent) == (4, "good", False)
    press(at, "Take back")
    assert house.ratings.mine(house.ann, [reply]) == {}


def test_admins_see_means_and_what_was_sent(house: Any) -> None:
    at = run(AppTest.from_function(admin_script, default_timeout=30, args=(house.dora,)))
    assert "No reply has been rated yet" in words(at)
    house.ratings.rate(house.ann, reply_of(house), 2, "**not** good", send_text=True)
    at = run(AppTest.from_function(admin_script, default_timeout=30, args=(house.dora,)))
    assert list(at.dataframe[0].value["model"]) == ["m_1"]
    assert "★★☆☆☆ · m\\_1" in words(at)
    assert [one.value for one in at.text] == ["**not** good", "asked *it*", "replied"]
    assert house.ann.name not in words(at)
