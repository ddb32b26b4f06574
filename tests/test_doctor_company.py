"""What `doctor` says of a company's sign-in."""

from pathlib import Path
from typing import Any

import yaml

from chatcore.config import load_settings
from chatcore.maintenance import Finding, examine
from tests.identity_provider import lying
from tests.serving import free_port


def findings(tmp_path: Path, address: str | None, **environ: str) -> list[tuple[bool | None, str]]:
    section: dict[str, Any] = {
        "client_id": "chatcore", "client_secret": "os.environ/OIDC_SECRET", "server_metadata_url": address,
        "allowed_domains": ["example.com"], "name": "Example ID",
    }  # fmt: skip
    oidc = section if address else None
    (tmp_path / "config.yaml").write_text(yaml.safe_dump({"chatcore": {"oidc": oidc, "ollama": False}}))
    settings = load_settings({"CHATCORE_DATA_DIR": str(tmp_path / "data"), **environ}, root=tmp_path)
    found: list[Finding] = [one for one in examine(settings) if one.what == "company sign-in"]
    return [(one.fine, one.words) for one in found]


ENVIRON = {"OIDC_SECRET": "planted-secret", "CHATCORE_PUBLIC_URL": "https://chat.example.org"}
REGISTER = (None, "the redirect address to register there is https://chat.example.org/oauth2callback")


def test_without_a_provider_nothing_is_said(tmp_path: Path) -> None:
    assert findings(tmp_path, None) == []


def test_a_provider_that_answers_and_the_address_to_register(tmp_path: Path) -> None:
    with lying(free_port()) as provider:
        assert findings(tmp_path, f"{provider.url}/.well-known/openid-configuration", **ENVIRON) == [
            (True, "Example ID answers"), REGISTER,
        ]  # fmt: skip
        assert findings(tmp_path, f"{provider.url}/jwks", **ENVIRON)[0][0] is False


def test_a_provider_that_is_away(tmp_path: Path) -> None:
    [(fine, words), register] = findings(tmp_path, f"http://127.0.0.1:{free_port()}/x", **ENVIRON)
    assert not fine
    assert "server_metadata_url does not answer" in words
    assert register == REGISTER


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    [(fine, words)] = findings(tmp_path, "https://id.example.com/x", OIDC_SECRET="planted-secret")
    assert not fine
    assert "CHATCORE_PUBLIC_URL" in words
    assert "planted" not in words
