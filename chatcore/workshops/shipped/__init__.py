"""The playbooks that come with Chatcore, a file each. They are read and copied, never changed: an upgrade may bring
better ones."""

from pathlib import Path
from typing import Any, Final

import yaml

from chatcore.workshops.values import Content, Step


def _read(path: Path) -> Content:
    found: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    steps = tuple(
        Step(
            id=one["id"], title=one["title"], guidance=one["guidance"].strip(), system_prompt=one["prompt"].strip(),
            brings=tuple(one.get("brings", ())),
        )
        for one in found["steps"]
    )  # fmt: skip
    return Content(found["name"], found["description"], found["prompt"].strip(), steps)


SHIPPED: Final[dict[str, Content]] = {path.stem: _read(path) for path in sorted(Path(__file__).parent.glob("*.yaml"))}
"""By the ids that stand in place of a row's."""
