"""What people do with conversations: branch, compare, find, share, attach, export, leave no trace, use the keyboard."""

import base64
import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pypdfium2
import pytest
from PIL import Image
from playwright.sync_api import Browser, Locator, expect
from sqlalchemy import func, select

from chatcore.db.tables import Message
from tests.browser.conftest import Open, Screen
from tests.hostile import Call, HostileProvider
from tests.serving import Site

Called = Callable[[str], Call]


in_both = pytest.mark.parametrize("browser", ["chromium", "firefox"], indirect=True)


@pytest.fixture
def browser(request: pytest.FixtureRequest) -> Browser:
    """Chromium; those that are `in_both` are made in Firefox, too."""
    found: Browser = request.getfixturevalue(getattr(request, "param", "chromium"))
    return found


# --- branches -------------------------------------------------------------------------------------------------------


@in_both
def test_an_edited_question_is_a_branch_and_the_chosen_one_is_remembered(
    person: str, open_tab: Open, called: Called
) -> None:
    ada = open_tab(person).go("/?model=fast").ask("which way is north?").finished()
    ada.ask("and how far is it?").finished()
    ada.button("Edit").first.click()
    ada.write(ada.page.get_by_label("Your question"), "which way is south?")
    ada.button("Send").click()
    ada.page.get_by_text("2/2").wait_for()
    ada.finished()
    assert ada.questions == ["which way is south?"]
    assert "how far" not in str(called("which way is south?").messages)
    expect(ada.button("Next version")).to_be_disabled()

    ada.button("Previous version").click()
    ada.page.get_by_text("1/2").wait_for()
    ada.ready()
    assert ada.questions == ["which way is north?", "and how far is it?"]
    ada.page.reload()
    ada.page.get_by_text("1/2").wait_for()
    ada.ready()
    assert ada.questions == ["which way is north?", "and how far is it?"]
    assert ada.numbers() == [*range(20), *range(20)]


def test_an_earlier_reply_is_regenerated_and_nothing_is_lost(person: str, open_tab: Open, called: Called) -> None:
    ada = open_tab(person).go("/?model=fast").ask("the first of two").finished()
    ada.ask("the second of two").finished()
    ada.choose("model", "short")
    ada.messages.nth(1).locator('[class*="st-key-regenerate-"] button').click()
    ada.word(59).wait_for()
    ada.page.get_by_text("2/2").wait_for()
    ada.finished()
    assert ada.questions == ["the first of two"]
    assert ada.numbers() == list(range(60))
    assert "the second of two" not in str(called("the first of two").messages)
    ada.button("Previous version").click()
    ada.messages.nth(3).wait_for()
    ada.ready()
    assert ada.questions == ["the first of two", "the second of two"]


# --- two models -----------------------------------------------------------------------------------------------------


def columns(screen: Screen) -> tuple[Locator, Locator]:
    both = screen.page.locator('.st-key-compared [data-testid="stColumn"]')
    return both.nth(0), both.nth(1)


def box(place: Locator) -> tuple[float, float, float, float]:
    """Left, top, width and height."""
    found = place.bounding_box()
    assert found is not None
    return found["x"], found["y"], found["width"], found["height"]


def count(place: Locator) -> int:
    """How many numbered words stand in it."""
    return len(re.findall(r"\[\d+\]", place.text_content() or ""))


def compare_with(screen: Screen, name: str) -> None:
    """Choose a second model, by the keyboard."""
    screen.page.get_by_text("Settings and compare").click()
    place = screen.page.locator(".st-key-compare")
    field, chip, option = place.locator("input"), place.get_by_text(name), screen.page.get_by_role("option", name=name)

    def is_chosen() -> bool:
        """Streamlit forgets what is typed while the list opens: then it is typed again."""
        if chip.count() == 0 and field.input_value() != name:
            screen.write(field, name)
        elif option.count() == 1:
            field.press("Enter")
        return chip.count() == 1

    screen.until(is_chosen, 15)
    screen.ready()


