"""A real process and an identity provider that lies: what comes in, and what every lie is answered with."""

import asyncio
import json
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import httpx
import pytest
from itsdangerous import URLSafeTimedSerializer
from joserfc import jwt
from joserfc.jwk import OctKey
from sqlalchemy import select

from chatcore.db.tables import AuditEntry, User
from pages.ui.company import _cookie_secret
from tests.benchmarks.streamlit_client import Tab
from tests.identity_provider import Liar, lying
from tests.serving import Server, Site, free_port

SECRET = "planted-client-secret-7"
SESSION = "chatcore_session"


def section(port: int, **changes: Any) -> dict[str, Any]:
    return {
        "client_id": "chatcore",
        "client_secret": "os.environ/OIDC_SECRET",
        "server_metadata_url": f"http://127.0.0.1:{port}/.well-known/openid-configuration",
        "allowed_domains": ["example.com"],
        "name": "Example ID",
        **changes,
    }


class Place:
    """The app and its provider, each of which can go away and come back at the same address."""

    def __init__(self, site: Site, liar: Liar, port: int) -> None:
        self.site = site
        self.liar = liar
        self.url = f"http://127.0.0.1:{port}"
        self._port = port
        self.server = self.start()

    def start(self) -> Server:
        self.server = self.site.start(port=self._port, CHATCORE_PUBLIC_URL=self.url, OIDC_SECRET=SECRET)
        return self.server

    def browser(self, *, referer: str | None = None) -> httpx.Client:
        headers = {"referer": referer} if referer else {}
        return httpx.Client(base_url=self.url, headers=headers, trust_env=False, timeout=20)

    def login_path(self, age: float = 0) -> str:
        """What `st.login` sends the browser to. `age`: seconds since the button was pressed."""
        key = OctKey.import_key(_cookie_secret(self.site.settings.secret_key))
        token = jwt.encode({"alg": "HS256"}, {"provider": "default", "exp": int(time.time() + 120 - age)}, key)
        return f"/auth/login?provider={token}"

    def begin(self, http: httpx.Client) -> str:
        """Press the button; the path with which the provider sends the browser back."""
        asked = parse_qs(urlsplit(http.get(self.login_path()).headers["location"]).query)
        assert asked["redirect_uri"] == [f"{self.url}/oauth2callback"]
        assert asked["code_challenge_method"] == ["S256"]
        return f"/oauth2callback?code={asked['nonce'][0]}&state={asked['state'][0]}"

    def outcome(self, http: httpx.Client, back: str | None = None) -> str:
        """Where a sign-in ends. Only what ends at a page leaves a session."""
        answer = http.get(back or self.begin(http))
        assert answer.status_code == 303
        assert "_streamlit_user" not in answer.headers.get("set-cookie", "")
        where: str = answer.headers["location"]
        assert ("sign_in=" in where) != (SESSION in answer.cookies)
        return where


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    port = free_port()
    site = Site(tmp_path_factory.mktemp("company"), demo_models=True, oidc=section(port))
    site.person("root", "operator")
    with lying(port) as liar:
        place = Place(site, liar, free_port())
        yield place
        place.server.terminate()
    site.close()


@pytest.fixture(autouse=True)
def _honest(place: Place) -> None:
    place.liar.tell()


def test_a_right_token_signs_in_and_leads_where_the_button_was(place: Place) -> None:
    with place.browser(referer=f"{place.url}/usage?range=7d&setup=abc&sign_in=stale") as http:
        answer = http.get(place.begin(http))
        assert answer.headers["location"] == "/usage?range=7d"
        assert answer.headers["cache-control"] == "no-store"
        cookies = {name for name, *_ in (one.split("=") for one in answer.headers.get_list("set-cookie"))}
        assert cookies == {SESSION, "chatcore_next", "_streamlit_session"}
        [ours] = [one for one in answer.headers.get_list("set-cookie") if one.startswith(SESSION)]
        assert {"HttpOnly", "SameSite=lax"} <= {part.strip() for part in ours.split(";")}
    session = place.site.read(lambda s: s.scalar(select(AuditEntry).where(AuditEntry.action == "sign_in.company")))
    assert session is not None
    assert session.address == "127.0.0.1"


@pytest.mark.parametrize(
    "lie",
    [
        {"iss": "https://id.evil.com"}, {"aud": "another program"}, {"aud": ["another program"], "azp": "chatcore"},
        {"nonce": "another"}, {"nonce": ...}, {"exp": 1}, {"iat": 9_999_999_999}, {"sub": ...}, {"forged": True},
        {"status": 400}, {"status": 500}, {"sub": 7}, {"sub": ""},
    ],
)  # fmt: skip
def test_a_wrong_token_signs_nobody_in(place: Place, lie: dict[str, Any]) -> None:
    place.liar.tell(**lie)
    with place.browser() as http:
        assert place.outcome(http) in ("/?sign_in=provider", "/?sign_in=claims")


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ({"email": "mal@evil.com"}, "domain"), ({"email_verified": "false"}, "unverified"), ({"email": ...}, "email"),
        ({"iat": int(time.time()) - 3600}, "stale"),
    ],
)  # fmt: skip
def test_who_may_not_come_in_is_told_why(place: Place, said: dict[str, Any], reason: str) -> None:
    place.liar.tell(**said)
    with place.browser() as http:
        assert place.outcome(http) == f"/?sign_in={reason}"


