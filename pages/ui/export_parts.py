"""Being written."""

from typing import Any


def draw_picker(*_: Any) -> None: ...


def draw(*_: Any) -> None: ...


def dialog(*_: Any) -> None: ...
