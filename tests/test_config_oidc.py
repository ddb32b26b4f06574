"""`chatcore.oidc`: what is taken, what stops the start and with which words, and that its secret shows nowhere."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from chatcore.config import Settings, load_settings, worker_environment
from chatcore.errors import ConfigError

SECRET = "planted-client-secret"
GOOD: dict[str, Any] = {
    "client_id": "chatcore",
    "client_secret": "os.environ/OIDC_SECRET",
    "server_metadata_url": "https://id.example.com/.well-known/openid-configuration",
    "allowed_domains": ["example.com"],
}
ENVIRON = {"OIDC_SECRET": SECRET, "CHATCORE_PUBLIC_URL": "https://chat.example.com/"}


def load(tmp_path: Path, environ: dict[str, str] | None = None, **changes: Any) -> Settings:
    section = {name: value for name, value in (GOOD | changes).items() if value is not None}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump({"chatcore": {"oidc": section}}))
    return load_settings(
        {"CHATCORE_DATA_DIR": str(tmp_path / "data"), **(ENVIRON if environ is None else environ)}, root=tmp_path
    )


def test_without_the_section_there_is_no_provider(settings: Settings) -> None:
    assert settings.oidc() is None


def test_the_secret_comes_from_the_variable_it_names(tmp_path: Path) -> None:
    oidc = load(tmp_path).oidc()
    assert oidc is not None
    assert (oidc.client_id, oidc.client_secret, oidc.passwords, oidc.provision) == ("chatcore", SECRET, True, True)


def test_the_secret_stands_in_no_repr(tmp_path: Path) -> None:
    settings = load(tmp_path, client_secret=SECRET)
    for value in (settings, settings.own, settings.file, settings.own.oidc, settings.oidc()):
        assert SECRET not in f"{value!r} {value}"


def test_the_gateways_worker_is_not_told_the_secret(tmp_path: Path) -> None:
    settings = load(tmp_path, {**ENVIRON, "OPENAI_API_KEY": "sk-x"})
    told = worker_environment(settings)
    assert "OIDC_SECRET" not in told
    assert told["OPENAI_API_KEY"] == "sk-x"


def test_a_variable_that_is_not_set_is_named(tmp_path: Path) -> None:
    settings = load(tmp_path, {"CHATCORE_PUBLIC_URL": "https://chat.example.com"})
    with pytest.raises(ConfigError, match=r"chatcore\.oidc\.client_secret stands in the variable OIDC_SECRET"):
        settings.oidc()


def test_without_the_public_address_nobody_could_come_back(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="CHATCORE_PUBLIC_URL"):
        load(tmp_path, {"OIDC_SECRET": SECRET}).oidc()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"client_id": None}, "client_id: Field required"),
        ({"client_secret": None}, "client_secret: Field required"),
        ({"server_metadata_url": None}, "server_metadata_url: Field required"),
        ({"allowed_domains": None}, "allowed_domains: Field required"),
        ({"allowed_domains": []}, r"'\*' alone lets in every account"),
        ({"allowed_domains": ["example"]}, "domains such as example.com"),
        ({"allowed_domains": ["example.com", "*"]}, "stands alone"),
        ({"allowed_domains": ["ada@example.com"]}, "domains such as example.com"),
        ({"server_metadata_url": "http://id.example.com/x"}, "an address with https"),
        ({"server_metadata_url": "id.example.com"}, "an address with https"),
        ({"server_metadata_url": "https://["}, "an address with https"),
        ({"roles": {"admin": ["staff"]}}, "roles need role_claim"),
        ({"roles": {"member": ["staff"]}, "role_claim": "groups"}, "'operator' or 'admin'"),
        ({"scope": "email profile"}, "should hold openid"),
        ({"link_by_email": True, "allowed_domains": ["*"]}, "link_by_email needs allowed_domains"),
        ({"groups": "x"}, "groups: Extra inputs are not permitted"),
    ],
)
def test_what_is_wrong_stops_the_start_with_its_line(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=rf"config\.yaml, line \d+: chatcore\.oidc.*{words}") as caught:
        load(tmp_path, **changes)
    assert SECRET not in str(caught.value)


def test_an_address_from_a_variable_is_looked_at_too(tmp_path: Path) -> None:
    settings = load(tmp_path, {**ENVIRON, "WHERE": "http://id.example.com"}, server_metadata_url="os.environ/WHERE")
    with pytest.raises(ConfigError, match="server_metadata_url: Input should be an address with https"):
        settings.oidc()


@pytest.mark.parametrize("address", ["http://localhost:9400/x", "http://127.0.0.1/x", "http://[::1]:80/x"])
def test_on_this_machine_http_will_do(tmp_path: Path, address: str) -> None:
    oidc = load(tmp_path, server_metadata_url=address).oidc()
    assert oidc is not None
    assert oidc.server_metadata_url == address


def test_domains_are_kept_in_lower_case_and_without_the_at_sign(tmp_path: Path) -> None:
    oidc = load(tmp_path, allowed_domains=["@Example.COM", "sub.example.org"]).oidc()
    assert oidc is not None
    assert oidc.allowed_domains == ["example.com", "sub.example.org"]