def test_a_callback_counts_once_even_where_the_provider_takes_the_code_again(place: Place) -> None:
    with place.browser() as http:
        back = place.begin(http)
        cookies = dict(http.cookies)
        assert place.outcome(http, back) == "/"
        assert place.outcome(http, back) == "/?sign_in=stale"  # the state is gone from this browser
    with place.browser() as replayed:
        replayed.cookies.update(cookies)
        assert place.outcome(replayed, back) == "/?sign_in=stale"
    with place.browser() as another:
        assert place.outcome(another, back) == "/?sign_in=stale"


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ("error=access_denied&error_description=%0a<b>", "cancelled"), ("error=server_error", "provider"),
        ("code=x&state=y", "stale"), ("code=x", "stale"), ("", "stale"), ("error=%0d%0aset-cookie:x=1", "provider"),
    ],
)  # fmt: skip
def test_what_comes_back_without_a_beginning_here_leads_to_the_sign_in_page(
    place: Place, query: str, reason: str
) -> None:
    with place.browser() as http:
        assert place.outcome(http, f"/oauth2callback?{query}") == f"/?sign_in={reason}"


def test_an_old_button_leads_back_to_the_sign_in_page(place: Place) -> None:
    with place.browser() as http:
        for path in (place.login_path(age=600), "/auth/login?provider=x", "/auth/login"):
            assert http.get(path).headers["location"] == "/?sign_in=stale"


@pytest.mark.parametrize(
    "referer",
    [
        "https://evil.com/usage", "https://evil.com//evil.com", "{url}//evil.com", "{url}/\\evil.com", "{url}/%2f/x\n",
        "", "javascript:alert(1)", "{url}.evil.com/usage", "{url}/session/leave", "//evil.com",
    ],
)  # fmt: skip
def test_no_address_elsewhere_is_gone_to_afterwards(place: Place, referer: str) -> None:
    with place.browser(referer=referer.replace("\n", "").format(url=place.url)) as http:
        where = place.outcome(http)
    assert where == "/" or (where.startswith("/%2f") and urlsplit(where).netloc == "")


@pytest.mark.parametrize(
    "planted", ["//evil.com", "https://evil.com", "/\\evil.com", "/session/leave", "%00", "/a\r\nb"]
)
def test_a_planted_cookie_leads_nowhere_else(place: Place, planted: str) -> None:
    with place.browser() as http:
        back = place.begin(http)
        cookies = {name: value for name, value in http.cookies.items() if name != "chatcore_next"}
        header = "; ".join(f"{name}={value}" for name, value in {**cookies, "chatcore_next": quote(planted)}.items())
        answer = httpx.get(place.url + back, headers={"cookie": header}, trust_env=False)
        assert answer.headers["location"] == "/"


def test_streamlits_own_cookie_opens_no_page_forged_or_signed(place: Place) -> None:
    claims = {
        "sub": "00u1",
        "email": "ada@example.com",
        "is_logged_in": True,
        "origin": place.url,
        "session_id": "bs_x",
    }
    for secret in (_cookie_secret(place.site.settings.secret_key), "guessed"):
        signed = URLSafeTimedSerializer(secret, salt="_streamlit_user").dumps(json.dumps(claims))

        async def look(cookie: str = signed) -> str:
            async with Tab(place.url, "/usage", {"_streamlit_user": cookie}) as tab:
                await tab.until(lambda: tab.idle, timeout=30)
                return " ".join(str(element.proto) for element in tab.elements.values())

        page = asyncio.run(look())
        assert "Sign in with Example ID" in page
        assert "Ada" not in page


def test_two_thousand_groups_are_no_problem_and_no_cookie(place: Place) -> None:
    place.liar.tell(groups=[f"{number:036}" for number in range(2000)])
    with place.browser() as http:
        answer = http.get(place.begin(http))
        assert answer.headers["location"] == "/"
        assert sum(len(one) for one in answer.headers.get_list("set-cookie")) < 1500


def test_no_secret_and_no_token_stands_in_the_log(place: Place) -> None:
    log = place.server.log.read_text()
    assert "sign-in was refused" in log
    for secret in (SECRET, "planted-access-token", _cookie_secret(place.site.settings.secret_key), "eyJ"):
        assert secret not in log
    assert all(form["code_verifier"] for form in place.liar.asked)


def test_what_one_process_began_another_ends(place: Place) -> None:
    with place.browser() as http:
        back = place.begin(http)
        place.server.terminate()
        place.start()
        assert place.outcome(http, back) == "/"


def test_one_person_was_made_for_all_of_it(place: Place) -> None:
    names = place.site.read(lambda s: list(s.scalars(select(User.username).order_by(User.username))))
    assert names == ["ada@example.com", "root"]
