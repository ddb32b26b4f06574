"""`chatcore.oidc` of the config file: signing in with a company's account, by OpenID Connect."""

import ipaddress
import re
from collections.abc import Mapping
from typing import Final, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from chatcore.errors import ConfigError

ENV_REFERENCE: Final = "os.environ/"
"""Before the name of a variable: a value that stands in the environment and not in the file."""
ANY_DOMAIN: Final = "*"
"""In `allowed_domains`: every account that the identity provider knows."""

_DOMAIN: Final = re.compile(r"(?=.{1,253}$)[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)+")
_REFERABLE: Final = ("client_id", "client_secret", "server_metadata_url")

FromClaim = Literal["operator", "admin"]


class Oidc(BaseModel):
    """What an operator says about the company's identity provider, and about who may come in from there.

    `roles`: values of `role_claim` → role; who has none of them is a member. `resolved` puts in what stands in the
    environment.
    """

    model_config = ConfigDict(extra="forbid")

    client_id: str = Field(min_length=1)
    client_secret: str = Field(min_length=1, repr=False)
    server_metadata_url: str = Field(min_length=1)
    allowed_domains: list[str]
    name: str = Field("your company", min_length=1, max_length=60)
    scope: str = "openid email profile"
    tenant: str | None = None
    email_verified_claim: str = Field("email_verified", min_length=1)
    role_claim: str | None = None
    roles: dict[FromClaim, list[str]] = Field(default_factory=dict)
    team_claim: str | None = None
    provision: bool = True
    link_by_email: bool = False
    passwords: bool = True

    @field_validator("allowed_domains")
    @classmethod
    def _domains(cls, values: list[str]) -> list[str]:
        found = [value.strip().lower().removeprefix("@") for value in values]
        if not found:
            raise ValueError("Input should name a domain; '*' alone lets in every account that the provider knows")
        if found != [ANY_DOMAIN] and not all(_DOMAIN.fullmatch(value) for value in found):
            raise ValueError("Input should be domains such as example.com, each by itself; '*' stands alone")
        return found

    @field_validator("scope")
    @classmethod
    def _scopes(cls, value: str) -> str:
        if "openid" not in value.split():
            raise ValueError("Input should hold openid")
        return value

    @field_validator("server_metadata_url")
    @classmethod
    def _address(cls, value: str) -> str:
        if not value.startswith(ENV_REFERENCE) and not _is_safe_address(value):
            raise ValueError(_ADDRESS)
        return value

    @model_validator(mode="after")
    def _together(self) -> "Oidc":
        if self.roles and not self.role_claim:
            raise ValueError("roles need role_claim, the claim that holds such values")
        if self.link_by_email and self.allowed_domains == [ANY_DOMAIN]:
            raise ValueError("link_by_email needs allowed_domains that name domains")
        return self

    @property
    def variables(self) -> list[str]:
        """The names of the variables that it refers to."""
        values = [getattr(self, name) for name in _REFERABLE]
        return [value.removeprefix(ENV_REFERENCE) for value in values if value.startswith(ENV_REFERENCE)]

    def resolved(self, environment: Mapping[str, str]) -> "Oidc":
        """With the values of the variables it refers to. Raises `ConfigError` for one that is not set."""
        found = {}
        for name in _REFERABLE:
            value = getattr(self, name)
            if value.startswith(ENV_REFERENCE):
                variable = value.removeprefix(ENV_REFERENCE)
                found[name] = environment.get(variable, "").strip()
                if not found[name]:
                    raise ConfigError(f"chatcore.oidc.{name} stands in the variable {variable}, which is not set.")
        if not _is_safe_address(found.get("server_metadata_url", self.server_metadata_url)):
            raise ConfigError(f"chatcore.oidc.server_metadata_url: {_ADDRESS}.")
        return self.model_copy(update=found)


_ADDRESS: Final = (
    "Input should be an address with https, such as https://id.example.com/.well-known/openid-configuration"
)


def _is_safe_address(value: str) -> bool:
    """Keys that come over plain http are anybody's; on this machine nobody is between."""
    try:
        parts = urlsplit(value)
        host = parts.hostname or ""
        return bool(host) and (parts.scheme == "https" or (parts.scheme == "http" and _is_here(host)))
    except ValueError:
        return False


def _is_here(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
