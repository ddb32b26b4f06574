"""What a username, a person's name and a password may be. Each function returns the value as it is stored."""

import re
from typing import Final

from chatcore.accounts.principal import ROLES, Role
from chatcore.errors import InvalidInput

MIN_PASSWORD_CHARS: Final = 8
MAX_PASSWORD_BYTES: Final = 72  # bcrypt reads no further

_USERNAME: Final = re.compile(r"[a-z0-9._@+-]{1,64}")
_TIER: Final = re.compile(r"[a-z0-9_-]{1,32}")
_MAX_NAME_CHARS: Final = 100


def normal_username(typed: str) -> str:
    """The typed name as sign-in looks it up: lower case, trimmed. Never raises."""
    return typed.lower().strip()


def clean_username(typed: str) -> str:
    """A username to store. Raises `InvalidInput`."""
    username = normal_username(typed)
    if not _USERNAME.fullmatch(username):
        raise InvalidInput("A username has 1 to 64 characters: letters a to z, digits and . _ @ + -")
    return username


def clean_name(typed: str, what: str = "A name") -> str:
    """A name to show, of a person, tenant or key. Raises `InvalidInput`."""
    name = typed.strip()
    if not 1 <= len(name) <= _MAX_NAME_CHARS:
        raise InvalidInput(f"{what} has 1 to {_MAX_NAME_CHARS} characters.")
    if not name.isprintable():
        raise InvalidInput(f"{what} has no control characters or line breaks.")
    return name


def clean_password(typed: str) -> str:
    """A password to set, trimmed because the sign-in form trims what is typed. Raises `InvalidInput`."""
    password = typed.strip()
    if len(password) < MIN_PASSWORD_CHARS:
        raise InvalidInput(f"A password has at least {MIN_PASSWORD_CHARS} characters, not counting spaces around it.")
    if len(password.encode(errors="surrogatepass")) > MAX_PASSWORD_BYTES:
        raise InvalidInput(f"A password has at most {MAX_PASSWORD_BYTES} bytes; this one is longer.")
    if any(ord(character) < 32 or 0xD800 <= ord(character) <= 0xDFFF for character in password):
        raise InvalidInput("A password has no control characters.")
    return password


def is_storable(text: str) -> bool:
    """Whether a database can be asked for it: PostgreSQL knows no NUL, and nobody a half of a surrogate pair."""
    return not any(character == "\0" or "\ud800" <= character <= "\udfff" for character in text)


def clean_role(typed: str) -> Role:
    """One of the roles. Raises `InvalidInput`."""
    for role in ROLES:
        if role == typed:
            return role
    raise InvalidInput(f"A role is one of {', '.join(ROLES)}.")


def clean_team(typed: str | None) -> str | None:
    """The name of a team within a tenant; None for none, also where nothing was typed. Raises `InvalidInput`."""
    return clean_name(typed, "A team's name") if typed and typed.strip() else None


def clean_tier(typed: str) -> str:
    """The name of a tier of limits. Raises `InvalidInput`."""
    if not _TIER.fullmatch(typed):
        raise InvalidInput("A tier has 1 to 32 characters: letters a to z, digits, _ and -")
    return typed
