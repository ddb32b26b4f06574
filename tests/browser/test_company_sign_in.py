"""Signing in with a company's account: in, out and in again, with a role; and what is said when it fails."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import expect

from tests.browser.conftest import Open, Screen
from tests.serving import PASSWORD, Server, Site, free_port

BUTTON = "Sign in with Example ID"
PEOPLE = (
    {
        "sub": "ada",
        "email": "Ada@Example.com",
        "email_verified": True,
        "name": "Ada Lovelace",
        "groups": ["chat-admins"],
    },
    {"sub": "mal", "email": "mal@evil.com", "email_verified": True, "name": "Mal"},
)


@dataclass
class Place:
    """The app, and the process of its identity provider."""

    server: Server
    provider: "subprocess.Popen[bytes]"


@contextmanager
def identity_provider(port: int) -> Iterator["subprocess.Popen[bytes]"]:
    """A process of its own: it uses what Authlib calls old, and warnings are errors here."""
    people = [part for one in PEOPLE for part in ("--user-claims", json.dumps(one))]
    command = [sys.executable, "-W", "ignore", "-m", "oidc_provider_mock", "--port", str(port), *people]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    try:
        while True:
            with suppress(httpx.TransportError):
                if httpx.get(f"http://127.0.0.1:{port}/jwks", trust_env=False).status_code == 200:
                    break
            assert process.poll() is None
            assert time.monotonic() < deadline, "the identity provider did not start"
            time.sleep(0.05)
        yield process
    finally:
        process.kill()
        process.wait(10)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    away, port = free_port(), free_port()
    oidc = {
        "name": "Example ID",
        "client_id": "chatcore",
        "client_secret": "planted-client-secret",
        "server_metadata_url": f"http://127.0.0.1:{away}/.well-known/openid-configuration",
        "allowed_domains": ["example.com"],
        "role_claim": "groups",
        "roles": {"admin": ["chat-admins"]},
    }
    site = Site(tmp_path, demo_models=True, oidc=oidc)
    site.person("root", "operator")
    with (
        identity_provider(away) as provider,
        site.running(port=port, CHATCORE_PUBLIC_URL=f"http://127.0.0.1:{port}") as server,
    ):
        yield Place(server, provider)
    site.close()


def choose(screen: Screen, sub: str) -> Screen:
    """Press the button, and at the provider choose who one is; '' cancels."""
    screen.button(BUTTON).click()
    screen.page.wait_for_url("**/oauth2/authorize**")
    screen.page.get_by_role("button", name=sub or "Deny", exact=True).click()
    screen.page.wait_for_url(f"{screen.server.url}/**")
    return screen.ready()


def test_a_company_account_signs_in_out_and_in_again(place: Place, open_tab: Open) -> None:
    tab = open_tab(at=place.server).go("/usage")
    tab.page.context.route("https://cdn.jsdelivr.net/**", lambda route: route.abort())  # the provider's page wants it
    choose(tab, "mal")
    expect(tab.alert).to_contain_text("E-mail addresses of this domain may not sign in here")
    choose(tab, "")
    expect(tab.alert).to_contain_text("You cancelled signing in with Example ID")

    tab.go("/usage?range=7d")
    choose(tab, "ada")
    expect(tab.page.get_by_role("heading", name="Usage")).to_be_visible()
    assert tab.page.url.endswith("/usage?range=7d")
    expect(tab.sidebar.get_by_text("Ada Lovelace")).to_be_visible()
    expect(tab.sidebar.get_by_text("Admin", exact=True)).to_be_visible()  # by the role of the claim
    names = {cookie["name"] for cookie in tab.page.context.cookies()}
    assert names == {"chatcore_session", "_streamlit_xsrf"}

    tab.sidebar.get_by_text("Sign out").click()
    tab.button(BUTTON).wait_for()
    tab.page.reload()
    tab.ready().button(BUTTON).wait_for()
    assert tab.sidebar.get_by_text("Sign out").count() == 0
    choose(tab, "ada")
    expect(tab.page.get_by_text("Hello, Ada")).to_be_visible()

    place.provider.kill()
    place.provider.wait(10)
    other = open_tab(at=place.server).go()
    other.button(BUTTON).click()
    expect(other.alert).to_contain_text("Example ID cannot be reached for signing in")
    other.page.get_by_label("Username").fill("root")
    other.page.get_by_label("Password", exact=True).fill(PASSWORD)
    other.button("Sign in").click()
    expect(other.page.get_by_text("Hello, Root")).to_be_visible()
    tab.page.reload()
    expect(tab.ready().page.get_by_text("Hello, Ada")).to_be_visible()  # whoever is in stays in
