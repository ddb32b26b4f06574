"""bcrypt, and a hash that no password matches for names that nobody has."""

import secrets
import string
from typing import Final

import bcrypt

_ROUNDS: Final = 12
_BCRYPT_ALPHABET: Final = "./" + string.ascii_letters + string.digits


def hash_password(password: str) -> str:
    """bcrypt at our cost, about a quarter of a second of one core. `password`: as `validation` returned it."""
    return bcrypt.hashpw(password.encode(), bcrypt.gensalt(_ROUNDS)).decode()


def decoy_hash() -> str:
    """A well-formed hash at the same cost that no known password has: checking against it costs the same time."""
    return bcrypt.gensalt(_ROUNDS).decode() + "".join(secrets.choice(_BCRYPT_ALPHABET) for _ in range(31))


def matches(password: str, stored: str | None) -> bool:
    """Whether `password`, trimmed, is the one behind `stored`. Costs the same where there is none to compare with."""
    try:
        return bcrypt.checkpw(password.strip().encode(), (stored or decoy_hash()).encode())
    except ValueError:  # over 72 bytes, or not text that UTF-8 can carry: no stored password is like that
        return False
