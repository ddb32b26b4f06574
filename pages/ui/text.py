"""Words on the pages: what people typed, drawn as text and never as markup, and points in time as people say them."""

import re
from datetime import datetime
from typing import Final

from chatcore.db.tables import utcnow

_PUNCTUATION: Final = re.compile(r"([!-/:-@\[-`{-~])")
_STEPS: Final = ((60, "minute", 60), (3600, "hour", 24), (86_400, "day", 30))


def plain(text: str) -> str:
    """`text` for a place that reads markdown (labels, captions): every sign that could mean something is escaped."""
    return _PUNCTUATION.sub(r"\\\1", " ".join(text.split()))


def ago(moment: datetime | None, now: datetime | None = None) -> str:
    """`never`, `just now`, `5 minutes ago`, `3 days ago`, then the date (UTC)."""
    if moment is None:
        return "never"
    seconds = ((now or utcnow()) - moment).total_seconds()
    if seconds < 60:
        return "just now"
    for length, unit, limit in _STEPS:
        count = int(seconds // length)
        if count < limit:
            return f"{count} {unit}{'' if count == 1 else 's'} ago"
    return f"{moment:%-d %B %Y}"


def device(user_agent: str) -> str:
    """`Firefox on Windows` from a browser's User-Agent, as far as it tells."""
    if user_agent == "command line":
        return "Command line"
    browsers = (("Edg", "Edge"), ("OPR", "Opera"), ("Firefox", "Firefox"), ("Chrome", "Chrome"), ("Safari", "Safari"))
    systems = (
        ("iPhone", "iPhone"),
        ("iPad", "iPad"),
        ("Android", "Android"),
        ("Windows", "Windows"),
        ("Mac OS", "macOS"),
        ("CrOS", "ChromeOS"),
        ("Linux", "Linux"),
    )
    browser = next((name for mark, name in browsers if mark in user_agent), "")
    system = next((name for mark, name in systems if mark in user_agent), "")
    return f"{browser} on {system}" if browser and system else browser or system or "Another program"
