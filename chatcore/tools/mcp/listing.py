"""A server's list of tools, as far as it can be used. What a server says of itself is checked, and never believed."""

import hashlib
import json
import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any, Final

import jsonschema

from chatcore.conversations.text import clean
from chatcore.tools.mcp.values import MAX_DESCRIPTION, MAX_SCHEMA, MAX_TOOLS, RemoteTool

_LONGEST_NAME: Final = 64  # what providers take
_OWN_NAME: Final = 200  # characters that a server's own name of a tool may have


def usable(server: str, listed: Iterable[Any], taken: Collection[str]) -> tuple[list[RemoteTool], int]:
    """The tools that can be used, and how many cannot. `listed`: the SDK's. `taken`: names that models know already."""
    found: list[RemoteTool] = []
    names, seen, kept_out = set(taken), set[str](), 0
    for number, one in enumerate(listed):
        name = str(one.name)
        schema = _schema(one.input_schema)
        if number >= MAX_TOOLS or schema is None or name in seen or not _is_name(name):
            kept_out += 1
            continue
        seen.add(name)
        shown = _shown(server, name, names)
        names.add(shown)
        hints = one.annotations
        title = clean(str(one.title or (hints.title if hints else None) or name))[:100]
        description = clean(str(one.description or ""))[:MAX_DESCRIPTION]
        read_only = bool(hints and hints.read_only_hint)
        found.append(RemoteTool(server, name, shown, title, description, schema, read_only))
    return found, kept_out


def _is_name(name: str) -> bool:
    return 0 < len(name) <= _OWN_NAME and name.isprintable()


def _shown(server: str, name: str, taken: Collection[str]) -> str:
    """`server__tool` in the letters that providers take; with a piece of a hash where that is not the only one."""
    plain = re.sub(r"[^A-Za-z0-9_-]+", "_", f"{server}__{name}")
    if len(plain) <= _LONGEST_NAME and plain not in taken:
        return plain
    mark = hashlib.sha256(f"{server}\0{name}".encode()).hexdigest()[:8]
    return f"{plain[: _LONGEST_NAME - 9]}_{mark}"


def _schema(found: Any) -> Mapping[str, Any] | None:
    """The schema of an object, where it is one that arguments can be checked by."""
    if not isinstance(found, dict) or found.get("type", "object") != "object":
        return None
    try:
        if len(json.dumps(found)) > MAX_SCHEMA or _refers_away(found):
            return None
        jsonschema.validators.validator_for(found).check_schema(found)
    except (ValueError, RecursionError, jsonschema.SchemaError):
        return None
    return {"properties": {}, **found, "type": "object"}


def _refers_away(found: Any) -> bool:
    """Whether it refers to what is not in it, or has a pattern: matching one can take for ever."""
    if isinstance(found, dict):
        for name, inner in found.items():
            away = name in ("$ref", "$dynamicRef", "$recursiveRef") and not str(inner).startswith("#")
            if away or (name == "pattern" and isinstance(inner, str)) or name in ("$id", "patternProperties"):
                return True
            if _refers_away(inner):
                return True
        return False
    return isinstance(found, list) and any(_refers_away(one) for one in found)
