"""One model under several names: a provider's, dated or not, the registry's, and the one on a bill."""

import re
from collections.abc import Iterable, Mapping
from typing import Final

_BREAKS: Final = re.compile(r"[\s._]+")
_VERSION: Final = re.compile(r"(?:-\d{4}-\d\d-\d\d|[-@]\d{8}|-\d{4}|-latest)$")


def key(name: str) -> str:
    """What the names of one model have in common: `openai/gpt-5-2025-08-07` and `GPT-5` are both `gpt-5`.

    The provider before the last slash goes, so do a date or `latest` at the end; spaces and points become hyphens, as
    `Claude Opus 4.5` is `claude-opus-4-5-20251101`. What follows a colon (`:free`) stays, as it has its own price.
    """
    tail = name.strip().casefold().rpartition("/")[2]
    base, colon, variant = tail.partition(":")
    base = _BREAKS.sub("-", base.strip())
    base = _VERSION.sub("", base) or base
    if base.startswith("claude-"):  # `claude-3-5-haiku` and `Claude Haiku 3.5`
        base = "-".join(sorted(base.split("-"), key=lambda part: (part != "claude", part.isdigit())))
    return f"{base}{colon}{variant}"


def keys_of_groups(bill: Iterable[str], groups: Iterable[tuple[str, str]]) -> Mapping[tuple[str, str], str]:
    """Which key each pair of (registry's name, provider's name) of the ledger goes by.

    The provider's name is the one on the provider's bill; a proxy's bill may have the registry's.
    """
    known = {key(name) for name in bill}
    found = {}
    for model, provider_model in groups:
        candidates = [key(name) for name in (provider_model, model) if name]
        found[model, provider_model] = next((one for one in candidates if one in known), candidates[0])
    return found