@in_both
def test_two_models_are_compared_and_one_is_gone_on_with(
    person: str, open_tab: Open, provider: HostileProvider
) -> None:
    ada = open_tab(person).go("/?model=slow")
    compare_with(ada, "steady")
    asked = len(provider.log)
    ada.send("which of you is better?")
    slow, steady = columns(ada)
    for column in (slow, steady):
        column.get_by_text("[2]").first.wait_for()
    calls = provider.log[asked:]
    assert sorted(call.model for call in calls) == ["ok;n=120;rate=15", "ok;n=200;rate=20"]
    assert [call.ended for call in calls] == [None, None], "both were still speaking"
    before = count(slow), count(steady)
    ada.until(lambda: count(slow) > before[0] and count(steady) > before[1])
    assert abs(box(slow)[1] - box(steady)[1]) < 5, "side by side"
    assert box(slow)[0] + box(slow)[2] <= box(steady)[0] + 1

    slow.get_by_role("button", name="Stop").click()
    slow.get_by_role("button", name="Go on with slow").wait_for()
    stopped_at = count(slow)
    numbers = re.findall(r"\[(\d+)\]", slow.text_content() or "")
    assert numbers == [str(number) for number in range(len(numbers))], "each word once, while the other goes on"
    assert stopped_at < 150
    slow.get_by_text("Stopped.").wait_for()
    steady.get_by_role("button", name="Go on with steady").wait_for()
    ada.ready()
    assert (count(slow), count(steady)) == (stopped_at, 120)
    for column in (slow, steady):
        assert re.search(r"tokens · .*\$", column.inner_text()), "each has its own cost"

    ada.page.set_viewport_size({"width": 390, "height": 844})
    ada.until(lambda: box(steady)[1] >= box(slow)[1] + box(slow)[3] - 1, 5)
    assert ada.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    ada.page.set_viewport_size({"width": 1280, "height": 720})

    steady.get_by_role("button", name="Go on with steady").click()
    ada.messages.nth(1).wait_for()
    ada.page.locator(".st-key-compared").wait_for(state="detached")
    ada.finished()
    assert ada.numbers() == list(range(120))
    chosen = ada.page.locator(".st-key-compare")
    chosen.locator("input").press("Backspace")
    chosen.get_by_text("steady").wait_for(state="detached")
    ada.ready()
    ada.ask("and what follows from it?")
    provider.wait_until(lambda log: len(log) > asked + 2)
    [going_on] = provider.log[asked + 2 :]
    assert re.findall(r"\[(\d+)\]", str(going_on.messages[-2])) == [str(number) for number in range(120)]
    ada.stop.click()
    ada.page.get_by_text("Stopped.").wait_for()


# --- find -----------------------------------------------------------------------------------------------------------


def long_conversation(path: Path, phrase: str) -> Path:
    """A file of 120 messages, with the phrase in the eleventh."""
    begun = datetime.now(UTC) - timedelta(days=1)
    messages = [
        {
            "id": f"m{number}",
            "parent_id": f"m{number - 1}" if number else None,
            "role": "assistant" if number % 2 else "user",
            "content": phrase if number == 10 else f"Number {number}. " + "Much is said and little of it is kept. " * 8,
            "created_at": (begun + timedelta(minutes=number)).isoformat(),
        }
        for number in range(120)
    ]
    whole = {"format": "chatcore.conversations", "version": 1, "id": "long", "title": "A long one"}
    path.write_text(json.dumps(whole | {"head_message_id": "m119", "messages": messages}))
    return path


def bring(screen: Screen, file: Path) -> None:
    """Import a file on the history page."""
    screen.go("/history").button("Import").click()
    screen.page.locator('[class*="st-key-import_file"] input[type=file]').set_input_files(file)
    screen.page.get_by_text("is imported:").wait_for()
    screen.ready()


def test_a_phrase_is_found_and_the_message_stands_in_view(person: str, open_tab: Open, tmp_path: Path) -> None:
    ada = open_tab(person)
    bring(ada, long_conversation(tmp_path / "long.json", "Where the zebrafinch hid its quartz."))
    field = ada.page.get_by_label("Search titles and messages")
    ada.write(field, "zebrafinch quartz")
    field.press("Enter")
    hit = ada.page.locator('[class*="st-key-history-hit-"]')
    hit.get_by_text("zebrafinch").first.wait_for()
    ada.ready()
    assert hit.count() == 1
    hit.get_by_role("link").click()
    target = ada.page.locator(".st-key-target")
    target.wait_for()
    ada.until(lambda: target.evaluate("(e) => getComputedStyle(e).animationName") == "found")  # while it is drawn anew
    ada.ready()
    expect(target).to_contain_text("Where the zebrafinch hid its quartz.")
    expect(target).to_be_in_viewport(ratio=0.9)
    assert ada.page.get_by_text("Number 119.").count() == 0, "the end is far away"
    ada.button("Show what follows").click()
    ada.page.get_by_text("Number 119.").wait_for()


