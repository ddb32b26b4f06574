"""The page of workshops, driven without a browser: the list, a workshop's steps, conversation and notes, playbooks."""

import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from chatcore import bootstrap
from chatcore.accounts import Principal
from chatcore.bootstrap import Core
from chatcore.workshops import Content, Step
from pages.ui import session
from tests.chat import Chat, running_core
from tests.hostile import HostileProvider

PAGE = Path(__file__).parents[2] / "pages" / "workshops.py"
QUICK, SLOW = "ok;n=5", "ok;n=40;rate=20"
PLAN = Content("Our *plan*", "For us", "Be brief.", (Step("look", "Look", "Go **out**."), Step("think", "Think")))


@pytest.fixture(scope="module")
def provider() -> Iterator[HostileProvider]:
    with HostileProvider() as provider:
        yield provider


@pytest.fixture(scope="module")
def core(tmp_path_factory: pytest.TempPathFactory, provider: HostileProvider) -> Iterator[Core]:
    with running_core(
        tmp_path_factory.mktemp("core"), provider, [QUICK, SLOW], default_model=QUICK, max_message_chars=500
    ) as core:
        bootstrap.use(core)
        yield core
        bootstrap.use(None)


class Team:
    """Ann, who leads the workshop `id`, Bob, who takes part, and Eve, who does not. `who` looks at the page."""

    def __init__(self, core: Core, provider: HostileProvider) -> None:
        mark = secrets.token_hex(4)
        self.core = core
        self.ann, self.bob, self.eve = (Chat(core, provider, f"{name}-{mark}") for name in ("ann", "bob", "eve"))
        self.who: Principal = self.ann.who
        self.playbook = core.workshops.create_playbook(self.ann.who, PLAN)
        self.id = core.workshops.create(self.ann.who, self.playbook, "Fridays *only*")
        core.workshops.invite(self.ann.who, self.id, [self.bob.who.user_id])

    def open(self, **params: str) -> AppTest:
        at = AppTest.from_file(str(PAGE), default_timeout=30)
        for name, value in params.items():
            at.query_params[name] = value
        return run(at)

    def room(self, step: str = "look", **params: str) -> AppTest:
        return self.open(w=self.id, step=step, **params)

    def ask(self, chat: Chat, text: str, step: str = "look", model: str = QUICK, *, wait: bool = True) -> str:
        asked = self.core.turns.ask_in_step(chat.who, (self.id, step), text, model=model)
        if wait:
            chat.words(asked)
        return asked.conversation_id

    def notes(self, step: str = "look") -> str | None:
        found = self.core.workshops.notes(self.ann.who, self.id, step)
        return found.text if found else None


@pytest.fixture
def team(core: Core, provider: HostileProvider, monkeypatch: pytest.MonkeyPatch) -> Team:
    team = Team(core, provider)
    monkeypatch.setattr(session, "current_principal", lambda: team.who)
    return team


def run(at: AppTest) -> AppTest:
    at.run()
    assert not at.exception, at.exception
    return at


def press(at: AppTest, key: str) -> AppTest:
    at.button(key=key).click()
    return run(at)


def has(at: AppTest, key: str) -> bool:
    return any(one.key == key for one in at.button)


def words(at: AppTest) -> str:
    kinds = (at.title, at.markdown, at.caption, at.info, at.success, at.warning, at.error, at.toast, at.text)
    return "\n".join(str(one.value) for kind in kinds for one in kind)


def send(at: AppTest, text: str) -> AppTest:
    at.chat_input(key="workshop_input").set_value(text)
    return run(at)


def param(at: AppTest, name: str) -> str:
    found: Any = at.query_params.get(name, "")
    return str(found[0] if isinstance(found, list) else found)


# ---- the list


def test_the_empty_list_says_what_a_workshop_is(team: Team) -> None:
    team.who = team.eve.who
    at = team.open()
    assert "Work through a problem together" in words(at)


def test_the_list_has_ones_own_and_those_open_to_the_team(team: Team) -> None:
    team.core.workshops.set_done(team.ann.who, team.id, "look", done=True)
    at = team.open()
    assert "Our \\*plan\\* · led by you · 2 people" in words(at)
    assert at.button(key=f"workshop_open-{team.id}").label == "**Fridays \\*only\\***"
    team.who = team.eve.who
    assert not has(team.open(), f"workshop_open-{team.id}")
    team.core.workshops.open_to_team(team.ann.who, team.id, is_open=True)
    at = team.open()
    assert "Open to the team" in [one.value for one in at.subheader]
    press(at, f"workshop_open-{team.id}")
    assert param(at, "w") == team.id
    assert team.eve.who.name in {one.name for one in team.core.workshops.get(team.ann.who, team.id).people}


