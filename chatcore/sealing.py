"""Encryption at rest of what the instance keeps for others, with keys derived from its secret key."""

import base64

from cryptography.fernet import Fernet
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF


def fernet(secret_key: str, purpose: bytes) -> Fernet:
    """The cipher for one purpose: what was encrypted for another does not open with it."""
    derived = HKDF(SHA256(), 32, salt=None, info=purpose).derive(secret_key.encode(errors="surrogateescape"))
    return Fernet(base64.urlsafe_b64encode(derived))
