"""Provider keys on the account page and, for admins, the team's: over a whole Core and the hostile provider."""

import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml
from streamlit.testing.v1 import AppTest

from chatcore import bootstrap
from chatcore.accounts import Principal
from chatcore.bootstrap import Core
from chatcore.config import load_settings
from pages.ui import session
from pages.ui.text import plain
from tests.chat import running_core
from tests.conftest import add_person
from tests.hostile import HostileProvider

PAGE = Path(__file__).parents[2] / "pages" / "account.py"
SECRET = "sk-planted-7f3d9a1c5b8e2460-wxyz"
OTHER = "sk-another-0011223344556677-abcd"


@pytest.fixture(scope="module")
def provider() -> Iterator[HostileProvider]:
    with HostileProvider() as provider:
        yield provider


@pytest.fixture(scope="module")
def accepting(tmp_path_factory: pytest.TempPathFactory, provider: HostileProvider) -> Iterator[Core]:
    with running_core(tmp_path_factory.mktemp("core"), provider, ["ok;n=5"], demo_models=True) as core:
        yield core


@pytest.fixture(scope="module")
def refusing(tmp_path_factory: pytest.TempPathFactory, provider: HostileProvider) -> Iterator[Core]:
    """Its provider repeats every key in a 401, and has no other model."""
    with running_core(tmp_path_factory.mktemp("refusing"), provider, ["401"]) as core:
        yield core


@pytest.fixture
def core(accepting: Core) -> Iterator[Core]:
    bootstrap.use(accepting)
    yield accepting
    bootstrap.use(None)


def person(core: Core, monkeypatch: pytest.MonkeyPatch, tenant: str = "", **more: Any) -> Principal:
    """A person of a tenant that is new by default, and who looks at the pages from now on."""
    who = add_person(core.db, f"ann-{secrets.token_hex(4)}", tenant=tenant or secrets.token_hex(4), **more)
    monkeypatch.setattr(session, "current_principal", lambda: who)
    return who


@pytest.fixture
def ann(core: Core, monkeypatch: pytest.MonkeyPatch) -> Principal:
    return person(core, monkeypatch)


@pytest.fixture
def boss(core: Core, monkeypatch: pytest.MonkeyPatch) -> Principal:
    return person(core, monkeypatch, role="admin")


@pytest.fixture(scope="module")
def server(provider: HostileProvider) -> str:
    """`host:port` of the provider: a key for it is no key for OpenAI, though it speaks its protocol."""
    return urlsplit(provider.url).netloc


def run(at: AppTest) -> AppTest:
    at.run()
    assert not at.exception
    return at


def account() -> AppTest:
    return run(AppTest.from_file(str(PAGE), default_timeout=60))


def team_script(who: object) -> None:
    from pages.ui import key_parts

    key_parts.draw(who, for_tenant=True)  # type: ignore[arg-type]


def team(who: Principal) -> AppTest:
    return run(AppTest.from_function(team_script, default_timeout=60, args=(who,)))


def field(at: AppTest) -> Any:
    return next(one for one in at.text_input if one.label == "Key")


def save(at: AppTest, secret: str, mark: str = "person") -> AppTest:
    """Types a key for the provider that is offered first."""
    at.selectbox(key=f"key-provider-{mark}").select_index(0)
    field(at).set_value(secret)
    at.button(key=f"key-save-{mark}").click()
    return run(at)


def texts(at: AppTest) -> list[str]:
    return [one.value for one in at.text]


def everything(at: AppTest) -> str:
    """All that was sent to the browser, and what this tab keeps on the server."""
    sent = "".join(str(getattr(one, "proto", "")) for one in at._tree)
    return sent + repr(at)


def test_it_offers_the_catalogs_providers_that_take_a_key(ann: Principal, server: str) -> None:
    at = account()
    assert at.selectbox(key="key-provider-person").options == [f"OpenAI at {server}"]
    proto = field(at).proto
    assert (proto.type, proto.autocomplete) == (proto.PASSWORD, "off")
    assert "Your own provider keys" in [one.value for one in at.subheader]
    assert any("before the shared key" in one.value and "no budget counts it" in one.value for one in at.caption)


@pytest.fixture
def configured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Core]]:
    """A function that opens a Core with these models, for the pages to look at."""
    opened: list[Core] = []

    def configured(*models: tuple[str, dict[str, str]]) -> Core:
        listed = [{"model_name": name, "litellm_params": params} for name, params in models]
        own = {"ollama": False, "demo_models": not listed}
        (tmp_path / "config.yaml").write_text(yaml.safe_dump({"model_list": listed, "chatcore": own}))
        environ = {"CHATCORE_DATA_DIR": str(tmp_path / "data"), "CHATCORE_CONFIG": str(tmp_path / "config.yaml")}
        opened.append(core := bootstrap.open_core(load_settings(environ, root=tmp_path)))
        monkeypatch.setattr(bootstrap, "_core", core)
        return core

    yield configured
    for core in opened:
        core.shared.close()
        core.db.close()


