"""The chat page over a whole Core and the hostile provider, driven without a browser."""

import secrets
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update
from streamlit.testing.v1 import AppTest

from chatcore import bootstrap
from chatcore.bootstrap import Core
from chatcore.conversations import store
from chatcore.db.tables import Conversation
from chatcore.errors import DatabaseError
from chatcore.gateway import Delta, Task
from chatcore.turns import TurnSettings, queue
from chatcore.turns.asking import Question
from chatcore.turns.values import Choice
from pages.ui import messages, session
from tests.chat import Chat, running_core, until
from tests.hostile import HostileProvider

ROUTER = Path(__file__).parents[2] / "pages" / "router.py"
QUICK, SLOW, CUT = "ok;n=20", "ok;n=400;rate=20", "cut;n=40;at=12"
MODELS = [QUICK, SLOW, CUT, "500", "401", "reasoning", "tools", "nousage;n=20"]


@pytest.fixture(scope="module")
def provider() -> Iterator[HostileProvider]:
    with HostileProvider() as provider:
        yield provider


@pytest.fixture(scope="module")
def core(tmp_path_factory: pytest.TempPathFactory, provider: HostileProvider) -> Iterator[Core]:
    folder = tmp_path_factory.mktemp("core")
    with running_core(folder, provider, MODELS, demo_models=True, default_model=QUICK, max_message_chars=500) as core:
        bootstrap.use(core)
        yield core
        bootstrap.use(None)


class Tab(Chat):
    """A person before the page."""

    def open(self, conversation_id: str | None = None, **params: str) -> AppTest:
        at = AppTest.from_file(str(ROUTER), default_timeout=30)
        for name, value in (params | ({"c": conversation_id} if conversation_id else {})).items():
            at.query_params[name] = value
        return run(at)

    def conversation(self, count: int = 0, **values: Any) -> str:
        """A conversation of `count` messages, written straight into the database."""

        def work(db: Any) -> str:
            made = store.create(db, self.who, "made for a test", model=QUICK, agent_id=None, settings={})
            parent = None
            for number in range(count):
                role = ("user", "assistant")[number % 2]
                said = {"role": role, "content": f"message {number}", "status": "complete", "parts": [], "model": QUICK}
                parent = store.add_message(db, self.who, made.id, parent_id=parent, **said)
                store.advance(db, made.id, parent, 1)
            if values:
                db.execute(update(Conversation).where(Conversation.id == made.id).values(**values))
            return made.id

        return self.core.db.write(work)


@pytest.fixture
def tab(core: Core, provider: HostileProvider, monkeypatch: pytest.MonkeyPatch) -> Tab:
    tab = Tab(core, provider, f"person-{secrets.token_hex(4)}")
    monkeypatch.setattr(session, "current_principal", lambda: tab.who)
    return tab


def run(at: AppTest) -> AppTest:
    at.run()
    assert not at.exception, at.exception
    return at


def send(at: AppTest, text: str, model: str | None = None) -> AppTest:
    if model:
        at.selectbox(key="model").set_value(model)
        run(at)
    at.chat_input[0].set_value(text)
    return run(at)


def press(at: AppTest, label: str) -> AppTest:
    next(button for button in at.button if button.label == label).click()
    return run(at)


def conversation_of(at: AppTest) -> str:
    value = at.query_params["c"]
    return value if isinstance(value, str) else value[0]


def labels(at: AppTest) -> list[str]:
    return [button.label for button in at.button]


def said(at: AppTest) -> list[tuple[str, str]]:
    """Who said what, as it is drawn."""
    return [(message.name, "\n".join(one.value for one in message.markdown)) for message in at.chat_message]


def typed(at: AppTest) -> str:
    """What stands in the input without being sent."""
    proto = at.chat_input[0].proto
    return proto.value if proto.set_value else ""


def captions(at: AppTest) -> str:
    return "\n".join(caption.value for caption in at.caption)


# --- nobody ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("params", [{}, {"c": "conv_never"}, {"model": QUICK}])
def test_somebody_who_is_not_signed_in_sees_the_sign_in_form_alone(
    tab: Tab, monkeypatch: pytest.MonkeyPatch, params: dict[str, str]
) -> None:
    mine = tab.conversation(2)
    monkeypatch.setattr(session, "current_principal", lambda: None)
    monkeypatch.setattr(session, "session_id", lambda: None)
    for at in (tab.open(**params), tab.open(mine)):
        assert not at.chat_input
        assert not at.chat_message
        assert not at.selectbox
        assert {field.label for field in at.text_input} == {"Username", "Password"}


