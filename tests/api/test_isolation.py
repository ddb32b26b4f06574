"""Every route of the description that names something, asked with the ids of somebody else: as if it were not there.

The routes are found in the description, so one that is added later fails here until it stands in the table.
"""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from chatcore.ids import new_id
from tests.api.asking import QUICK, Place, api_place
from tests.chat import Chat

# What stands in a path, by the beginning of the path: an id of Ann's conversation, message or share.
NAMES = {"/api/v1/messages/{id}": "message", "/api/v1/shares/{id}": "share"}
BODIES: dict[tuple[str, str], Any] = {
    ("patch", "/api/v1/chat/{id}"): {"title": "mine"},
    ("post", "/api/v1/chat/{id}/shares"): {},
    ("put", "/api/v1/chat/{id}/branch"): {"messageId": "msg_x"},
    ("put", "/api/v1/messages/{id}/rating"): {"stars": 1},
    ("post", "/api/chat/{id}/tools/{call_id}"): {"approved": True},
}
# They name nothing of anybody's: agents and models are the team's.
NOBODYS = {"/api/v1/agents/{id}", "/v1/models/{name}"}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with api_place(tmp_path_factory.mktemp("core"), [QUICK]) as found:
        yield found


def test_every_route_that_names_something_hides_what_is_anothers(
    place: Place,
) -> None:
    core, provider, url = place
    ann = Chat(core, provider, new_id("p"))
    asked = ann.ask(QUICK, "secret words")
    ann.words(asked)
    ids = {
        "conversation": asked.conversation_id, "message": str(asked.message_id),
        "share": core.shares.create(ann.who, asked.conversation_id, kind="link").id,
    }  # fmt: skip
    strangers = [Chat(core, provider, new_id("p")), Chat(core, provider, new_id("p"), tenant=new_id("t"), role="admin")]
    keys = [core.accounts.create_key(one.who, "k")[1] for one in strangers]
    seen = 0
    with httpx.Client(base_url=url, timeout=30) as http:
        for path, operations in http.get("/api/openapi.json").json()["paths"].items():
            if "{" not in path or path in NOBODYS:
                continue
            kind = next((name for start, name in NAMES.items() if path.startswith(start)), "conversation")
            for method in operations:
                answers = [
                    http.request(
                        method, path.replace("{id}", one).replace("{message_id}", ids["message"]).replace(
                            "{call_id}", "call_1"
                        ),
                        json=BODIES.get((method, path)), headers={"Authorization": f"Bearer {key}"},
                    )
                    for key in keys for one in (ids[kind], new_id("conv"))
                ]  # fmt: skip
                assert {answer.status_code for answer in answers} == {404}, (method, path, answers[0].text)
                assert "secret" not in "".join(answer.text for answer in answers)
                seen += 1
    assert seen >= 18
    assert len(ann.messages(asked.conversation_id)) == 2
    assert core.conversations.get(ann.who, asked.conversation_id).title == "secret words"


def test_lists_and_numbers_are_ones_own(place: Place) -> None:
    core, provider, url = place
    ann, bob = Chat(core, provider, new_id("p")), Chat(core, provider, new_id("p"))
    ann.answer(QUICK, "swordfish")
    by = {"Authorization": f"Bearer {core.accounts.create_key(bob.who, 'k')[1]}"}
    with httpx.Client(base_url=url, timeout=30, headers=by) as http:
        assert http.get("/api/v1/chat?archived=all").json()["conversations"] == []
        assert http.get("/api/v1/search?q=swordfish").json()["hits"] == []
        numbers = http.get("/api/v1/usage?start=2020-01-01T00:00:00Z&end=2030-01-01T00:00:00Z").json()
        assert numbers["groups"] == numbers["series"] == []
        assert http.get("/api/chat?sessionId=s&stepId=define").status_code == 404


def test_methods_that_a_path_does_not_take_are_named(place: Place) -> None:
    core, provider, url = place
    ann = Chat(core, provider, new_id("p"))
    by = {"Authorization": f"Bearer {core.accounts.create_key(ann.who, 'k')[1]}"}
    with httpx.Client(base_url=url, timeout=30, headers=by) as http:
        for path, operations in http.get("/api/openapi.json").json()["paths"].items():
            answer = http.request(
                "TRACE",
                path.replace("{id}", "x").replace("{name}", "x").replace("{message_id}", "x").replace("{call_id}", "x"),
            )
            assert answer.status_code == 405, path
            allowed = {method.strip().lower() for method in answer.headers["allow"].split(",")}
            assert set(operations) <= allowed, path
