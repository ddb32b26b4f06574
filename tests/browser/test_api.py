"""Page and program at one conversation: each sees what the other asks as it is said, and may stop it."""

import json
import re
import threading
from collections.abc import Iterator

import httpx
import pytest
from sqlalchemy import select

from chatcore.accounts.sessions import as_principal
from chatcore.db.tables import User
from tests.browser.conftest import Open
from tests.serving import Server, Site


@pytest.fixture
def program(site: Site, server: Server, person: str) -> Iterator[httpx.Client]:
    """A program of `person`, the newest one, with an API key."""
    newest = select(User).order_by(User.id.desc()).limit(1)
    who = site.read(lambda session: as_principal(session.scalars(newest).one()))
    _, key = site.accounts.create_key(who, "program")
    with httpx.Client(base_url=server.url, headers={"Authorization": f"Bearer {key}"}, timeout=30) as http:
        yield http


def words(answer: httpx.Response) -> str:
    """What a stream says, to its end."""
    chunks = [json.loads(line[6:]) for line in answer.iter_lines() if line.startswith("data: {")]
    return "".join(chunk["delta"] for chunk in chunks if chunk["type"] == "text-delta")


def test_a_program_asks_and_the_page_sees_it_grow_and_stops_it(
    program: httpx.Client, person: str, server: Server, open_tab: Open
) -> None:
    seen: list[str] = []
    with program.stream("POST", "/api/v1/chat", json={"message": "from a program", "model": "lengthy"}) as answer:
        conversation_id = answer.headers["x-conversation-id"]
        reading = threading.Thread(target=lambda: seen.append(words(answer)))
        reading.start()
        page = open_tab(person)
        page.page.goto(f"{server.url}/?c={conversation_id}")
        page.word(3).wait_for()
        first = len(page.numbers())
        page.until(lambda: len(page.numbers()) > first + 10, 20)
        page.stop.click()
        page.page.get_by_text("Stopped.").wait_for()
        reading.join(15)
    on_the_page = page.finished().numbers()
    assert on_the_page == list(range(len(on_the_page)))
    assert [int(number) for number in re.findall(r"\[(\d+)\]", seen[0])] == on_the_page


def test_the_page_asks_and_a_program_reads_along_and_stops_it(
    program: httpx.Client, person: str, open_tab: Open
) -> None:
    page = open_tab(person).go("/?model=lengthy").ask("from the page")
    page.word(3).wait_for()
    conversation_id = page.conversation
    with program.stream("GET", f"/api/chat/{conversation_id}/stream") as answer:
        assert answer.status_code == 200
        assert program.post(f"/api/chat/{conversation_id}/stop").json() == {"stopped": 1}
        said = words(answer)
    page.page.get_by_text("Stopped.").wait_for()
    assert [int(number) for number in re.findall(r"\[(\d+)\]", said)] == page.finished().numbers()
    assert program.get(f"/api/chat/{conversation_id}/stream").status_code == 204


def test_an_idle_page_notices_what_a_program_asks(program: httpx.Client, person: str, open_tab: Open) -> None:
    page = open_tab(person).go("/?model=fast").ask("first").finished()
    asked = {"message": "and this by a program", "model": "fast", "conversationId": page.conversation, "stream": False}
    assert program.post("/api/v1/chat", json=asked).status_code == 200
    page.page.locator(".stMain").get_by_text("and this by a program", exact=True).wait_for()
    page.until(lambda: len(page.numbers()) == 40)