# --- nothing yet ----------------------------------------------------------------------------------------------------


def test_a_new_chat_greets_and_has_one_place_to_ask(tab: Tab) -> None:
    at = tab.open()
    assert at.title[0].value == f"Hello, {tab.who.name.replace('-', chr(92) + '-')}"
    assert len(at.chat_input) == 1
    assert at.chat_input[0].key == "chat_input"
    assert not at.chat_message
    assert at.selectbox(key="model").value == QUICK
    assert {"New chat"} <= set(labels(at))
    assert not {"Stop", "Retry", "Continue"} & set(labels(at))


@pytest.mark.parametrize("text", ["", "  \n\t "])
def test_nothing_is_sent_for_nothing(tab: Tab, text: str) -> None:
    at = send(tab.open(), text)
    assert not at.error
    assert not at.chat_message
    assert tab.core.conversations.recent(tab.who) == []


def test_a_suggestion_is_asked(tab: Tab) -> None:
    at = tab.open()
    suggestion = next(button for button in at.button if (button.key or "").startswith("suggestion-"))
    suggestion.click()
    run(at)
    assert [who for who, _ in said(at)] == ["user", "assistant"]


# --- asking ---------------------------------------------------------------------------------------------------------


def test_a_question_and_its_reply_with_model_tokens_cost_and_time(tab: Tab) -> None:
    at = send(tab.open(), "How are you?")
    (asker, question), (answerer, reply) = said(at)
    assert (asker, answerer) == ("user", "assistant")
    assert question.strip() == "How are you?"
    assert "[0]" in reply
    assert "[19]" in reply
    [caption] = at.chat_message[1].caption
    model, tokens, cost, took = caption.value.split(" · ")
    stored = tab.messages(conversation_of(at))[-1]
    assert model == QUICK
    assert tokens == f"{stored.prompt_tokens + stored.completion_tokens} tokens"  # type: ignore[operator]
    assert cost.startswith("\\$0.")
    assert took.endswith(" s")
    assert not {"Retry", "Continue", "Stop"} & set(labels(at))


def test_tokens_that_were_estimated_and_a_cost_that_is_unknown_say_so(tab: Tab) -> None:
    at = send(tab.open(), "count yourself", "nousage;n=20")
    assert "≈ " in at.chat_message[1].caption[0].value
    at = send(at, "for nothing", "unpriced")
    assert "cost unknown" in at.chat_message[3].caption[0].value


def test_the_conversation_is_in_the_address_and_in_the_list(tab: Tab) -> None:
    at = send(tab.open(), "Remember this title")
    conversation_id = conversation_of(at)
    assert any(
        button.key == f"open-{conversation_id}" and "Remember this title" in button.label for button in at.button
    )
    again = tab.open(conversation_id)
    assert said(again) == said(at), "a reload shows the same"


def test_thoughts_and_tool_calls_are_folded_away(tab: Tab) -> None:
    at = send(tab.open(), "think", "reasoning")
    assert any(expander.label.startswith("Thought") for expander in at.chat_message[1].expander)
    at = send(at, "use a tool", "tools")
    assert any(expander.label.startswith("Tool call: ") for expander in at.chat_message[3].expander)


class Sent:
    """An element that counts the characters that were sent for it."""

    def __init__(self) -> None:
        self.characters = 0

    def empty(self) -> "Sent":
        return self

    def status(self, *_: object, **__: object) -> "Sent":
        return self

    def update(self, **_: object) -> None: ...

    def markdown(self, text: str) -> None:
        self.characters += len(text)


@pytest.mark.parametrize("between", ["\n\n", " "])
def test_long_thoughts_are_not_sent_again_with_every_word(between: str) -> None:
    thoughts = between.join(["one thought after another, " * 20] * 60)
    batches = [[Delta("reasoning", thoughts[at : at + 100])] for at in range(0, len(thoughts), 100)]
    head, sign = Sent(), Sent()
    list(messages._Running(head, sign, lambda: None, messages.LiveTools(head, "t", None)).items(iter(batches)))
    assert len(thoughts) < head.characters < 12 * len(thoughts)


def test_new_chat_leaves_the_conversation(tab: Tab) -> None:
    at = press(send(tab.open(), "hello"), "New chat")
    assert "c" not in at.query_params
    assert not at.chat_message


