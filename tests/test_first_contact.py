"""The process as strangers, operators and the system meet it: first requests, forged ones, wrong settings, signals."""

import asyncio
import secrets
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import websockets
from sqlalchemy import text

from chatcore.config import PROJECT_ROOT
from chatcore.db.tables import Message
from tests.benchmarks.streamlit_client import NUMBERED, Tab
from tests.hostile import HostileProvider
from tests.serving import PASSWORD, Server, Site, end, free_port, is_running

COOKIE = "chatcore_session"
SECRET = "Ada’s own title"


def shown(tab: Tab) -> str:
    """Everything that stands on the page, whatever it is."""
    return " ".join(f"{element.kind} {element.proto}" for element in tab.elements.values())


def assert_login_alone(tab: Tab) -> None:
    """The sign-in form is there, and nothing of any page behind it."""
    kinds = [element.kind for element in tab.elements.values()]
    widgets = {getattr(element.proto, "label", "") for element in tab.elements.values()} - {""}
    assert widgets == {"Username", "Password", "Sign in"}
    assert not {"chat_input", "page_link", "plotly_chart", "arrow_data_frame", "metric", "exception"} & set(kinds)
    assert SECRET not in shown(tab)


async def look(
    server: Server, path: str, cookie: str = "", resume: str = "", headers: dict[str, str] | None = None
) -> Tab:
    """A tab after its first run, closed again. `headers` go with the handshake besides the usual ones."""
    tab = Tab(server.url, path, {COOKIE: cookie} if cookie else None)
    connect = websockets.connect

    def forged(uri: str, **options: Any) -> Any:
        return connect(uri, **options | {"additional_headers": options["additional_headers"] | (headers or {})})

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(websockets, "connect", forged)
        await tab.open(resume=resume)
    await tab.close()
    return tab


def wait_for(condition: Any, timeout: float = 10.0) -> bool:
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


# --- a fresh process, nobody signed in


@pytest.mark.parametrize(
    "paths",
    [("/", "/account", "/chat", "/prompts"), ("/usage",), ("/admin", "/history", "/shared"), ("/shared?s=share_x.y",)],
    ids=lambda paths: paths[0],
)
def test_the_first_request_of_all_gets_the_sign_in_form(tmp_path: Path, paths: tuple[str, ...]) -> None:
    """In processes of their own: what ran before must not be what guards a path."""
    site = Site(tmp_path, demo_models=True)
    site.person("ada", "operator", name=SECRET)
    with site.running() as server:
        for path in paths:
            assert_login_alone(asyncio.run(look(server, path)))
    site.close()


# --- a process that people use


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    site = Site(tmp_path_factory.mktemp("contact"), demo_models=True)
    yield site
    site.close()


@pytest.fixture(scope="module")
def cookies(site: Site) -> dict[str, str]:
    return {"ada": site.person("ada", "operator", name=SECRET), "bob": site.person("bob")}


@pytest.fixture(scope="module")
def server(site: Site, cookies: dict[str, str]) -> Iterator[Server]:
    with site.running() as server:
        yield server


def test_a_stolen_session_id_resumes_nothing(server: Server, cookies: dict[str, str]) -> None:
    async def steal() -> None:
        async with Tab(server.url, "/account", {COOKIE: cookies["ada"]}) as ada:
            assert SECRET in shown(ada)
            stranger = await look(server, "/account", resume=ada.session_id)
            assert stranger.session_id != ada.session_id
            assert_login_alone(stranger)
            bob = await look(server, "/account", cookies["bob"], resume=ada.session_id)
            assert bob.session_id != ada.session_id
            assert SECRET not in shown(bob)
        # A line that was lost: the session waits for its owner, and for nobody else.
        stranger = await look(server, "/account", resume=ada.session_id)
        assert_login_alone(stranger)
        again = await look(server, "/account", cookies["ada"], resume=ada.session_id)
        assert again.session_id == ada.session_id

    asyncio.run(steal())


@pytest.mark.parametrize("header", ["X-Chatcore-Session", "x-chatcore-session", "X_Chatcore_Session"])
def test_a_forged_header_signs_nobody_in(site: Site, server: Server, cookies: dict[str, str], header: str) -> None:
    session_id = asyncio.run(site.accounts.session_for_token(cookies["ada"]))
    assert session_id
    assert_login_alone(asyncio.run(look(server, "/account", headers={header: session_id})))