def test_it_offers_those_whose_key_would_be_used(
    configured: Callable[..., Core], monkeypatch: pytest.MonkeyPatch
) -> None:
    core = configured(
        ("a", {"model": "xai/a"}), ("a", {"model": "openrouter/x/a"}),
        ("b", {"model": "mistral/b"}), ("b", {"model": "deepseek/b", "api_key": OTHER}), ("b", {"model": "groq/b"}),
    )  # fmt: skip
    at = team(person(core, monkeypatch, role="admin"))
    assert at.selectbox(key="key-provider-tenant").options == ["xAI", "OpenRouter", "Mistral", "DeepSeek"]


def test_where_no_model_takes_a_key_none_is_asked_for(
    configured: Callable[..., Core], monkeypatch: pytest.MonkeyPatch
) -> None:
    at = team(person(configured(), monkeypatch, role="admin"))
    assert "None of the models takes a key." in [one.value for one in at.caption]
    assert not at.text_input


def test_a_key_is_tried_saved_shown_by_its_last_four_and_removed(core: Core, ann: Principal, server: str) -> None:
    at = save(account(), f" {SECRET} ")
    assert [one.value for one in at.success] == [plain(f"The key for OpenAI at {server} works and is saved.")]
    kept = [(one.provider, one.last4, one.source) for one in core.keyring.list(ann)]
    assert kept == [(f"openai@{server}", "wxyz", "person")]
    assert f"OpenAI at {server}" in texts(at)
    assert any("···wxyz · saved just now" in one.value for one in at.caption)
    assert field(at).value == ""
    assert "wxyz" in everything(at)
    assert SECRET not in everything(at)
    at.button(key=f"remove-yes-{core.keyring.list(ann)[0].id}").click()
    run(at)
    assert [one.value for one in at.success] == [plain(f"The key for OpenAI at {server} is removed.")]
    assert core.keyring.list(ann) == []
    assert not [one for one in at.caption if "wxyz" in one.value]


def test_the_key_that_is_tried_is_the_one_that_was_given(core: Core, ann: Principal, provider: HostileProvider) -> None:
    before = len(provider.log)
    save(account(), OTHER)
    assert {call.key_last4 for call in provider.log[before:]} == {"abcd"}


@pytest.mark.parametrize("secret", ["", "short", "sk-with a-space-in-it"])
def test_what_is_no_key_is_refused_with_a_sentence_and_asks_nobody(
    core: Core, ann: Principal, provider: HostileProvider, secret: str
) -> None:
    before = len(provider.log)
    at = save(account(), secret)
    assert [one.value for one in at.error] == [
        plain("A provider's key has 8 to 500 letters, digits and signs, and no spaces; copy it again.")
    ]
    assert core.keyring.list(ann) == []
    assert len(provider.log) == before


def test_a_refused_key_is_not_saved_and_shown_nowhere(
    refusing: Core, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bootstrap, "_core", refusing)
    ann = person(refusing, monkeypatch)
    at = save(account(), SECRET)
    assert len(at.error) == 1
    assert not at.success
    assert at.error[0].value.endswith(".")
    assert refusing.keyring.list(ann) == []
    assert SECRET not in everything(at)
    assert at.selectbox(key="key-provider-person").value == f"openai@{server}", "it stays chosen for the next try"


def test_another_persons_keys_are_not_there(core: Core, ann: Principal, monkeypatch: pytest.MonkeyPatch) -> None:
    core.keyring.save(ann, "openai", SECRET)
    person(core, monkeypatch)
    at = account()
    assert "OpenAI" not in texts(at)
    assert not [one for one in at.caption if "wxyz" in one.value]


def test_a_member_reads_that_the_team_has_a_key_and_no_more(
    core: Core, boss: Principal, monkeypatch: pytest.MonkeyPatch
) -> None:
    tenant = next(one.name for one in _tenants(core) if one.id == boss.tenant_id)
    person(core, monkeypatch, tenant)
    assert not [one for one in account().caption if "your organisation's key is used" in one.value]
    core.keyring.save(boss, "openai", SECRET, for_tenant=True)
    at = account()
    assert [one for one in at.caption if one.value.endswith("Where you have none, your organisation's key is used.")]
    assert "wxyz" not in everything(at)
    assert "OpenAI" not in texts(at)


def _tenants(core: Core) -> Any:
    from chatcore.accounts import Console

    return Console(core.db).tenants()


def test_an_admin_keeps_the_teams_keys_apart_from_their_own(core: Core, boss: Principal, server: str) -> None:
    core.keyring.save(boss, "openrouter", OTHER)
    at = save(team(boss), SECRET, mark="tenant")
    assert [one.value for one in at.success] == [plain(f"The key for OpenAI at {server} works and is saved.")]
    assert texts(at) == [f"OpenAI at {server}"]
    assert any("for everybody of the organisation who has no key of their own" in one.value for one in at.caption)
    assert {(one.provider, one.source) for one in core.keyring.list(boss)} == {
        (f"openai@{server}", "tenant"),
        ("openrouter", "person"),
    }
    shared = next(one for one in core.keyring.list(boss) if one.source == "tenant")
    at.button(key=f"remove-yes-{shared.id}").click()
    run(at)
    assert [one.source for one in core.keyring.list(boss)] == ["person"]
