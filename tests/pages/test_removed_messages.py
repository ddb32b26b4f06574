"""A message whose words were removed is drawn in grey, and offers nothing."""

from streamlit.testing.v1 import AppTest


def test_it_says_so_and_has_no_buttons() -> None:
    def script() -> None:
        from datetime import UTC, datetime

        from chatcore.conversations import Message, Window
        from pages.ui.messages import draw_messages

        at, why = datetime(2026, 1, 1, tzinfo=UTC), {"removed": {"after_days": 90}}
        messages = tuple(
            Message(f"m{number}", None, role, "Removed after 90 days.", "complete", at, meta=why)
            for number, role in enumerate(("user", "assistant"))
        )
        draw_messages(Window(messages, earlier=False), labels={}, acts=None)

    at = AppTest.from_function(script).run()
    assert not at.exception
    assert [one.value for one in at.markdown] == [":gray[Removed after 90 days\\.]"] * 2
    assert not at.caption