# --- a long one -----------------------------------------------------------------------------------------------------


def test_long_histories_are_drawn_thirty_at_a_time(tab: Tab) -> None:
    at = tab.open(tab.conversation(70))
    assert len(at.chat_message) == 30
    assert "message 69" in said(at)[-1][1]
    at = press(at, "Show earlier messages")
    assert len(at.chat_message) == 60
    at = press(at, "Show earlier messages")
    assert len(at.chat_message) == 70
    assert "message 0" in said(at)[0][1]
    assert "Show earlier messages" not in labels(at)


def test_exactly_a_window_has_nothing_earlier(tab: Tab) -> None:
    assert "Show earlier messages" not in labels(tab.open(tab.conversation(30)))


# --- what goes wrong ------------------------------------------------------------------------------------------------


def test_a_failed_reply_says_why_and_retry_works(tab: Tab) -> None:
    at = send(tab.open(), "try", "500")
    [error] = at.chat_message[1].error
    assert error.value.endswith(".")
    assert "cannot be reached right now" in error.value
    at.selectbox(key="model").set_value(QUICK)
    at = press(run(at), "Retry")
    assert not at.error
    assert [who for who, _ in said(at)] == ["user", "assistant"]
    assert "[19]" in said(at)[1][1]


def test_where_retry_makes_no_sense_there_is_none(tab: Tab) -> None:
    at = send(tab.open(), "try", "401")
    assert "refused the key" in at.chat_message[1].error[0].value
    assert "Retry" not in labels(at)


def test_a_cut_reply_keeps_its_words_and_can_be_continued(tab: Tab) -> None:
    at = send(tab.open(), "go on", CUT)
    assert "[11]" in said(at)[1][1]
    assert {"Continue", "Retry"} <= set(labels(at))
    at.selectbox(key="model").set_value(QUICK)
    at = press(run(at), "Continue")
    assert [who for who, _ in said(at)] == ["user", "assistant", "assistant"]
    assert "[11]" in said(at)[1][1]
    assert "[19]" in said(at)[2][1]


def test_a_stopped_reply_says_so_and_can_be_continued(tab: Tab) -> None:
    asked = tab.ask(SLOW, "long")
    live = tab.core.turns.engine.live(str(asked.turn_id))
    assert live is not None
    until(lambda: "[2]" in live.text())
    tab.core.turns.stop(tab.who, str(asked.turn_id))
    until(lambda: live.finished)
    at = tab.open(asked.conversation_id)
    assert "Stopped." in said(at)[1][1]
    assert "Continue" in labels(at)
    assert "≈ " in at.chat_message[1].caption[0].value


def test_a_reply_stopped_before_its_first_word_offers_retry_and_continue(tab: Tab) -> None:
    conversation_id = tab.conversation(1)

    def stop(db: Any) -> None:
        head = store.head(db, tab.who, conversation_id)
        said = {"role": "assistant", "content": "", "status": "stopped", "parts": [], "model": QUICK}
        store.advance(db, conversation_id, store.add_message(db, tab.who, conversation_id, parent_id=head, **said), 1)

    tab.core.db.write(stop)
    at = tab.open(conversation_id)
    assert "Retry" in labels(at)
    assert "Continue" in labels(at)


def test_a_reply_that_ends_between_two_reads_is_drawn(tab: Tab, monkeypatch: pytest.MonkeyPatch) -> None:
    conversation_id = tab.conversation(2)
    conversations = tab.core.conversations
    read, reads = conversations.window, []

    def early(*args: Any, **named: Any) -> Any:
        conversation, window = read(*args, **named)
        reads.append(len(reads))
        if reads == [0]:
            last = replace(window.messages[-1], status="streaming", content="")
            window = replace(window, messages=(*window.messages[:-1], last))
        return conversation, window

    monkeypatch.setattr(conversations, "window", early)
    assert [text.strip() for _, text in said(tab.open(conversation_id))] == ["message 0", "message 1"]
    assert reads == [0, 1]


def test_an_error_is_loud_only_where_it_is_the_last_word(tab: Tab) -> None:
    at = send(tab.open(), "try", "500")
    assert len(at.error) == 1
    at = send(at, "and now?", QUICK)
    assert not at.error
    assert "cannot be reached right now" in said(at)[1][1]
    assert [label for label in labels(at) if label in ("Retry", "Regenerate")] == ["Retry", "Regenerate"]


