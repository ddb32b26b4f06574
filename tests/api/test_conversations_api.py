"""`/api/v1`: one's own conversations by a key, paged, tagged, and nobody else's."""

import warnings
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import update
from starlette.applications import Starlette

from chatcore.accounts import Accounts, Principal
from chatcore.agents import Agents
from chatcore.api import middleware, routes
from chatcore.config import Settings, load_settings
from chatcore.conversations import Conversations, erasing
from chatcore.conversations import store as conversations
from chatcore.conversations.attachments import Attachments
from chatcore.conversations.export import Exports
from chatcore.conversations.history import History
from chatcore.conversations.ratings import Ratings
from chatcore.conversations.sharing import Shares
from chatcore.db import Database
from chatcore.db.tables import ApiKey, Conversation, utcnow
from chatcore.flags import FlagStore
from chatcore.gateway import Gateway
from chatcore.shared import Shared
from chatcore.usage import Usage, ledger
from tests.conftest import add_person

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # it prefers a fork of the HTTP client that we have
    from starlette.testclient import TestClient

Key = Callable[..., dict[str, str]]


@pytest.fixture
def core(tmp_path: Path, any_database: Database) -> Iterator[Any]:
    settings: Settings = load_settings({"CHATCORE_DATA_DIR": str(tmp_path / "data")}, root=tmp_path)
    db, shared = any_database, Shared(None)
    yield SimpleNamespace(
        settings=settings, db=db, accounts=Accounts(db, settings), conversations=Conversations(db), history=History(db),
        ratings=Ratings(db), agents=Agents(db), gateway=Gateway(settings, db, FlagStore(db, settings), shared),
        turns=SimpleNamespace(is_running=True), shares=Shares(db, settings), usage=Usage(db),
        exports=Exports(db, Attachments(db, settings)),
    )  # fmt: skip
    shared.close()


@pytest.fixture
def http(core: Any) -> Iterator[TestClient]:
    with TestClient(Starlette(routes=routes(core), middleware=middleware(core))) as client:
        yield client


@pytest.fixture
def ada(core: Any) -> Principal:
    return add_person(core.db, "ada")


@pytest.fixture
def key(core: Any) -> Key:
    def make(who: Principal, *scopes: str) -> dict[str, str]:
        info, secret = core.accounts.create_key(who, "for tests")
        if scopes:
            core.db.write(lambda s: s.execute(update(ApiKey).where(ApiKey.id == info.id).values(scopes=list(scopes))))
        return {"Authorization": f"Bearer {secret}"}

    return make


def chat(core: Any, who: Principal, *texts: str, title: str = "") -> str:
    """A conversation of questions and replies in turn; its id."""

    def work(session: Any) -> str:
        found = conversations.create(session, who, title or texts[0], model="demo/text", agent_id=None, settings={})
        parent = None
        for number, text in enumerate(texts):
            role = "assistant" if number % 2 else "user"
            facts = {"prompt_tokens": 3, "completion_tokens": 4, "cost_nano_usd": 1_500} if number % 2 else {}
            parent = conversations.add_message(
                session, who, found.id, parent_id=parent, role=role, content=text, status="complete", parts=[], **facts
            )
            conversations.advance(session, found.id, parent, 1)
        return found.id

    return str(core.db.write(work))


def touched(core: Any, conversation_id: str, minutes: float) -> None:
    moment = utcnow() - timedelta(minutes=minutes)
    change = update(Conversation).where(Conversation.id == conversation_id).values(last_message_at=moment)
    core.db.write(lambda session: session.execute(change))