def test_archived_ones_stand_apart(team: Team) -> None:
    team.core.workshops.archive(team.ann.who, team.id)
    at = team.open()
    assert "Archived (1)" in [one.label for one in at.expander]
    press(at, f"workshop_open-{team.id}")
    assert "is in the archive" in words(at)
    press(at, "workshop_archive")
    assert not team.core.workshops.get(team.ann.who, team.id).is_over


def test_a_new_workshop_is_begun_in_a_dialog(team: Team) -> None:
    at = press(team.open(), "new_workshop")
    at.button(key="new_workshop").click()
    press(at, "workshop_start")
    assert "title has 1 to 80 characters" in words(at)
    at.text_input(key="workshop_new_title").set_value("Mondays")
    at.selectbox(key="workshop_new_playbook").set_value("design-thinking")
    at.multiselect(key="workshop_new_people").set_value([team.eve.who.user_id])
    at.toggle(key="workshop_new_open").set_value(True)
    at.button(key="new_workshop").click()  # a run of the whole page closes the dialog, and here there is no other
    press(at, "workshop_start")
    made = team.core.workshops.get(team.eve.who, param(at, "w"))
    assert (made.title, made.content.name, made.open_to_team) == ("Mondays", "Design thinking", True)


# ---- a workshop


def test_what_is_not_theirs_is_a_sentence(team: Team) -> None:
    team.who = team.eve.who
    for session_id in (team.id, "workshop_" + "0" * 26, "' OR 1=1"):
        at = team.open(w=session_id)
        assert "does not exist, or it is not yours" in words(at)
        assert "Fridays" not in words(at)
    press(at, "workshop_back")
    assert param(at, "w") == ""


def test_a_step_shows_what_to_do_and_takes_a_question(team: Team) -> None:
    at = team.room()
    assert at.title[0].value == "Fridays \\*only\\*"
    assert "Go **out**." in words(at)
    assert "Nobody has asked anything" in words(at)
    assert [one.label for one in at.button if str(one.key).startswith("workshop_step-")] == ["1. Look", "2. Think"]
    send(at, "what is *there*?")
    said = words(at)
    assert "[4]" in said
    assert team.ann.who.name.replace("-", "\\-") in said
    team.who = team.bob.who
    at = team.room()
    assert "what is" in words(at)
    send(at, "and then?")
    found = team.core.workshops.get(team.ann.who, team.id).steps[0].conversation_id
    asked = [one.content for one in team.ann.messages(str(found)) if one.role == "user"]
    assert asked == ["what is *there*?", "and then?"]


def test_a_running_reply_is_followed_by_who_comes_in_its_midst(team: Team) -> None:
    team.ask(team.ann, "a long one", model=SLOW, wait=False)
    team.who = team.bob.who
    at = team.room()  # the run lasts until its end
    assert "[39]" in words(at)
    assert not has(at, "stop")


def test_each_sees_what_their_own_questions_cost(team: Team) -> None:
    team.ask(team.ann, "on my bill")
    assert "$" in words(team.room())
    team.who = team.bob.who
    assert "$" not in words(team.room())


def test_what_could_not_be_sent_stays_in_the_input(team: Team) -> None:
    at = team.room()
    team.core.workshops.end(team.ann.who, team.id)
    send(at, "too late")
    assert "has ended" in words(at)
    assert len(at.chat_input) == 0
    team.core.workshops.end(team.ann.who, team.id, ended=False)
    at = team.room()
    send(at, "x" * 501)
    assert "the most that can be sent" in words(at)
    assert at.chat_input(key="workshop_input").value == "x" * 501


def test_replies_can_be_answered_anew_edited_and_copied(team: Team) -> None:
    conversation_id = team.ask(team.ann, "first")
    question, reply = team.ann.messages(conversation_id)
    at = press(team.room(), f"regenerate-{reply.id}")
    newest = team.ann.messages(conversation_id)[-1]
    assert newest.id != reply.id
    press(at, f"edit-{question.id}")
    at.text_area(key=f"edited-{question.id}").set_value("better")
    press(at, f"send-edit-{question.id}")
    assert [one.content for one in team.ann.messages(conversation_id) if one.role == "user"] == ["better"]
    team.who = team.bob.who
    at = team.room()
    assert not any(str(one.key).startswith("edit-") for one in at.button)
    press(at, next(str(one.key) for one in at.button if str(one.key).startswith("version-1")))
    assert "first" in words(at)


