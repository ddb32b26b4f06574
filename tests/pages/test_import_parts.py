"""The import on the history page, driven without a browser: nothing, running, done, failed, and put away."""

from types import SimpleNamespace
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from chatcore.conversations.exchange import ImportProgress
from chatcore.ids import new_id
from pages.ui import import_parts


class Imports:
    """What the page asks for: one person's imports, as they are told to stand."""

    def __init__(self) -> None:
        self.found: list[ImportProgress] = []
        self.cancelled: list[str] = []

    def mine(self, _: object) -> list[ImportProgress]:
        return self.found

    def cancel(self, _: object, import_id: str) -> None:
        self.cancelled.append(import_id)

    def stands(self, state: str, **facts: Any) -> None:
        made = self.found[0].id if self.found else new_id("import")
        self.found = [ImportProgress(id=made, name="old *chats*.zip", state=state, **facts)]  # type: ignore[arg-type]


@pytest.fixture
def imports(monkeypatch: pytest.MonkeyPatch) -> Imports:
    imports = Imports()
    monkeypatch.setattr("pages.ui.import_parts.core", lambda: SimpleNamespace(imports=imports))
    monkeypatch.setattr("pages.ui.session.current_principal", SimpleNamespace)
    return imports


def script() -> None:
    import streamlit as st

    from pages.ui import import_parts

    if not st.session_state.get("elsewhere"):
        import_parts.draw(None)  # type: ignore[arg-type]


def run(at: AppTest) -> AppTest:
    at.run()
    assert not at.exception
    return at


def opened() -> AppTest:
    return run(AppTest.from_function(script, default_timeout=30))


def texts(at: AppTest) -> str:
    return "\n".join(one.value for kind in (at.success, at.error, at.info, at.markdown) for one in kind)


def progress(at: AppTest) -> list[Any]:
    return [one.proto for one in at.get("progress")]


def test_without_an_import_there_are_the_buttons_alone(imports: Imports) -> None:
    at = opened()
    assert "Open WebUI" in texts(at)
    assert [one.proto.label for one in at.get("download_button")] == ["Export everything"]
    assert progress(at) == []
    assert not at.success
    assert not at.button


def test_one_that_runs_shows_how_far_it_is_and_can_be_cancelled(imports: Imports) -> None:
    imports.stands("running", fraction=0.5, added=3, messages=40)
    at = opened()
    (bar,) = progress(at)
    assert bar.value == 50
    assert bar.text == "Importing old \\*chats\\*\\.zip: 3 new conversations, 40 messages"
    at.button(key="import_cancel").click()
    run(at)
    assert imports.cancelled == [imports.found[0].id]


def test_one_that_is_done_says_what_it_brought_and_what_it_could_not_read(imports: Imports) -> None:
    imports.stands("done", added=1, unchanged=2, skipped=1, messages=9, problems=("“Plan” has <b>no</b> messages.",))
    at = opened()
    said = "old \\*chats\\*\\.zip is imported: 1 new conversation, 2 unchanged, 1 skipped, 9 messages."
    assert at.success[0].value == said
    assert at.expander[0].label == "1 note"
    assert "\\<b\\>no" in texts(at)


def test_one_that_failed_says_why_and_what_was_kept(imports: Imports) -> None:
    imports.stands("failed", added=2, messages=4, problems=("The file is *damaged*.",))
    at = opened()
    assert at.error[0].value == "old \\*chats\\*\\.zip was not imported. The file is \\*damaged\\*\\."
    assert "Kept: 2 new conversations, 4 messages." in texts(at)


def test_one_that_was_cancelled_says_what_was_kept(imports: Imports) -> None:
    imports.stands("cancelled", added=1, messages=2)
    assert "was cancelled. Kept: 1 new conversation, 2 messages." in opened().info[0].value


def test_a_result_is_put_away_by_its_x(imports: Imports) -> None:
    imports.stands("done", added=1)
    at = opened()
    at.button(key="import_dismiss").click()
    assert not run(at).success
    imports.found = []
    imports.stands("failed", problems=("No.",))
    assert run(at).error, "the next one is shown"


def test_a_result_stays_while_one_is_on_the_page_and_is_gone_after_leaving_it_once(imports: Imports) -> None:
    imports.stands("running")
    at = opened()
    imports.stands("done", added=1)
    assert run(at).success
    assert run(at).success
    at.session_state["elsewhere"] = True
    run(at)
    at.session_state["elsewhere"] = False
    assert not run(at).success
    assert not opened().success, "nor in another browser"


def test_a_result_that_nobody_saw_yet_is_shown_on_coming_back(imports: Imports) -> None:
    imports.stands("running")
    opened()
    imports.stands("done", added=1)
    assert opened().success


def test_after_ten_minutes_a_result_is_gone(imports: Imports, monkeypatch: pytest.MonkeyPatch) -> None:
    imports.stands("done", added=1)
    at = opened()
    now = import_parts.time.monotonic()
    monkeypatch.setattr("pages.ui.import_parts.time", SimpleNamespace(monotonic=lambda: now + 590))
    assert run(at).success
    monkeypatch.setattr("pages.ui.import_parts.time", SimpleNamespace(monotonic=lambda: now + 610))
    assert not run(at).success
