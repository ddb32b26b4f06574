"""Keys to plant: made up, in the forms that the providers' keys have."""

import random
import string
from collections.abc import Callable, Mapping
from typing import Final

KEYS: Final[Mapping[str, str]] = {
    "openai": "sk-proj-T3BlbkFJabcdefGHIJKL0123456789_mnopqr-STUV",
    "openai, old": "sk-abcdefghijklmnopqrstT3BlbkFJabcdefghijklmnop",
    "openai, service account": "sk-svcacct-AbCdEfGhIjKl_MnOpQrStUvWxYz-0123456789T3BlbkFJ",
    "openai, masked": "sk-proj-********************************wxyz",
    "openai, masked short": "sk-ab***yz",
    "anthropic": "sk-ant-api03-AbCdEf-0123456789_xyz-AA",
    "google": "AIzaSyA-0123456789abcdefghijklmnopqrstu",
    "google, oauth": "ya29.a0AfH6SMBx-0123456789abcdefghij",
    "google, new": "AQ.Ab8RN6KxYz0123456789abcdefGHIJKLmnopQRSTuvwxYZ0123",
    "groq": "gsk_abcdefghijklmnop0123456789",
    "xai": "xai-abcdefghijklmnopqrstuvwxyz0123456789",
    "openrouter": "sk-or-v1-0123456789abcdef0123456789abcdef",
    "huggingface": "hf_AbCdEfGhIjKlMnOpQrStUvWx",
    "huggingface, letters": "hf_abcdefghijklmnopqrstuvwxyzabcdefgh",
    "replicate": "r8_AbCdEfGhIjKlMnOpQrStUvWxYz012",
    "perplexity": "pplx-0123456789abcdef0123456789",
    "fireworks": "fw_3ZabcdefGHIJKLmnop012",
    "nvidia": "nvapi-AbCdEf0123456789-_xyz",
    "cerebras": "csk-abcdefghij0123456789",
    "aws": "AKIAIOSFODNN7EXAMPLE",
    "aws, for a while": "ASIAIOSFODNN7EXAMPLE",
    "aws, secret": "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
    "azure": "0123456789abcdef0123456789abcdef",
    "azure, new": "3aBcDeFgHiJkLmNoPqRsTuVwXyZ0123456789aBcDeFgHiJkLmNoPqRsTuVwXyZJQQJ99ACYeBjFXJ3w3AAAB",
    "together": "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
    "sambanova": "01234567-89ab-cdef-0123-456789abcdef",
    "uuid of digits": "07932915-8411-4399-8001-020680222912",
    "mistral": "AbCdEfGhIjKlMnOpQrStUvWxYz012345",
    "of letters": "AbCdEfGhIjKlMnOpQrStUvWxYzAbCdEfGhIj",
    "github": "ghp_AbCdEfGhIjKlMnOpQrStUvWxYz0123456789",
    "databricks": "dapi0123456789abcdef0123456789abcdef",
    "ours": "ck_0123456789abcdefghij",
    "jwt": "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJlc2lnbmF0dXJl",
}

_SMALL = string.ascii_lowercase + string.digits
_ALL = string.ascii_letters + string.digits


def _of(alphabet: str, length: int, before: str = "", after: str = "") -> Callable[[random.Random], str]:
    return lambda chance: before + "".join(chance.choices(alphabet, k=length)) + after


RANDOM: Final[Mapping[str, Callable[[random.Random], str]]] = {
    "anthropic": _of(_ALL + "-_", 93, "sk-ant-api03-", "AA"),
    "aws, secret": _of(_ALL + "+/", 40),
    "azure": _of("0123456789abcdef", 32),
    "azure, new": _of(_ALL, 84),
    "azure, storage": _of(_ALL + "+/", 86, after="=="),
    "cohere": _of(_ALL, 40),
    "google": _of(_ALL + "-_", 35, "AIza"),
    "groq": _of(_ALL, 52, "gsk_"),
    "huggingface": _of(_ALL, 34, "hf_"),
    "mistral": _of(_ALL, 32),
    "of small letters": _of(_SMALL, 32),
    "ours": _of(_ALL + "-_", 43, "ck_"),
    "session": _of(_ALL + "-_", 43),
    "together": _of("0123456789abcdef", 64),
    "xai": _of(_ALL, 80, "xai-"),
}
"""Makers of random keys, by the form of whose they are."""