def test_a_reply_that_was_gone_on_with_no_longer_says_that_it_broke(tab: Tab) -> None:
    at = send(tab.open(), "go on", CUT)
    at.selectbox(key="model").set_value(QUICK)
    at = press(run(at), "Continue")
    assert not at.error
    assert "Continued after a break." in said(at)[1][1]
    assert "mid-reply" not in said(at)[1][1]


def test_regenerate_answers_again_with_what_is_chosen_now(tab: Tab) -> None:
    at = send(tab.open(), "once more, please")
    [coder] = [agent for agent in tab.core.agents.list(tab.who) if agent.slug == "coder"]
    at.selectbox(key="agent").set_value(coder.id)
    at = press(run(at), "Regenerate")
    assert [who for who, _ in said(at)] == ["user", "assistant"]
    assert tab.messages(conversation_of(at))[-1].agent_id == coder.id


def test_while_a_reply_runs_stop_and_the_queue_are_drawn(tab: Tab, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = tab.ask(SLOW, "long")
    tab.ask(QUICK, "then *this*", asked.conversation_id)
    seen: dict[str, Any] = {}

    def a_moment(*_: object, **__: object) -> Iterator[list[object]]:
        seen["followed"] = True
        yield []

    # The page's own follower would last as long as the reply; here it looks away after the first batch.
    with monkeypatch.context() as patch:
        patch.setattr(tab.core.turns, "follow", a_moment)
        patch.setattr("streamlit.rerun", lambda *_, **__: None)
        at = tab.open(asked.conversation_id)
    assert seen == {"followed": True}
    assert {"Stop", "Withdraw", "Save"} <= set(labels(at))
    assert "Send now" not in labels(at)
    assert any("then \\*this\\*" in one.value for one in at.markdown)
    waiting = tab.core.turns.queued(tab.who, asked.conversation_id)[0]
    tab.core.turns.withdraw(tab.who, asked.conversation_id, waiting.id)
    tab.core.turns.stop(tab.who, str(asked.turn_id))
    tab.words(asked)


def test_a_question_left_waiting_by_a_restart_can_be_sent(tab: Tab) -> None:
    asked = tab.ask(SLOW, "long")
    tab.ask(QUICK, "left over", asked.conversation_id)
    waiting = tab.core.turns.queued(tab.who, asked.conversation_id)[0]
    tab.core.turns.withdraw(tab.who, asked.conversation_id, waiting.id)
    tab.core.turns.stop(tab.who, str(asked.turn_id))
    tab.words(asked)
    until(lambda: not tab.core.turns.active(tab.who, asked.conversation_id))
    gateway = tab.core.gateway
    caller = tab.core.db.read(lambda session: gateway.caller(session, tab.who))
    choice = Choice(gateway.planner.pick(caller, QUICK, Task()), caller, None, TurnSettings())
    tab.core.db.write(lambda db: queue.enqueue(db, tab.who, asked.conversation_id, Question("left over"), choice))
    at = press(tab.open(asked.conversation_id), "Send now")
    assert said(at)[-2][1].strip() == "left over"
    assert "[19]" in said(at)[-1][1]


def test_a_message_over_the_limit_is_refused_with_its_count_and_kept(tab: Tab) -> None:
    at = send(tab.open(), "x" * 501)
    [error] = at.error
    assert error.value.replace("\\", "") == "Your message has 501 characters; the most that can be sent is 500."
    assert typed(at) == "x" * 501
    assert not at.chat_message
    assert tab.core.conversations.recent(tab.who) == []


@pytest.mark.parametrize("failure", [DatabaseError("The database cannot be reached."), RuntimeError("a defect")])
def test_whatever_fails_what_was_typed_comes_back(
    tab: Tab, monkeypatch: pytest.MonkeyPatch, failure: Exception
) -> None:
    def ask(*_: object, **__: object) -> None:
        raise failure

    at = tab.open()
    with monkeypatch.context() as patch:
        patch.setattr(tab.core.turns, "ask", ask)
        at = send(at, "do not lose me")
    [error] = at.error
    assert error.value.endswith(".")
    assert "defect" not in error.value
    assert typed(at) == "do not lose me"


def test_while_the_database_is_away_the_page_keeps_what_was_typed(tab: Tab, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: object, **__: object) -> None:
        raise DatabaseError("The database cannot be reached.")

    at = tab.open(tab.conversation(2))
    with monkeypatch.context() as patch:
        patch.setattr(tab.core.turns, "ask", away)
        patch.setattr(tab.core.conversations, "window", away)
        at = send(at, "do not lose me")
        assert at.error[0].value == "The database cannot be reached."
        assert typed(at) == "do not lose me"


@pytest.mark.parametrize("whose", ["nobody's", "another's"])
def test_a_conversation_that_is_not_there_or_not_theirs(
    tab: Tab, core: Core, provider: HostileProvider, whose: str
) -> None:
    other = Tab(core, provider, f"other-{tab.who.username}")
    conversation_id = other.conversation(2) if whose == "another's" else "conv_never"
    at = tab.open(conversation_id)
    assert [one.value for one in at.info] == ["This conversation does not exist, or it is not yours."]
    assert not at.chat_message
    assert "made for a test" not in "".join(labels(at))
    assert len(at.chat_input) == 1


# --- choosing -------------------------------------------------------------------------------------------------------


def test_the_link_preselects_model_and_agent(tab: Tab) -> None:
    [coder] = [agent for agent in tab.core.agents.list(tab.who) if agent.slug == "coder"]
    at = tab.open(model=SLOW, agent="coder")
    assert at.selectbox(key="model").value == SLOW
    assert at.selectbox(key="agent").value == coder.id


def test_a_link_to_what_is_not_there_takes_the_default(tab: Tab) -> None:
    at = tab.open(model="no-such-model", agent="nobody")
    assert at.selectbox(key="model").value == QUICK


def test_what_was_switched_to_is_remembered(tab: Tab) -> None:
    conversation_id = tab.conversation(2)
    agent = tab.core.agents.list(tab.who)[-1]
    at = tab.open(conversation_id)
    at.selectbox(key="model").set_value(SLOW)
    run(at)
    at.selectbox(key="agent").set_value(agent.id)
    run(at)
    again = tab.open(conversation_id)
    assert (again.selectbox(key="model").value, again.selectbox(key="agent").value) == (SLOW, agent.id)
    assert tab.open(tab.conversation(2)).selectbox(key="model").value == QUICK, "and only there"


def test_a_model_without_its_key_names_the_variable(tab: Tab, monkeypatch: pytest.MonkeyPatch) -> None:
    catalog = tab.core.gateway.catalog
    absent = replace(catalog.get(QUICK), name="absent", display_name="Absent", missing=("ACME_API_KEY",))
    monkeypatch.setattr(catalog, "_found", (absent,))
    at = tab.open(model="absent")
    assert "Absent – needs ACME_API_KEY" in at.selectbox(key="model").options
    assert "ACME\\_API\\_KEY" in captions(at)
    at = send(at, "hello?")
    assert at.error[0].value.replace("\\", "") == "Set ACME_API_KEY to use Absent."
    assert typed(at) == "hello?"


def test_a_removed_model_leaves_its_conversation_readable_and_going_on(tab: Tab) -> None:
    conversation_id = tab.conversation(2, model="gone-model")
    at = tab.open(conversation_id)
    assert [text.strip() for _, text in said(at)] == ["message 0", "message 1"]
    assert "gone\\-model is no longer configured" in captions(at)
    at = send(at, "go on")
    assert "[19]" in said(at)[-1][1]


def test_a_demo_says_that_it_is_one(tab: Tab) -> None:
    demo = next(model.name for model in tab.core.gateway.catalog.models() if model.demo)
    assert "demo" in captions(tab.open(model=demo)).lower()


# --- what is typed stays text ---------------------------------------------------------------------------------------

HTML = "<script>alert(1)</script><img src=x onerror=alert(1)>"


def test_html_stays_text(tab: Tab) -> None:
    at = send(tab.open(), HTML)
    for element in at.markdown:
        assert not element.proto.allow_html
    title = next(button.label for button in at.button if (button.key or "").startswith("open-"))
    assert "\\<script\\>" in title


def test_markdown_in_a_title_and_a_name_stays_text(tab: Tab) -> None:
    tab.who = replace(tab.who, name=":red[**Eve**]")
    tab.conversation(2, title="**bold** [x](javascript:alert(1)) :material/bolt:")
    at = tab.open()
    assert at.title[0].value == "Hello, \\:red\\[\\*\\*Eve\\*\\*\\]"
    assert any(label.startswith("\\*\\*bold\\*\\* \\[x\\]\\(javascript") for label in labels(at))