def test_the_list_has_the_newest_activity_first_and_goes_on_by_its_cursor(
    core: Any, http: TestClient, ada: Principal, key: Key
) -> None:
    ids = [chat(core, ada, f"question {number}", "a reply") for number in range(5)]
    for minutes, one in enumerate(ids):
        touched(core, one, minutes // 2)  # two of a time each
    core.history.pin(ada, [ids[4]])
    by, seen, cursor = key(ada), [], None
    while True:
        page = http.get("/api/v1/chat", params={"limit": 2} | ({"cursor": cursor} if cursor else {}), headers=by).json()
        seen += [one["id"] for one in page["conversations"]]
        cursor = page["nextCursor"]
        if cursor is None:
            break
    assert sorted(seen) == sorted(ids)
    assert {*seen[:2]} == {*ids[:2]}
    assert seen[-1] == ids[4], "pinned or not"
    assert [one["id"] for one in http.get("/api/v1/chat?offset=4", headers=by).json()["conversations"]] == seen[4:]


def test_archived_ones_are_listed_when_asked_for(core: Any, http: TestClient, ada: Principal, key: Key) -> None:
    kept, away = chat(core, ada, "kept", "yes"), chat(core, ada, "away", "yes")
    by = key(ada)
    assert http.post(f"/api/v1/chat/{away}/archive", headers=by).status_code == 204
    shown = {
        wanted: [one["id"] for one in http.get(f"/api/v1/chat?archived={wanted}", headers=by).json()["conversations"]]
        for wanted in ("false", "true", "all")
    }
    assert shown == {"false": [kept], "true": [away], "all": [away, kept]}
    assert http.post(f"/api/v1/chat/{away}/unarchive", headers=by).status_code == 204
    assert len(http.get("/api/v1/chat", headers=by).json()["conversations"]) == 2


def test_messages_come_newest_first_with_all_that_is_known_of_them(
    core: Any, http: TestClient, ada: Principal, key: Key
) -> None:
    found = chat(core, ada, "one", "two", "three", "four", "five")
    by, url = key(ada), f"/api/v1/chat/{found}"
    page = http.get(url, params={"limit": 2}, headers=by).json()
    assert [one["content"] for one in page["messages"]] == ["five", "four"]
    assert page["conversation"]["messageCount"] == 5
    reply = page["messages"][1]
    assert (reply["role"], reply["totalTokens"], reply["costUsd"], reply["rating"]) == (
        "assistant",
        7,
        "0.000001500",
        None,
    )
    rest = http.get(url, params={"cursor": page["nextCursor"]}, headers=by).json()
    assert [one["content"] for one in rest["messages"]] == ["three", "two", "one"]
    assert rest["nextCursor"] is None
    rated = http.put(f"/api/v1/messages/{reply['id']}/rating", json={"stars": 4}, headers=by)
    assert rated.status_code == 204
    assert http.get(url, headers=by).json()["messages"][1]["rating"] == 4
    assert http.delete(f"/api/v1/messages/{reply['id']}/rating", headers=by).status_code == 204


def test_what_is_not_given_stays(core: Any, http: TestClient, ada: Principal, key: Key) -> None:
    found, by = chat(core, ada, "one", "two"), key(ada)
    changed = http.patch(f"/api/v1/chat/{found}", json={"title": " A  title ", "folder": "Work"}, headers=by).json()
    assert (changed["title"], changed["folder"], changed["pinned"]) == ("A title", "Work", False)
    changed = http.patch(f"/api/v1/chat/{found}", json={"pinned": True}, headers=by).json()
    assert (changed["title"], changed["folder"], changed["pinned"]) == ("A title", "Work", True)
    assert http.patch(f"/api/v1/chat/{found}", json={"folder": None}, headers=by).json()["folder"] is None


@pytest.mark.parametrize(
    ("body", "field"),
    [({"titel": "x"}, "titel"), ({"title": ""}, "title"), ({"title": "x" * 101}, "title"), ({"pinned": 3}, "pinned")],
)
def test_what_a_schema_refuses_is_named(
    core: Any, http: TestClient, ada: Principal, key: Key, body: dict[str, Any], field: str
) -> None:
    answer = http.patch(f"/api/v1/chat/{chat(core, ada, 'one')}", json=body, headers=key(ada))
    assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json")
    assert answer.json()["errors"][0]["field"] == field
    assert field in answer.json()["detail"]


def test_a_read_that_is_known_is_not_sent_again(core: Any, http: TestClient, ada: Principal, key: Key) -> None:
    url, by = f"/api/v1/chat/{chat(core, ada, 'one', 'two')}", key(ada)
    first = http.get(url, headers=by)
    again = http.get(url, headers=by | {"If-None-Match": f'"other", {first.headers["etag"]}'})
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", first.headers["etag"])
    core.conversations.rename(ada, url.rpartition("/")[2], "Changed")
    assert http.get(url, headers=by | {"If-None-Match": first.headers["etag"]}).status_code == 200


def test_words_are_found(core: Any, http: TestClient, ada: Principal, key: Key) -> None:
    found = chat(core, ada, "how do whales sleep", "half of the brain at a time")
    hits = http.get("/api/v1/search", params={"q": "brain"}, headers=key(ada)).json()["hits"]
    assert [(one["conversationId"], one["role"]) for one in hits] == [(found, "assistant")]
    assert [piece["text"] for piece in hits[0]["snippet"] if piece["hit"]] == ["brain"]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", ""),
        ("PATCH", ""),
        ("POST", "/archive"),
        ("POST", "/unarchive"),
        ("DELETE", ""),
        ("DELETE", "?permanent=true"),
        ("POST", "/restore"),
        ("GET", "/shares"),
        ("GET", "/messages"),
        ("GET", "/branch/msg_x"),
        ("GET", "/export"),
        ("GET", "/export?format=json"),
    ],
)
def test_anothers_is_as_if_it_were_not_there(
    core: Any, http: TestClient, ada: Principal, key: Key, method: str, path: str
) -> None:
    bob, eve = add_person(core.db, "bob"), add_person(core.db, "eve", tenant="Other", role="admin")
    theirs = chat(core, ada, "secret words", "a reply")
    body = {"json": {"title": "mine"}} if method == "PATCH" else {}
    answers = [
        http.request(method, f"/api/v1/chat/{one}{path}", headers=key(who), **body)
        for who, one in ((bob, theirs), (eve, theirs), (bob, "conv_nothing"))
    ]
    assert {answer.status_code for answer in answers} == {404}
    assert len({answer.content for answer in answers}) == 1
    assert http.post(f"/api/v1/chat/{theirs}/shares", headers=key(bob), json={}).status_code == 404
    answer = http.put(f"/api/v1/chat/{theirs}/branch", headers=key(bob), json={"messageId": "msg_x"})
    assert answer.status_code == 404
    assert core.conversations.get(ada, theirs).title == "secret words"