def test_a_forged_header_ends_nobodys_session(site: Site, server: Server, cookies: dict[str, str]) -> None:
    session_id = asyncio.run(site.accounts.session_for_token(cookies["ada"]))
    assert session_id
    httpx.post(f"{server.url}/session/leave", headers={"X-Chatcore-Session": session_id}, trust_env=False)
    assert asyncio.run(site.accounts.session_for_token(cookies["ada"])) == session_id


@pytest.mark.parametrize("cookie", ["", "x", "../../etc/passwd", "a" * 4000, "%00", "' OR 1=1 --"])
def test_a_cookie_that_is_none_shows_the_sign_in_form(server: Server, cookie: str) -> None:
    assert_login_alone(asyncio.run(look(server, "/account", cookie)))


def test_health_and_readiness(server: Server) -> None:
    health = httpx.get(f"{server.url}/api/health", trust_env=False)
    ready = httpx.get(f"{server.url}/api/ready", trust_env=False)
    assert (health.status_code, health.json()["status"]) == (200, "ok")
    assert (ready.status_code, ready.json()["engine"], ready.json()["migrations"]) == (200, True, True)


def test_metrics_are_for_this_machine_and_not_for_what_a_proxy_passes_on(server: Server) -> None:
    assert "chatcore_turns_active 0.0" in httpx.get(f"{server.url}/metrics", trust_env=False).text
    # uvicorn believes a proxy on this machine, and puts what it says in the place of the peer.
    for said in ("127.0.0.1", "203.0.113.5", "::1"):
        passed_on = httpx.get(f"{server.url}/metrics", headers={"X-Forwarded-For": said}, trust_env=False)
        assert passed_on.status_code == 404
    assert httpx.get(f"{server.url}/metrics", headers={"Host": "chat.example"}, trust_env=False).status_code == 404


def test_a_base_path_carries_pages_routes_and_cookie(tmp_path: Path) -> None:
    site = Site(tmp_path, demo_models=True)
    cookie = site.person("ada", name=SECRET)
    with site.running("--server.baseUrlPath", "chat", base="/chat") as server:
        root = f"http://127.0.0.1:{server.port}"
        assert httpx.get(f"{root}/chat/api/health", trust_env=False).status_code == 200
        assert httpx.get(f"{root}/chat/metrics", trust_env=False).headers["content-type"].startswith("text/plain")
        ticket = site.accounts.ticket("ada")
        entered = httpx.get(f"{root}/chat/session/enter", params={"ticket": ticket, "next": "/usage"}, trust_env=False)
        assert (entered.status_code, entered.headers["location"]) == (303, "/chat/usage")
        assert "Path=/chat;" in entered.headers["set-cookie"] + ";"
        assert "HttpOnly" in entered.headers["set-cookie"]
        assert_login_alone(asyncio.run(look(server, "/account")))
        assert SECRET in shown(asyncio.run(look(server, "/account", cookie)))
    site.close()


# --- settings that cannot work


def refused(site: Site, *flags: str, **environment: str) -> str:
    """The sentence with which a start ends."""
    done = subprocess.run(
        site.command(free_port(), *flags),
        cwd=PROJECT_ROOT,
        env=site.environment | environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    said = done.stdout + done.stderr
    assert "Traceback" not in said
    assert done.returncode == 2, said
    [sentence] = [line for line in said.splitlines() if "Chatcore cannot start." in line]
    assert sentence.endswith(".")
    return sentence


def test_bad_yaml_is_named_with_its_line(tmp_path: Path) -> None:
    site = Site(tmp_path)
    (tmp_path / "config.yaml").write_text("model_list:\n  - model_name: a\n   litellm_params: {}\n")
    assert "line 3" in refused(site)
    (tmp_path / "config.yaml").write_text("model_list:\n  - model_name: a\n    litellm_params:\n      model: 7\n")
    assert "line 4" in refused(site)


def test_a_database_that_does_not_answer_is_named(tmp_path: Path) -> None:
    url = f"postgresql://nobody:s3cret@127.0.0.1:{free_port()}/none"
    sentence = refused(Site(tmp_path), CHATCORE_DATABASE_URL=url)
    assert "CHATCORE_DATABASE_URL" in sentence
    assert "s3cret" not in sentence


def test_a_newer_database_is_left_alone(tmp_path: Path) -> None:
    site = Site(tmp_path)
    site.database.write(lambda session: session.execute(text("UPDATE alembic_version SET version_num = '9999_later'")))
    sentence = refused(site)
    assert "9999_later" in sentence
    assert "newer" in sentence
    assert site.read(lambda s: s.execute(text("SELECT version_num FROM alembic_version")).scalar()) == "9999_later"
    site.close()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("CHATCORE_DATABASE_URL", "mysql://localhost/x"),
        ("CHATCORE_ADMIN_PASSWORD", PASSWORD),
        ("CHATCORE_CONFIG", "/nowhere/config.yaml"),
    ],
)
def test_a_setting_that_cannot_work_is_named(tmp_path: Path, name: str, value: str) -> None:
    sentence = refused(Site(tmp_path), **{name: value})
    assert name in sentence
    assert PASSWORD not in sentence


