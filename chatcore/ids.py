"""Ids made by the server: `conv_01k9…`: a prefix, then 26 characters that sort by time of creation.

The form is a ULID (48 bits of milliseconds, 80 random bits, Crockford base 32) in lower case. Within one
process two ids never come out of order, also in the same millisecond.
"""

import secrets
import threading
import time
from typing import Final

_ALPHABET: Final = "0123456789abcdefghjkmnpqrstvwxyz"
_RANDOM_BITS: Final = 80

_lock = threading.Lock()
_last = 0


def new_id(prefix: str) -> str:
    """A fresh id such as `conv_01k9zv…`."""
    global _last
    value = (time.time_ns() // 1_000_000) << _RANDOM_BITS | secrets.randbits(_RANDOM_BITS)
    with _lock:
        # A clock that stood still or stepped back must not put a child before its parent.
        if value <= _last:
            value = _last + 1 + secrets.randbits(32)
        _last = value
    return f"{prefix}_{_encode(value)}"


def _encode(value: int) -> str:
    digits = []
    for _ in range(26):
        digits.append(_ALPHABET[value & 31])
        value >>= 5
    return "".join(reversed(digits))