def test_a_message_of_another_conversation_is_no_cursor(core: Any, http: TestClient, ada: Principal, key: Key) -> None:
    mine, other = chat(core, ada, "one", "two"), chat(core, ada, "three", "four")
    message = http.get(f"/api/v1/chat/{other}", headers=key(ada)).json()["messages"][0]["id"]
    assert http.get(f"/api/v1/chat/{mine}", params={"cursor": message}, headers=key(ada)).status_code == 404


@pytest.mark.parametrize(
    "cursor", ["x", "%%%", "MjAyNi0wMS0wMXxhYg", "bm9wZXx4", "é", "MjAyNi0wMS0wMVQwMDowMDowMCswMDowMHw"]
)
def test_a_forged_cursor_is_refused(http: TestClient, ada: Principal, key: Key, cursor: str) -> None:
    assert http.get("/api/v1/chat", params={"cursor": cursor}, headers=key(ada)).status_code == 422


def test_without_a_key_that_lives_there_is_nothing(core: Any, http: TestClient, ada: Principal, key: Key) -> None:
    good = key(ada)
    info, dead = core.accounts.create_key(ada, "revoked")
    core.accounts.revoke_key(ada, info.id)
    said = set()
    for headers in ({}, {"Authorization": "Basic x"}, {"Authorization": "Bearer"}, {"Authorization": "Bearer ck_wrong"},
                    {"Authorization": f"Bearer {dead}"}):  # fmt: skip
        answer = http.get("/api/v1/chat", headers=headers)
        assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
        said.add(answer.json()["code"])
    assert said == {"unauthorized"}
    assert http.get("/api/v1/chat", headers=good).status_code == 200


def test_a_key_does_what_its_scopes_say(core: Any, http: TestClient, ada: Principal, key: Key) -> None:
    found, reads, chats = chat(core, ada, "one"), key(ada, "read"), key(ada, "chat")
    assert http.get(f"/api/v1/chat/{found}", headers=reads).status_code == 200
    refused = http.post(f"/api/v1/chat/{found}/archive", headers=reads)
    assert (refused.status_code, refused.json()["code"]) == (403, "forbidden")
    assert "`chat`" in refused.json()["detail"]
    assert http.get("/api/v1/chat", headers=chats).status_code == 403
    assert http.post(f"/api/v1/chat/{found}/archive", headers=chats).status_code == 204


def test_without_the_scope_admin_an_admin_is_a_member(core: Any, http: TestClient, key: Key) -> None:
    root = add_person(core.db, "root", role="admin")
    assert http.get("/api/v1/me", headers=key(root)).json()["role"] == "admin"
    me = http.get("/api/v1/me", headers=key(root, "read")).json()
    assert (me["role"], me["scopes"], me["username"]) == ("member", ["read"], "root")


