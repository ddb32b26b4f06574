"""The export of a conversation, driven without a browser: what is offered, made, handed out, and what can fail."""

from types import SimpleNamespace
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from chatcore.conversations.export import ExportFile
from chatcore.errors import NotFound


class Exports:
    """Makes files of two kilobytes, and notes what it was asked for."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, bool]] = []
        self.error: Exception | None = None

    def _make(self, kind: str, thoughts: bool) -> ExportFile:
        self.asked.append((kind, thoughts))
        if self.error:
            raise self.error
        return ExportFile(name=f"A *plan*.{kind}", media_type="text/plain", data=b"x" * 2_000)

    def json(self, *_: object) -> ExportFile:
        return self._make("json", True)

    def pdf(self, *_: object, labels: object, with_reasoning: bool) -> ExportFile:
        return self._make("pdf", with_reasoning)

    def markdown(self, *_: object, labels: object, with_reasoning: bool) -> ExportFile:
        return self._make("md", with_reasoning)


@pytest.fixture
def exports(monkeypatch: pytest.MonkeyPatch) -> Exports:
    exports = Exports()
    gateway = SimpleNamespace(catalog=SimpleNamespace(models=lambda: []))
    core = SimpleNamespace(exports=exports, gateway=gateway)
    monkeypatch.setattr("pages.ui.export_parts.core", lambda: core)
    return exports


def script() -> None:
    from pages.ui import export_parts

    export_parts.draw(None, "conv_1")  # type: ignore[arg-type]


def run(at: AppTest) -> AppTest:
    at.run()
    assert not at.exception
    return at


def opened() -> AppTest:
    return run(AppTest.from_function(script, default_timeout=30))


def press(at: AppTest, label: str) -> AppTest:
    next(button for button in at.button if button.label == label).click()
    return run(at)


def offered(at: AppTest) -> list[Any]:
    return [one.proto for one in at.get("download_button")]


def test_at_first_three_formats_are_explained_and_nothing_is_made(exports: Exports) -> None:
    at = opened()
    assert [button.label for button in at.button] == ["PDF", "Markdown", "JSON"]
    assert "Chatcore can import it again" in at.caption[0].value
    assert offered(at) == []
    assert exports.asked == []


@pytest.mark.parametrize(("label", "kind"), [("PDF", "pdf"), ("Markdown", "md"), ("JSON", "json")])
def test_what_was_made_is_handed_out_by_one_short_button(exports: Exports, label: str, kind: str) -> None:
    (button,) = offered(press(opened(), label))
    assert button.label == f"Download {label} (2 KB)"
    assert button.help == f"A \\*plan\\*\\.{kind}"
    assert [asked for asked, _ in exports.asked] == [kind]


@pytest.mark.parametrize("wanted", [True, False])
def test_the_models_thinking_is_in_it_where_it_is_wanted(exports: Exports, wanted: bool) -> None:
    at = opened()
    at.checkbox[0].set_value(wanted)
    press(run(at), "PDF")
    assert exports.asked == [("pdf", wanted)]


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (NotFound("This conversation does not exist, or it is not yours."), "This conversation does not exist"),
        (ValueError("a secret path"), "Something went wrong on our side"),
    ],
)
def test_what_could_not_be_made_is_one_sentence(exports: Exports, error: Exception, said: str) -> None:
    exports.error = error
    at = press(opened(), "PDF")
    assert at.error[0].value.startswith(said)
    assert "secret" not in at.error[0].value
    assert offered(at) == []