# --- share ----------------------------------------------------------------------------------------------------------


def test_a_link_is_read_by_another_and_ends_when_it_is_revoked(site: Site, open_tab: Open, person: str) -> None:
    ada = open_tab(person).go("/?model=fast").ask("something worth sharing").finished()
    author = ada.sidebar.locator(".st-key-navigation [data-testid=stCaptionContainer]").inner_text()
    ada.pick("Conversation", "Share")
    dialog = ada.page.get_by_role("dialog")
    dialog.get_by_text("Link, for colleagues").first.click()
    dialog.get_by_text("The link ends").wait_for()
    dialog.get_by_role("button", name="Share", exact=True).click()
    address = dialog.locator('[data-testid="stCode"]').inner_text().strip()

    other = open_tab(site.person(f"reader-{ada.conversation[-8:]}", name="Rita Reader"))
    other.go(address.removeprefix(other.server.url))
    other.page.get_by_text(f"Shared by {author}").wait_for()
    other.messages.nth(1).wait_for()
    assert other.numbers() == list(range(20))
    seen = other.page.locator(".stMain").inner_text()
    assert not re.search(r"\$|token|cost|\d s\b", seen), seen
    assert "Rita" not in seen
    assert other.button("Regenerate").count() == other.button("Edit").count() == other.input.count() == 0
    other.go(f"/?c={ada.conversation}")
    assert other.page.get_by_text("something worth sharing").count() == 0
    other.go(address.removeprefix(other.server.url))
    other.messages.nth(1).wait_for()

    dialog.get_by_role("button", name="Revoke").click()
    dialog.locator('[data-testid="stCode"]').wait_for(state="detached")
    other.page.reload()
    other.page.get_by_text("This link does not work: it was revoked, has expired, or is not for you.").wait_for()
    other.ready()
    assert other.page.get_by_text("something worth sharing").count() == 0


# --- attachments ----------------------------------------------------------------------------------------------------


def attach(screen: Screen, picture: Path) -> None:
    """Choose a picture at the chat input, and wait until it is with the server."""
    screen.page.locator('.st-key-chat_input input[type="file"]').set_input_files(picture)
    screen.page.locator('.st-key-chat_input [data-testid="stFileChipImagePreview"]').wait_for()


def test_a_picture_reaches_the_model_as_it_was(person: str, open_tab: Open, called: Called, tmp_path: Path) -> None:
    picture = tmp_path / "squares.png"
    Image.effect_noise((64, 48), 90).save(picture)
    ada = open_tab(person).go("/?model=eyes")
    attach(ada, picture)
    ada.ask("what do you see in it?").finished()
    asked = called("what do you see in it?").messages[-1]["content"]
    assert asked[0] == {"type": "text", "text": "what do you see in it?"}
    head, _, data = asked[1]["image_url"]["url"].partition(",")
    assert head == "data:image/png;base64"
    assert base64.b64decode(data) == picture.read_bytes()
    shown = ada.messages.nth(0).get_by_alt_text("squares.png")
    ada.until(lambda: shown.evaluate("(image) => image.naturalWidth") == 64)
    ada.page.reload()
    ada.until(lambda: shown.count() and shown.evaluate("(image) => image.naturalWidth") == 64)


def test_a_picture_for_a_model_without_eyes_waits_for_another(
    person: str, open_tab: Open, called: Called, tmp_path: Path
) -> None:
    picture = tmp_path / "lines.png"
    Image.effect_noise((32, 32), 90).save(picture)
    ada = open_tab(person).go("/?model=fast")
    attach(ada, picture)
    ada.send("and what is this?")
    ada.alert.get_by_text("fast cannot see images").wait_for()
    ada.ready()
    assert ada.input.input_value() == "and what is this?"
    ada.choose("model", "eyes")
    ada.input.press("Enter")
    ada.messages.nth(1).wait_for()
    ada.finished()
    assert called("and what is this?").messages[-1]["content"][1]["type"] == "image_url"


# --- export ---------------------------------------------------------------------------------------------------------


