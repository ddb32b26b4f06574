"""Names that stand for models: `fast`, `balanced`, `powerful`, `reasoning`, `auto`, and the proxy's group aliases."""

import logging
from collections.abc import Iterable, Mapping
from typing import Final, get_args

from chatcore.config_file import ConfigFile, Purpose
from chatcore.errors import ConfigError

log = logging.getLogger(__name__)

AUTO: Final = "auto"
PURPOSES: Final[tuple[Purpose, ...]] = get_args(Purpose)
DESCRIPTIONS: Final[Mapping[str, str]] = {
    "auto": "Chooses by the question: short ones go to a fast model, hard ones to a powerful one",
    "fast": "Quick answers to simple questions",
    "balanced": "For everyday work",
    "powerful": "For the hardest questions",
    "reasoning": "Thinks before it answers",
}
# What the demo models are good for, where nothing else is configured.
_DEMO: Final[Mapping[Purpose, str]] = {
    "fast": "demo/quick",
    "balanced": "demo/assistant",
    "reasoning": "demo/thinker",
}
_OUTSIDE: Final = ("ollama/", "demo/")  # found or shown only under conditions: naming one of them is no mistake


def targets(file: ConfigFile, models: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Every alias and the names of the models it may stand for. `auto` is there for two purposes and more."""
    known = list(models)
    purposes: Mapping[Purpose, str] = file.chatcore.aliases
    if not purposes and known and all(name.startswith("demo/") for name in known):
        purposes = _DEMO
    found: dict[str, tuple[str, ...]] = {}
    if len(purposes) > 1:
        found[AUTO] = tuple(purposes[one] for one in PURPOSES if one in purposes)
    found |= {one: (purposes[one],) for one in PURPOSES if one in purposes}
    found |= {name: (target,) for name, target in file.router_settings.model_group_alias.items()}
    return {name: names for name, names in found.items() if name not in known}


def title(name: str, model: str) -> str:
    """How an alias is shown: `Fast · Claude Haiku`; `Auto` alone, as what it stands for changes."""
    return name.capitalize() if name == AUTO else f"{name.capitalize()} · {model}"


def check(file: ConfigFile, models: set[str]) -> None:
    """Raises `ConfigError` for an alias or a default model that is not there; warns of a fallback that is not."""
    router, own = file.router_settings, file.chatcore
    known = models | targets(file, models).keys()
    for setting, name, among in [
        ("chatcore.default_model", own.default_model, known),
        *((f"chatcore.aliases.{one}", name, models) for one, name in own.aliases.items()),
        *(("router_settings.model_group_alias", name, models) for name in router.model_group_alias.values()),
    ]:
        if name and name not in among and not name.startswith(_OUTSIDE):
            raise ConfigError(f"{setting} names {name}, which is not in model_list.")
    kinds = ("fallbacks", "context_window_fallbacks", "content_policy_fallbacks")
    named = [*router.default_fallbacks, *(n for kind in kinds for entry in getattr(router, kind) for n in _all(entry))]
    for name in sorted({name for name in named if name not in known and not name.startswith(_OUTSIDE)}):
        log.warning("router_settings has a fallback to or from %s, which is not in model_list", name)


def _all(entry: Mapping[str, list[str]]) -> Iterable[str]:
    return [name for model, names in entry.items() for name in (model, *names) if name != "*"]
