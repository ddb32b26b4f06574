"""What an identity provider says about somebody, checked and put into our own words.

Signature, issuer, expiry and nonce of the token have been checked when its claims come here; audience and age are
looked at again, as the library lets another audience pass where `azp` names us.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from chatcore.accounts.principal import Role
from chatcore.accounts.validation import clean_name, clean_team
from chatcore.config_oidc import ANY_DOMAIN, Oidc
from chatcore.errors import InvalidInput, SignInRefused

SENTENCES: Final[Mapping[str, str]] = {
    "cancelled": "You cancelled signing in with {name}. Nothing has changed.",
    "provider": "{name} did not confirm who you are. Try again; if it stays so, tell your admin.",
    "unavailable": "{name} cannot be reached for signing in. Try again in a minute.",
    "stale": "This sign-in took too long, was used already, or began in another browser. Start again.",
    "claims": "What {name} says about you cannot be used. Tell your admin.",
    "email": "{name} did not give your e-mail address. Tell your admin.",
    "unverified": "{name} has not verified your e-mail address. Verify it there, then sign in again.",
    "domain": "E-mail addresses of this domain may not sign in here. Choose another account, or ask your admin.",
    "username": "Your e-mail address cannot be a username here. Ask your admin for an account.",
    "unknown": "There is no account for you here yet. Ask your admin to add you.",
    "taken": "There is an account with your e-mail address that signs in another way. Ask your admin.",
    "disabled": "Your account is disabled. Ask your admin.",
    "tenant": "Signing in with {name} is not set up completely. Tell your admin.",
}
"""Why somebody is not let in, by the reason that stands in the address; `{name}` is the identity provider's."""

MAX_AGE: Final = timedelta(minutes=10)
"""How old a token may be, and how far its clock may be off."""
_MAX_CHARS: Final = 500  # of an issuer or a subject; the standard allows a subject 255
_EMAIL: Final = re.compile(r"[^\s@]{1,64}@([a-z0-9.-]{1,253})")
_TRUE: Final = (True, "true", "1")


@dataclass(frozen=True)
class Identity:
    """Somebody whom the provider has signed in.

    `key`: issuer and subject, which stay while addresses change. `email` is verified, of an allowed domain, and in
    lower case. `role`, `team`: None where the claims decide nothing.
    """

    key: str
    nonce: str = field(repr=False)
    email: str
    name: str
    role: Role | None
    team: str | None


def refused(reason: str, oidc: Oidc) -> SignInRefused:
    """The refusal with its sentence."""
    return SignInRefused(sentence(reason, oidc), reason)


def sentence(reason: str, oidc: Oidc) -> str:
    """What a person reads for a reason of `SENTENCES`; for any other word that it did not work."""
    name = oidc.name[:1].upper() + oidc.name[1:]
    return SENTENCES.get(reason, "Signing in did not work. Try again.").format(name=name)


def read(claims: Mapping[str, Any], oidc: Oidc, now: datetime) -> Identity:
    """Who it is. `now`: UTC. Raises `SignInRefused`."""
    key = f"{_word(claims, 'iss', oidc)} {_word(claims, 'sub', oidc)}"
    nonce = _word(claims, "nonce", oidc)
    audience = claims.get("aud")
    if oidc.client_id not in (audience if isinstance(audience, list) else [audience]):
        raise refused("claims", oidc)
    _check_age(claims.get("iat"), oidc, now)
    email = _email(claims, oidc)
    return Identity(key, nonce, email, _name(claims.get("name"), email), _role(claims, oidc), _team(claims, oidc))


def _word(claims: Mapping[str, Any], claim: str, oidc: Oidc) -> str:
    value = claims.get(claim)
    if not isinstance(value, str) or not 1 <= len(value) <= _MAX_CHARS or not value.isprintable():
        raise refused("claims", oidc)
    if claim == "iss" and " " in value:
        raise refused("claims", oidc)  # it ends where the subject begins
    return value


def _check_age(issued_at: Any, oidc: Oidc, now: datetime) -> None:
    if isinstance(issued_at, bool) or not isinstance(issued_at, int | float):
        raise refused("claims", oidc)
    latest, oldest = now + MAX_AGE, now - MAX_AGE
    if not oldest.timestamp() <= issued_at <= latest.timestamp():  # so that it is refused where it is no number
        raise refused("stale", oidc)


def _email(claims: Mapping[str, Any], oidc: Oidc) -> str:
    given = claims.get("email")
    if not isinstance(given, str) or not given.strip():
        raise refused("email", oidc)
    given = given.strip()
    # Before it becomes lower case: that makes letters of other alphabets, such as the Kelvin sign, ours.
    match = _EMAIL.fullmatch(given.lower()) if given.isascii() else None
    if match is None:
        raise refused("username", oidc)
    if claims.get(oidc.email_verified_claim) not in _TRUE:
        raise refused("unverified", oidc)
    if oidc.allowed_domains != [ANY_DOMAIN] and match[1] not in oidc.allowed_domains:
        raise refused("domain", oidc)
    return given.lower()


def _name(given: Any, email: str) -> str:
    """The name to show, cut to what fits; where there is none, what stands before the @."""
    try:
        return clean_name(given[:100]) if isinstance(given, str) else email.partition("@")[0]
    except InvalidInput:
        return email.partition("@")[0]


def _values(claims: Mapping[str, Any], claim: str) -> list[str]:
    """The texts of a claim that is a list, or one text alone."""
    value = claims.get(claim)
    found = value if isinstance(value, list) else [value]
    return [one for one in found if isinstance(one, str)]


def _is_left_out(claims: Mapping[str, Any], claim: str) -> bool:
    """Whether the claim has a value that is not sent: where somebody is in too many groups, Entra says where to ask
    for them instead. A claim that is just absent has none: a person without any role has no `roles` there.
    """
    elsewhere = claims.get("_claim_names")
    return claim not in claims and isinstance(elsewhere, Mapping) and claim in elsewhere


def _role(claims: Mapping[str, Any], oidc: Oidc) -> Role | None:
    if oidc.role_claim is None:
        return None
    if _is_left_out(claims, oidc.role_claim):
        return None
    values = set(_values(claims, oidc.role_claim))
    if values.intersection(oidc.roles.get("operator", ())):
        return "operator"
    return "admin" if values.intersection(oidc.roles.get("admin", ())) else "member"


def _team(claims: Mapping[str, Any], oidc: Oidc) -> str | None:
    for value in _values(claims, oidc.team_claim) if oidc.team_claim else ():
        try:
            if team := clean_team(value):
                return team
        except InvalidInput:
            continue
    return None