# --- ends


@pytest.fixture(scope="module")
def provider() -> Iterator[HostileProvider]:
    with HostileProvider() as provider:
        yield provider


async def ask(server: Server, cookie: str, model: str, question: str, provider: HostileProvider) -> Tab:
    """A tab in which a reply is being said."""
    tab = Tab(server.url, f"/?model={model}", {COOKIE: cookie})
    await tab.open()
    await tab.ask(question)
    await asyncio.to_thread(
        provider.wait_until,
        lambda log: any(question in str(call.messages) and call.first_word_at for call in log),
        20,
    )
    return tab


def numbers(reply: Message) -> list[int]:
    return [int(number) for number in NUMBERED.findall(reply.content)]


def test_sigterm_lets_a_short_reply_end(tmp_path: Path, provider: HostileProvider) -> None:
    site = Site(tmp_path, provider.url, {"short": "ok;n=40;rate=20"})
    cookie, question = site.person("ada"), secrets.token_hex(8)
    server = site.start(CHATCORE_DRAIN_SECONDS="10")
    try:

        async def run() -> tuple[int, float]:
            await ask(server, cookie, "short", question, provider)
            return await asyncio.to_thread(server.terminate)

        code, seconds = asyncio.run(run())
        reply = site.reply(question)
        assert reply is not None
        assert (reply.status, numbers(reply)) == ("complete", list(range(40)))
        assert [row.outcome for row in site.ledger(reply.id)] == ["ok"]
        assert code in (0, -15, 143)
        assert seconds < 6, "it ends when the reply has, not when the time is over"
        assert wait_for(lambda: not any(map(is_running, server.workers))), "a gateway worker was left behind"
        assert "Traceback" not in server.log.read_text()
    finally:
        end(server)
        site.close()


def test_sigterm_interrupts_a_long_reply_and_keeps_its_words(tmp_path: Path, provider: HostileProvider) -> None:
    site = Site(tmp_path, provider.url, {"long": "ok;n=400;rate=20"})
    cookie, question = site.person("ada"), secrets.token_hex(8)
    server = site.start(CHATCORE_DRAIN_SECONDS="1")
    try:

        async def run() -> tuple[int, float]:
            await ask(server, cookie, "long", question, provider)
            return await asyncio.to_thread(server.terminate)

        code, seconds = asyncio.run(run())
        reply = site.reply(question)
        assert reply is not None
        assert reply.status == "interrupted"
        assert numbers(reply) == list(range(len(numbers(reply))))
        assert 18 <= len(numbers(reply)) <= 60
        [row] = site.ledger(reply.id)
        assert (row.outcome, row.usage_source, row.cost_nano_usd is not None) == ("interrupted", "estimated", True)
        assert row.completion_tokens > 0
        assert code in (0, -15, 143)
        assert seconds < 6
        assert wait_for(lambda: not any(map(is_running, server.workers))), "a gateway worker was left behind"
    finally:
        end(server)
        site.close()


def test_kill_leaves_no_worker_behind(tmp_path: Path) -> None:
    site = Site(tmp_path, demo_models=True)
    server = site.start()
    assert server.workers
    assert all(map(is_running, server.workers))
    server.kill()
    # The worker may still be importing litellm; it looks for its parent as soon as it has.
    assert wait_for(lambda: not any(map(is_running, server.workers)), 20), "a gateway worker was left behind"


def test_the_setup_link_is_printed_only_while_nobody_has_an_account(tmp_path: Path) -> None:
    site = Site(tmp_path, demo_models=True)
    with site.running() as server:
        assert wait_for(lambda: "/?setup=" in server.log.read_text())
    site.person("ada")
    with site.running() as server:
        log = server.log.read_text()
        assert "/?setup=" not in log
    site.close()
