"""The middleware around Streamlit's two routes, with a stand-in for what Streamlit answers."""

import json
import warnings
from collections.abc import Mapping
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy.exc import OperationalError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from chatcore.accounts import Accounts
from chatcore.api import COOKIE, company_middleware, middleware
from chatcore.config import Settings
from chatcore.config_file import ChatcoreSection, ConfigFile
from chatcore.config_oidc import Oidc
from chatcore.db import Database
from chatcore.db.tables import utcnow

with warnings.catch_warnings():
    # It would rather have httpx2, which nothing else here needs.
    warnings.simplefilter("ignore")
    from starlette.testclient import TestClient

SAID = {
    "iss": "https://id.example.com", "sub": "00u1", "aud": "chatcore", "nonce": "n", "email": "ada@example.com",
    "email_verified": True,
}  # fmt: skip
PROVIDER = "https://id.example.com/authorize?state=s"


@pytest.fixture
def core(database: Database, settings: Settings) -> Any:
    oidc = Oidc(
        client_id="chatcore",
        client_secret="planted",
        server_metadata_url="https://id.example.com/.well-known/openid-configuration",
        allowed_domains=["example.com"],
    )
    file = ConfigFile(chatcore=ChatcoreSection(oidc=oidc))
    settings = replace(settings, file=file, public_url="https://chat.example.com")
    accounts = Accounts(database, settings)
    accounts.ensure_ready()
    return SimpleNamespace(settings=settings, db=database, accounts=accounts)


def read_claims(cookies: Mapping[str, str]) -> Mapping[str, Any] | None:
    """Two pieces, as large answers have."""
    whole = cookies.get("_streamlit_user_1", "") + cookies.get("_streamlit_user_2", "")
    return {**SAID, "iat": utcnow().timestamp(), **json.loads(whole)} if whole else None


def client(core: Any, base: str = "", answer: Response | Exception | None = None) -> TestClient:
    async def theirs(_: Request) -> Response:
        if isinstance(answer, Exception):
            raise answer
        return answer or Response("passed")

    paths = ("/auth/login", "/oauth2callback", "/auth/logout", "/elsewhere")
    app = Starlette(
        routes=[Route(base + path, theirs) for path in paths],
        middleware=[*middleware(core, base), *company_middleware(core, base, read_claims)],
    )
    return TestClient(app, base_url="https://chat.example.com", follow_redirects=False)


def confirmed(claims: str = "{}") -> Response:
    """Streamlit's answer when the provider has confirmed somebody: its cookies, in pieces, and the way back."""
    answer = RedirectResponse("/")
    answer.set_cookie("_streamlit_user", "chunks-2")
    answer.set_cookie("_streamlit_user_1", claims[:1])
    answer.set_cookie("_streamlit_user_2", claims[1:])
    answer.set_cookie("_streamlit_user_tokens", "planted-token")
    answer.set_cookie("_streamlit_session", "without the state")
    return answer


def names(answer: Any) -> set[str]:
    return {one.partition("=")[0] for one in answer.headers.get_list("set-cookie")}


def test_other_paths_pass(core: Any) -> None:
    with client(core, "/chat", confirmed()) as http:
        assert "_streamlit_user" in names(http.get("/chat/auth/logout"))
        assert "_streamlit_user" in names(http.get("/chat/elsewhere"))


def test_without_a_provider_nothing_stands_in_the_way(core: Any) -> None:
    core.settings = replace(core.settings, file=ConfigFile())
    assert company_middleware(core, "", read_claims) == []


def test_the_way_to_the_provider_remembers_the_page_below_the_base_path(core: Any) -> None:
    with client(core, "/chat", RedirectResponse(PROVIDER)) as http:
        answer = http.get(
            "/chat/auth/login", headers={"referer": "https://chat.example.com/chat/usage?by=model&sign_in=x"}
        )
        assert answer.headers["location"] == PROVIDER
        [cookie] = answer.headers.get_list("set-cookie")
        assert cookie.startswith("chatcore_next=%2Fusage%3Fby%3Dmodel; ")
        assert "Path=/chat;" in cookie
        assert "HttpOnly" in cookie


def test_a_page_with_a_very_long_address_is_not_remembered(core: Any) -> None:
    with client(core, answer=RedirectResponse(PROVIDER)) as http:
        answer = http.get("/auth/login", headers={"referer": f"https://chat.example.com/?c={'x' * 4000}"})
        assert names(answer) == set()


def test_what_the_provider_confirmed_becomes_our_cookie_and_none_of_streamlits(core: Any) -> None:
    with client(core, "/chat", confirmed()) as http:
        answer = http.get(
            "/chat/oauth2callback?code=c&state=s", headers={"cookie": "chatcore_next=%2Fusage%3Fby%3Dmodel"}
        )
        assert answer.headers["location"] == "/chat/usage?by=model"
        assert names(answer) == {COOKIE, "chatcore_next", "_streamlit_session"}
        [ours] = [one for one in answer.headers.get_list("set-cookie") if one.startswith(COOKIE)]
        assert "Path=/chat;" in ours
        assert ours.endswith("Secure")
        assert "planted-token" not in str(answer.headers)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (confirmed('{"email": "ada@evil.com"}'), "domain"),
        (RedirectResponse("/"), "stale"),
        (RuntimeError("planted"), "provider"),
    ],
)
def test_a_refusal_leads_to_the_sign_in_page(core: Any, answer: Any, reason: str) -> None:
    with client(core, "/chat", answer) as http:
        refused = http.get("/chat/oauth2callback?code=c&state=s")
        assert refused.headers["location"] == f"/chat/?sign_in={reason}"
        assert COOKIE not in names(refused)
        assert not any(name.startswith("_streamlit_user") for name in names(refused))


def test_cookies_that_streamlit_takes_away_say_that_the_provider_refused(core: Any) -> None:
    answer = RedirectResponse("/")
    answer.delete_cookie("_streamlit_user")
    with client(core, answer=answer) as http:
        assert http.get("/oauth2callback?code=c&state=s").headers["location"] == "/?sign_in=provider"


@pytest.mark.parametrize("answer", [Response("Authentication error", 400), RuntimeError("no such host")])
def test_a_provider_that_does_not_answer_is_said_so(core: Any, answer: Any) -> None:
    with client(core, answer=answer) as http:
        assert http.get("/auth/login?provider=x").headers["location"] == "/?sign_in=unavailable"


def test_a_database_that_is_away_signs_nobody_in(core: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async def away(*_: Any) -> None:
        raise OperationalError("insert", {}, Exception("planted"))

    monkeypatch.setattr(core.accounts, "enter_by_company", away)
    with client(core, answer=confirmed()) as http:
        answer = http.get("/oauth2callback?code=c&state=s")
        assert answer.headers["location"] == "/?sign_in=again"
        assert COOKIE not in names(answer)
