"""Summaries, metadata and parts as pages and turns rely on them: what a file may bring, and the ids inside them."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from chatcore.conversations.attachments import Attachment
from chatcore.conversations.exchange.values import integer, sequence, source_id, text

MOST_COST: Final = 10**13  # nano-USD: 10,000 USD, so that the sum of many still fits into a column
_LONGEST_SUMMARY: Final = 20_000
_LONGEST_FACT: Final = 40
_FACTS: Final = ("imported", "outcome", "usage_source")
_MOST_COMPARED: Final = 4


def summary(raw: Mapping[str, Any]) -> dict[str, Any] | None:
    """What a kept summary may hold: pages and later summaries rely on the types."""
    if not text(raw.get("text")):
        return None
    kept: dict[str, Any] = {
        name: text(raw[name])[:300] for name in ("up_to", "model", "created_at") if isinstance(raw.get(name), str)
    }
    if isinstance(raw.get("edited"), bool):
        kept["edited"] = raw["edited"]
    if (cost := integer(raw.get("cost_nano_usd"), MOST_COST)) is not None:
        kept["cost_nano_usd"] = cost
    return {"text": text(raw.get("text"))[:_LONGEST_SUMMARY], **kept}


def metadata(raw: Mapping[str, Any]) -> dict[str, Any]:
    """What is known of a message: pages and turns rely on the types."""
    kept: dict[str, Any] = {name: text(raw.get(name))[:_LONGEST_FACT] for name in _FACTS if text(raw.get(name))}
    if (trimmed := integer(raw.get("trimmed"))) is not None:
        kept["trimmed"] = trimmed
    if (picked := source_id(raw.get("picked"))) is not None:
        kept["picked"] = picked
    compared = [known for one in sequence(raw.get("compare")) if (known := source_id(one)) is not None]
    return kept | ({"compare": compared[:_MOST_COMPARED]} if compared else {})


def parts_with(parts: Iterable[Mapping[str, Any]], files: Mapping[str, str]) -> list[dict[str, Any]]:
    """The parts with other ids of attachments; what is not in `files` can be opened by nobody."""
    return [
        {**part, "attachment_id": files.get(part["attachment_id"], "")} if "attachment_id" in part else dict(part)
        for part in parts
    ]


def summary_with(summary: Mapping[str, Any] | None, messages: Mapping[str, str]) -> dict[str, Any] | None:
    """A conversation's summary with other ids of messages."""
    if summary is None or "up_to" not in summary:
        return None if summary is None else dict(summary)
    return {**summary, "up_to": messages.get(summary["up_to"], "")}


def metadata_with(metadata: Mapping[str, Any], messages: Mapping[str, str]) -> dict[str, Any]:
    """A message's metadata with other ids of messages; those that are not there are left out."""
    found = dict(metadata)
    compared = dict.fromkeys(messages[one] for one in found.pop("compare", ()) if one in messages)
    picked = messages.get(found.pop("picked", ""))
    found |= {"compare": list(compared)} if compared else {}
    return found | ({"picked": picked} if picked else {})


def part_of(file: Attachment) -> dict[str, Any]:
    """The part that shows a file of a message."""
    known = {name: value for name, value in file.details.items() if isinstance(value, int)}
    common = {"attachment_id": file.id, "name": file.name, "media_type": file.media_type, "size": file.size}
    if file.kind in ("image", "audio", "video"):
        return {"type": "media", "media": file.kind, **common, **_some(known, "width", "height")}
    return {"type": "file", "kind": file.kind, **common, **_some(known, "pages", "characters")}


def _some(values: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: values[name] for name in names if name in values}