def test_agents_and_models_are_those_that_may_be_chosen(core: Any, http: TestClient, ada: Principal, key: Key) -> None:
    by = key(ada)
    agents = http.get("/api/v1/agents", headers=by).json()["agents"]
    assert agents
    one = http.get(f"/api/v1/agents/{agents[0]['slug']}", headers=by).json()
    assert one == http.get(f"/api/v1/agents/{agents[0]['id']}", headers=by).json() == agents[0]
    assert http.get("/api/v1/agents/nobody", headers=by).status_code == 404
    models = http.get("/api/v1/models", headers=by).json()["models"]
    usable = [one["name"] for one in models if one["missing"] is None]
    listed = http.get("/v1/models", headers=by).json()
    assert [one["id"] for one in listed["data"]] == usable
    assert {*listed["data"][0]} == {"id", "object", "created", "owned_by"}
    assert http.get(f"/v1/models/{usable[0]}", headers=by).json()["id"] == usable[0]
    missing = http.get("/v1/models/no/such", headers=by)
    assert (missing.status_code, missing.json()["error"]["code"]) == (404, "model_unavailable")


def test_a_page_of_ours_reads_by_its_session_and_another_site_changes_nothing(
    core: Any, http: TestClient, ada: Principal
) -> None:
    found = chat(core, ada, "one", "two")
    cookie = {"Cookie": f"chatcore_session={core.accounts.new_session_token('ada')}"}
    assert http.get(f"/api/v1/chat/{found}", headers=cookie).status_code == 200
    for site, status in (("cross-site", 403), ("same-site", 403), ("same-origin", 204)):
        answer = http.post(f"/api/v1/chat/{found}/archive", headers=cookie | {"Sec-Fetch-Site": site})
        assert answer.status_code == status


def test_all_routes_are_described(http: TestClient) -> None:
    document = http.get("/api/openapi.json").json()
    assert {"/api/v1/chat", "/api/v1/chat/{id}", "/api/v1/search", "/v1/models"} <= set(document["paths"])
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            assert operation["summary"], (path, method)
            assert {"4XX", "5XX"} <= set(operation["responses"])
    page = http.get("/api/docs").text
    assert "Archive a conversation" in page
    assert "<script" not in page


def test_what_is_deleted_is_gone_and_can_be_brought_back_for_thirty_days(
    core: Any, http: TestClient, ada: Principal, key: Key
) -> None:
    found, by = chat(core, ada, "porcupines", "a reply"), key(ada)
    path = f"/api/v1/chat/{found}"
    assert http.delete(path, headers=by).status_code == 204
    assert http.get(path, headers=by).status_code == 404
    assert http.get("/api/v1/chat?archived=all", headers=by).json()["conversations"] == []
    assert http.get("/api/v1/search?q=porcupines", headers=by).json()["hits"] == []
    assert http.delete(path, headers=by).status_code == 404
    assert found not in core.db.write(erasing.expired)
    assert http.post(f"{path}/restore", headers=by).status_code == 204
    assert len(http.get(path, headers=by).json()["messages"]) == 2
    assert len(http.get("/api/v1/search?q=porcupines", headers=by).json()["hits"]) > 0
    assert http.post(f"{path}/restore", headers=by).status_code == 404
    http.delete(path, headers=by)
    long_ago = update(Conversation).where(Conversation.id == found).values(deleted_at=utcnow() - erasing.KEPT)
    core.db.write(lambda session: session.execute(long_ago))
    assert http.post(f"{path}/restore", headers=by).status_code == 404
    assert core.db.write(erasing.expired) == [found]


def test_what_is_deleted_for_good_is_erased(core: Any, http: TestClient, ada: Principal, key: Key) -> None:
    found, by = chat(core, ada, "one", "two"), key(ada)
    assert http.delete(f"/api/v1/chat/{found}?permanent=true", headers=by).status_code == 204
    assert core.db.read(lambda session: session.get(Conversation, found)) is None
    found = chat(core, ada, "three", "four")
    assert http.delete(f"/api/v1/chat/{found}", headers=by).status_code == 204
    assert http.delete(f"/api/v1/chat/{found}?permanent=true", headers=by).status_code == 204, "also what was deleted"
    assert core.db.read(lambda session: session.get(Conversation, found)) is None


def test_branches_are_read_by_their_parent_and_by_their_end(
    core: Any, http: TestClient, ada: Principal, key: Key
) -> None:
    found, by = chat(core, ada, "one", "two", "three", "four"), key(ada)
    path = f"/api/v1/chat/{found}"
    one, two = (http.get(path, headers=by).json()["messages"][number]["id"] for number in (3, 2))

    def another(session: Any) -> str:
        other = conversations.add_message(
            session, ada, found, parent_id=one, role="assistant", content="two, again", status="complete", parts=[]
        )
        conversations.advance(session, found, other, 1)
        return str(other)

    other = core.db.write(another)
    below = http.get(f"{path}/messages", params={"parentId": one}, headers=by).json()["messages"]
    assert [entry["content"] for entry in below] == ["two", "two, again"]
    assert [entry["id"] for entry in http.get(f"{path}/messages", headers=by).json()["messages"]] == [one]
    hidden = http.get(f"{path}/branch/{two}", headers=by).json()
    assert [entry["content"] for entry in hidden["messages"]] == ["two", "one"]
    assert hidden["nextMessageId"] is None
    assert http.get(f"{path}/branch/{two}?limit=1", headers=by).json()["nextMessageId"] == one
    assert [entry["id"] for entry in http.get(path, headers=by).json()["messages"]] == [other, one]
    assert http.put(f"{path}/branch", json={"messageId": two}, headers=by).status_code == 204
    texts = [entry["content"] for entry in http.get(path, headers=by).json()["messages"]]
    assert texts == ["four", "three", "two", "one"]