def test_a_step_is_done_and_the_next_one_comes(team: Team) -> None:
    at = press(team.room(), "workshop_done")
    assert team.core.workshops.get(team.bob.who, team.id).steps[0].done_at
    assert param(at, "step") == "think"
    assert at.button(key="workshop_step-think").proto.type == "primary"
    press(at, "workshop_step-look")
    press(at, "workshop_done")
    assert team.core.workshops.get(team.bob.who, team.id).steps[0].done_at is None


def test_an_address_without_a_step_opens_the_first_that_is_not_done(team: Team) -> None:
    team.core.workshops.set_done(team.ann.who, team.id, "look", done=True)
    assert team.open(w=team.id).button(key="workshop_step-think").proto.type == "primary"
    assert team.open(w=team.id, step="<b>").button(key="workshop_step-think").proto.type == "primary"


# ---- notes


def write(at: AppTest, text: str) -> AppTest:
    at.text_area[0].set_value(text)
    return press(at, "workshop_save")


def test_notes_are_written_and_read(team: Team) -> None:
    at = press(team.room(), "workshop_edit")
    assert param(at, "edit") == "0"
    write(at, "People **wait**.")
    assert team.notes() == "People **wait**."
    assert param(at, "edit") == ""
    assert "People **wait**." in words(at)
    press(at, "workshop_edit")
    assert at.text_area[0].value == "People **wait**."
    press(at, "workshop_cancel")
    assert team.notes() == "People **wait**."


def test_who_writes_at_the_same_time_is_told_and_loses_nothing(team: Team) -> None:
    at = press(team.room(), "workshop_edit")
    at.text_area[0].set_value("mine")
    team.core.workshops.save_notes(team.bob.who, team.id, "look", "bob's", 0)
    press(at, "workshop_save")
    assert "saved other notes of this step" in words(at)
    assert "bob's" in words(at)
    assert at.text_area[0].value == "mine"
    assert team.notes() == "bob's"
    press(at, "workshop_save")
    assert team.notes() == "mine"
    assert [one.text for one in team.core.workshops.versions(team.ann.who, team.id, "look")] == ["mine", "bob's"]


def test_theirs_can_be_taken(team: Team) -> None:
    at = press(team.room(), "workshop_edit")
    team.core.workshops.save_notes(team.bob.who, team.id, "look", "bob's", 0)
    run(at)
    assert "saved other notes" in words(at)
    press(at, "workshop_cancel")
    assert team.notes() == "bob's"
    assert "bob's" in words(at)


def test_the_form_comes_back_with_the_address(team: Team) -> None:
    team.core.workshops.save_notes(team.ann.who, team.id, "look", "first", 0)
    team.core.workshops.save_notes(team.bob.who, team.id, "look", "second", 1)
    assert team.room(edit="1").text_area[0].value == "first"
    assert team.room(edit="2").text_area[0].value == "second"
    for odd in ("-1", "x", "²", "9" * 30):
        assert not any(one.key and one.key.startswith("workshop_text") for one in team.room(edit=odd).text_area)


def test_a_model_writes_notes_when_something_was_said(team: Team) -> None:
    at = team.room()
    assert at.button(key="workshop_summarise").disabled
    team.ask(team.ann, "hello")
    at = team.room()
    press(at, "workshop_summarise")
    assert "[4]" in str(team.notes())
    assert f"{QUICK}, for" in words(at).replace("\\", "")


def test_what_a_model_did_not_do_is_said(team: Team) -> None:
    team.ask(team.ann, "hello")
    at = team.room()
    team.core.workshops.end(team.ann.who, team.id)
    press(at, "workshop_summarise")
    assert team.notes() is None
    assert "has ended" in words(at)


# ---- people


def test_the_leader_invites_removes_and_opens(team: Team) -> None:
    at = team.room()
    at.session_state["workshop_people"] = True
    run(at)
    assert f"/workshops?w={team.id}" in at.code[0].value
    at.multiselect(key="workshop_invited").set_value([team.eve.who.user_id])
    run(at)
    press(at, "workshop_invite")
    assert len(team.core.workshops.get(team.eve.who, team.id).people) == 3
    at.session_state["workshop_people"] = True
    run(at)
    at.session_state["workshop_people"] = True
    press(at, f"workshop_remove-{team.bob.who.user_id}")
    assert len(team.core.workshops.get(team.eve.who, team.id).people) == 2
    at.session_state["workshop_people"] = True
    run(at)
    at.session_state["workshop_people"] = True
    at.toggle(key=f"workshop_open_to-{team.id}").set_value(True)
    run(at)
    assert team.core.workshops.get(team.ann.who, team.id).open_to_team