def download(screen: Screen, label: str, folder: Path) -> Path:
    """Make an export in the dialog that is open, and fetch it."""
    dialog = screen.page.get_by_role("dialog")
    dialog.get_by_role("button", name=label, exact=True).click()
    button = dialog.locator(".st-key-export_download button")
    button.get_by_text(re.compile(f"Download {label}")).first.wait_for()
    screen.ready()
    with screen.page.expect_download() as coming:
        button.first.click()
    path = folder / coming.value.suggested_filename
    coming.value.save_as(path)
    return path


@in_both
def test_a_pdf_is_read_back_and_a_json_file_imported_by_another(
    site: Site, person: str, open_tab: Open, tmp_path: Path
) -> None:
    ada = open_tab(person).go("/?model=fast").ask("Größe, naïve and 🙂 on paper").finished()
    ada.pick("Conversation", "Export")
    pdf = download(ada, "PDF", tmp_path)
    assert pdf.suffix == ".pdf"
    with pypdfium2.PdfDocument(pdf) as opened:
        text = " ".join(page.get_textpage().get_text_bounded() for page in opened)
    assert "Größe, naïve and" in text
    assert [int(number) for number in re.findall(r"\[(\d+)\]", text)] == list(range(20))

    exported = download(ada, "JSON", tmp_path)
    assert [m["role"] for m in json.loads(exported.read_text())["messages"]] == ["user", "assistant"]
    other = open_tab(site.person(f"importer-{ada.conversation[-8:]}"))
    bring(other, exported)
    other.page.get_by_text("1 new conversation, 2 messages").wait_for()
    other.page.locator('[class*="st-key-history-row-"]').get_by_role("link").click()
    other.messages.nth(1).wait_for()
    other.ready()
    assert other.questions == ["Größe, naïve and 🙂 on paper"]
    assert other.numbers() == list(range(20))
    assert other.conversation != ada.conversation
    bring(other, exported)
    other.page.get_by_text("0 new conversations, 1 unchanged, 0 messages").wait_for()


# --- temporary chats ------------------------------------------------------------------------------------------------


def test_a_temporary_chat_is_in_no_list_and_gone_when_it_is_left(site: Site, person: str, open_tab: Open) -> None:
    ada = open_tab(person).go("/?model=fast").ask("this one stays").finished()
    ada.button("New chat").click()
    ada.page.locator(".st-key-welcome").wait_for()
    ada.ready()
    ada.page.locator(".st-key-temporary label").click()
    ada.ready()
    ada.ask("between the two of us").finished()
    assert ada.numbers() == list(range(20))
    gone = ada.conversation
    ada.page.get_by_text("Temporary chat.").wait_for()
    recent = ada.page.locator(".st-key-recent")
    expect(recent).to_contain_text("this one stays")
    expect(recent).not_to_contain_text("between the two of us")
    beside = open_tab(beside=ada).go("/history?q=between+two")
    beside.page.get_by_text("Nothing found for").wait_for()
    beside.go("/history").page.get_by_text("this one stays").last.wait_for()
    assert beside.page.get_by_text("between the two of us").count() == 0

    def left() -> int:
        where = Message.conversation_id == gone
        return site.read(lambda session: session.scalar(select(func.count()).select_from(Message).where(where)) or 0)

    assert left() == 2
    ada.button("New chat").click()
    ada.page.locator(".st-key-welcome").wait_for()
    ada.until(lambda: left() == 0)
    ada.go(f"/?c={gone}")
    ada.alert.wait_for()
    assert ada.page.get_by_text("between the two of us").count() == 0


# --- keyboard -------------------------------------------------------------------------------------------------------


def test_the_keyboard_starts_stops_regenerates_and_searches(person: str, open_tab: Open) -> None:
    ada = open_tab(person).go("/?model=slow").ask("hands on the keys")
    ada.word(3).wait_for()
    ada.stop.wait_for()
    ada.page.keyboard.press("Escape")
    ada.page.get_by_text("Stopped.").wait_for()
    ada.finished()
    ada.choose("model", "fast")
    ada.page.keyboard.press("Alt+G")
    ada.word(19).wait_for()
    ada.page.get_by_text("2/2").wait_for()
    ada.finished()
    assert ada.numbers() == list(range(20))

    ada.input.focus()
    ada.page.keyboard.press("Control+Shift+O")
    ada.page.locator(".st-key-welcome").wait_for()
    assert not ada.conversation
    ada.ready()
    ada.page.keyboard.press("Control+K")
    ada.page.get_by_role("heading", name="History").wait_for()
    assert ada.page.url.endswith("/history")