def test_a_share_is_made_listed_and_ended(core: Any, http: TestClient, ada: Principal, key: Key) -> None:
    found, by = chat(core, ada, "one", "two"), key(ada)
    made = http.post(f"/api/v1/chat/{found}/shares", json={"kind": "link", "days": 3}, headers=by)
    assert made.status_code == 201
    share = made.json()
    assert share["path"].startswith("/shared?s=")
    assert http.get(f"/api/v1/chat/{found}/shares", headers=by).json() == {"shares": [share]}
    bob = add_person(core.db, "bob")
    assert core.shares.open(bob, share["path"].partition("=")[2]).title == "one"
    assert http.delete(f"/api/v1/shares/{share['id']}", headers=key(bob)).status_code == 404
    assert http.delete(f"/api/v1/shares/{share['id']}", headers=by).status_code == 204
    assert http.get(f"/api/v1/chat/{found}/shares", headers=by).json() == {"shares": []}


def test_a_conversation_is_handed_out_as_a_file(core: Any, http: TestClient, ada: Principal, key: Key) -> None:
    found, by = chat(core, ada, "wörds", "two"), key(ada)
    kinds = {"markdown": "text/markdown", "json": "application/json", "pdf": "application/pdf"}
    for kind, media_type in kinds.items():
        file = http.get(f"/api/v1/chat/{found}/export", params={"format": kind}, headers=by)
        assert file.headers["content-type"].startswith(media_type)
        assert file.headers["content-disposition"].startswith("attachment; filename*=UTF-8''")
        assert file.content
    assert "wörds" in http.get(f"/api/v1/chat/{found}/export", headers=by).text


def call(core: Any, who: Principal, cost: int | None, **more: Any) -> None:
    def work(session: Any) -> None:
        new = ledger.NewCall(
            tenant_id=who.tenant_id, user_id=who.user_id, provider="openai", model=more.pop("model", "=sum"),
            provider_model="m", trace_id="t", tier="free",
        )  # fmt: skip
        ledger.settle_call(session, ledger.open_call(session, new), ledger.Settlement(
            outcome="ok", prompt_tokens=3, completion_tokens=4, usage_source="provider", cost_nano_usd=cost,
        ))  # fmt: skip

    core.db.write(work)


def test_usage_is_counted_as_json_and_csv(core: Any, http: TestClient, ada: Principal, key: Key) -> None:
    root = add_person(core.db, "root", role="admin")
    for who, cost in ((ada, 1_500), (ada, None), (root, 500)):
        call(core, who, cost)
    call(core, add_person(core.db, "eve", tenant="Other"), 9_000)
    now = utcnow()
    asked = {"start": (now - timedelta(hours=3)).isoformat(), "end": (now + timedelta(hours=1)).isoformat()}

    def count(headers: dict[str, str], **more: Any) -> Any:
        return http.get("/api/v1/usage", params=asked | more, headers=headers)

    mine = count(key(ada)).json()
    assert [(one["calls"], one["promptTokens"], one["costUsd"], one["unpriced"]) for one in mine["groups"]] == [
        (2, 6, "0.000001500", 1)
    ]
    assert sum(one["calls"] for one in mine["series"]) == 2
    assert count(key(root), groupBy="none").json()["groups"][0]["calls"] == 3
    assert count(key(root, "usage"), groupBy="none").json()["groups"][0]["calls"] == 1, "without the scope admin"
    assert count(key(ada), model="another").json()["groups"] == []
    file = count(key(ada), format="csv")
    assert file.headers["content-type"].startswith("text/csv")
    assert '"\'=sum"' in file.text
    assert count(key(ada), step="minute").status_code == 422
    assert count(key(ada, "read")).status_code == 403
    assert (
        http.get("/api/v1/usage?start=2026-01-01T00:00:00&end=2026-01-02T00:00:00Z", headers=key(ada)).status_code
        == 422
    )