def test_the_leader_renames_ends_and_archives(team: Team) -> None:
    at = team.room()
    at.text_input(key=f"workshop_rename-{team.id}").set_value("Saturdays")
    run(at)
    assert at.title[0].value == "Saturdays"
    press(at, "workshop_end")
    assert "has ended" in words(at)
    assert len(at.chat_input) == 0
    assert not has(at, "workshop_edit")
    press(at, "workshop_end")
    press(at, "workshop_archive")
    assert param(at, "w") == ""


def test_who_only_takes_part_may_leave(team: Team) -> None:
    team.who = team.bob.who
    at = team.room()
    assert not has(at, "workshop_end")
    press(at, "workshop_leave")
    assert param(at, "w") == ""
    assert "does not exist" in words(team.room())


# ---- playbooks


def playbooks(team: Team) -> AppTest:
    at = team.open()
    at.session_state["workshop_section"] = "playbooks"
    return run(at)


def test_playbooks_are_listed_and_begun(team: Team) -> None:
    at = playbooks(team)
    said = words(at)
    assert "Comes with Chatcore · Empathize → Define → Ideate → Prototype → Test" in said
    assert "Our \\*plan\\*" in said
    press(at, f"start-{team.playbook}")
    assert at.selectbox(key="workshop_new_playbook").value == team.playbook


def test_a_playbook_of_others_is_read_and_copied(team: Team) -> None:
    team.who = team.bob.who
    at = press(playbooks(team), f"edit-{team.playbook}")
    assert "You can use this playbook, not change it" in words(at)
    assert not has(at, "playbook_save")
    press(at, "playbook_copy")
    assert at.text_input(key="playbook-name").value == "Copy of Our *plan*"


def test_a_playbook_is_made_with_steps_that_move(team: Team) -> None:
    at = press(team.open(), "new_playbook")
    press(at, "playbook_save")
    assert "1 to 80 characters" in words(at)
    at.text_input(key="playbook-name").set_value("Retro")
    at.text_input(key="playbook-title-step-1").set_value("What went well")
    run(at)
    press(at, "playbook_add")
    at.text_input(key="playbook-title-new/1").set_value("What else")
    at.multiselect(key="playbook-brings-new/1").set_value(["step-1"])
    run(at)
    press(at, "playbook_add")
    at.text_input(key="playbook-title-new/2").set_value("First of all")
    run(at)
    for _ in range(2):
        press(at, "playbook_up-new/2")
    press(at, "playbook_save")
    made = team.core.workshops.playbook(team.ann.who, param(at, "p")).content
    assert [(one.id, one.title, one.brings) for one in made.steps] == [
        ("first-of-all", "First of all", ()),
        ("step-1", "What went well", ()),
        ("what-else", "What else", ("step-1",)),
    ]
    press(at, "playbook_remove-step-1")
    press(at, "playbook_save")
    made = team.core.workshops.playbook(team.ann.who, param(at, "p")).content
    assert [(one.id, one.brings) for one in made.steps] == [("first-of-all", ()), ("what-else", ())]


def test_a_step_that_moves_before_what_it_brings_forward_no_longer_does(team: Team) -> None:
    at = team.open(p=team.playbook)
    at.multiselect(key="playbook-brings-think").set_value(["look"])
    run(at)
    press(at, "playbook_up-think")
    press(at, "playbook_save")
    made = team.core.workshops.playbook(team.ann.who, team.playbook).content
    assert [(one.id, one.brings) for one in made.steps] == [("think", ()), ("look", ())]


def test_who_changes_a_playbook_second_is_told(team: Team) -> None:
    at = team.open(p=team.playbook)
    at.text_input(key="playbook-name").set_value("Mine")
    team.core.workshops.save_playbook(team.ann.who, team.playbook, PLAN, 1)
    press(at, "playbook_save")
    assert "Somebody changed this playbook" in words(at)
    assert at.text_input(key="playbook-name").value == "Mine"
    press(at, "playbook_discard")
    assert at.text_input(key="playbook-name").value == "Our *plan*"
    press(at, "playbook_save")
    assert team.core.workshops.playbook(team.ann.who, team.playbook).version == 3


def test_an_archived_playbook_comes_back(team: Team) -> None:
    press(team.open(p=team.playbook), "playbook_archive")
    at = playbooks(team)
    assert not has(at, f"start-{team.playbook}")
    press(at, f"restore-{team.playbook}")
    assert has(at, f"start-{team.playbook}")


def test_a_removed_person_sees_it_go(team: Team) -> None:
    team.who = team.bob.who
    at = team.room()
    team.core.workshops.remove(team.ann.who, team.id, team.bob.who.user_id)
    run(at)
    assert "does not exist, or it is not yours" in words(at)
