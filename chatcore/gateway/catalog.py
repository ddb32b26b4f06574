"""The registry of models: what the configuration lists, what is known of each, and whether it can be called now."""

import importlib.util
import json
import logging
import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from chatcore.config import Settings
from chatcore.config_file import Access, ModelEntry, resolved
from chatcore.errors import ModelUnavailable
from chatcore.gateway import aliases
from chatcore.gateway.demo import DEMO_MODELS, DemoModel
from chatcore.gateway.prices import PRICE_FIELDS, Prices, prices_from

log = logging.getLogger(__name__)

# The variable each provider's key is read from, as litellm documents them. A provider that is not listed here
# (a cloud's own credentials, a local server) is taken to be available.
KEY_VARIABLES: Final[Mapping[str, tuple[str, ...]]] = {
    "openai": ("OPENAI_API_KEY",),
    "anthropic": ("ANTHROPIC_API_KEY",),
    "gemini": ("GEMINI_API_KEY", "GOOGLE_API_KEY"),
    "xai": ("XAI_API_KEY",),
    "groq": ("GROQ_API_KEY",),
    "openrouter": ("OPENROUTER_API_KEY",),
    "mistral": ("MISTRAL_API_KEY",),
    "deepseek": ("DEEPSEEK_API_KEY",),
    "cohere": ("COHERE_API_KEY",),
    "cohere_chat": ("COHERE_API_KEY",),
    "together_ai": ("TOGETHERAI_API_KEY", "TOGETHER_API_KEY"),
    "perplexity": ("PERPLEXITYAI_API_KEY", "PERPLEXITY_API_KEY"),
    "fireworks_ai": ("FIREWORKS_API_KEY", "FIREWORKS_AI_API_KEY"),
    "cerebras": ("CEREBRAS_API_KEY",),
    "azure": ("AZURE_API_KEY",),
    "huggingface": ("HUGGINGFACE_API_KEY", "HF_TOKEN"),
    "nvidia_nim": ("NVIDIA_NIM_API_KEY",),
    "replicate": ("REPLICATE_API_KEY", "REPLICATE_API_TOKEN"),
}
_UNPREFIXED: Final = {"gpt": "openai", "chatgpt": "openai", "o": "openai", "claude": "anthropic"}
# Keys of litellm_params that steer the proxy or the registry and are not arguments of a call.
_NOT_ARGUMENTS: Final = frozenset(
    {"model", "api_key", "rpm", "tpm", "weight", "order", "tags", "max_budget", "budget_duration", "timeout",
     "stream_timeout", "max_retries", "num_retries", "cooldown_time", "use_in_pass_through", "litellm_credential_name"}
)  # fmt: skip
# What each call says for itself: given here too, it would break the call or lose its words or its count.
_RESERVED: Final = frozenset({"stream", "messages", "stream_options", "mock_response", "n", "logger_fn"})


@dataclass(frozen=True)
class Model:
    """One deployment of a model. `name` is the registry's name; `target` is what litellm is asked for.

    `vision`, `audio`: whether it takes pictures and sound in a question.
    `missing`: what must be set before it can be called (`A`, or `A or B` where either will do), empty when it can;
    `needs_key`: a provider's key is all of it.
    `arguments`: more arguments of the call, secrets included, so they stay out of the repr. Times are seconds; without
    a `first_word_timeout` or `tries` of its own, those of the part it plays in a request hold.
    `deployment`: tells entries of one name apart; `order` (lowest first) and `weight` say how calls are spread.
    `alias_of`: for an alias, the names of the models it stands for. `server`: where the environment sends the calls of
    this provider, '' for the provider's own address. `embeds`: it makes vectors of texts (`model_info.mode` is
    `embedding`), and does not chat.
    """

    name: str
    display_name: str
    provider: str
    target: str
    prices: Prices
    description: str = ""
    context_window: int | None = None
    max_output_tokens: int | None = None
    vision: bool = False
    audio: bool = False
    tools: bool = False
    reasoning: bool = False
    demo: bool = False
    missing: tuple[str, ...] = ()
    needs_key: bool = False
    first_word_timeout: float | None = None
    between_words_timeout: float = 45.0
    arguments: Mapping[str, Any] = field(default_factory=dict, repr=False)
    deployment: str = ""
    order: int = 0
    weight: float = 1.0
    tries: int | None = None
    access: Access = field(default_factory=Access)
    alias_of: tuple[str, ...] = ()
    server: str = ""
    embeds: bool = False

    @property
    def available(self) -> bool:
        """Whether a call can be tried."""
        return not self.missing

    @property
    def key_slot(self) -> str:
        """Under which name a key for it is kept: its provider; with the server, where that is not the provider's own.

        A key must never be sent to somebody else's server because it speaks the same protocol.
        """
        address = self.arguments.get("api_base") or self.arguments.get("base_url") or self.server
        server = urlsplit(str(address or "")).netloc.rpartition("@")[2]
        return f"{self.provider}@{server}" if server else self.provider

    @property
    def why_not(self) -> str:
        """A sentence that says what is missing, empty when it is available."""
        return f"Set {' and '.join(self.missing)} to use {self.display_name}." if self.missing else ""


class Catalog:
    """The models in the order of the configuration; the demo models after them, a local Ollama's last.

    Raises `ConfigError` when the default model or an alias names a model that is not among them; a fallback that does
    is left out with a warning.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._found: tuple[Model, ...] = ()
        groups: dict[str, list[Model]] = {}
        for entry in settings.file.model_list:
            group = groups.setdefault(entry.model_name, [])
            group.append(_configured(entry, settings, f"{entry.model_name}#{len(group) + 1}"))
        show_demo = settings.own.demo_models
        if show_demo == "auto":
            show_demo = not any(model.available for group in groups.values() for model in group)
        if show_demo:
            groups |= {demo.name: [_demo(demo)] for demo in DEMO_MODELS}
        self._groups = groups
        self._targets = aliases.targets(settings.file, list(groups))
        aliases.check(settings.file, set(groups))

    def models(self) -> list[Model]:
        """Every model, available or not: of several deployments the first that can be called."""
        with self._lock:
            found = [model for model in self._found if model.name not in self._groups]
        return [*(_first(group) for group in self._groups.values()), *found]

    def aliases(self) -> list[Model]:
        """The aliases that stand for a model, drawn like it; `auto` is available when any of its models is."""
        return [self._alias(name, names) for name, names in self._targets.items()]

    def deployments(self, name: str) -> tuple[Model, ...]:
        """Every entry called `name`, those that cannot be called now included."""
        found = self._groups.get(name)
        return tuple(found) if found else tuple(model for model in self.models() if model.name == name)

    def get(self, name: str) -> Model:
        """The model or alias called `name`. Raises `ModelUnavailable` when there is none or its key is missing."""
        model = self.find(name)
        if model is None:
            raise ModelUnavailable("This model is no longer in the configuration. Choose another one.")
        if not model.available:
            raise ModelUnavailable(model.why_not)
        return model

    def find(self, name: str | None) -> Model | None:
        """The model or alias called `name`, available or not, or None."""
        known = self.models()
        found = next((model for model in known if model.name == name), None)
        if found is None and name in self._targets:
            return self._alias(name, self._targets[name])
        return found

    @property
    def default(self) -> Model | None:
        """`chatcore.default_model`, else the first that is available, else None."""
        wanted = self.find(self._settings.own.default_model)
        if wanted and wanted.available:
            return wanted
        return next((model for model in self.models() if model.available), None)

    def set_found(self, models: tuple[Model, ...]) -> None:
        """Replace what discovery found (a local Ollama's models)."""
        with self._lock:
            self._found = models

    def _alias(self, name: str, names: tuple[str, ...]) -> Model:
        models = [model for model in self.models() if model.name in names]
        usable = [model for model in models if model.available] or models
        if not usable:
            return Model(name, name, "unknown", "", Prices(), missing=("a model behind this alias",), alias_of=names)
        return replace(
            usable[0],
            name=name,
            display_name=aliases.title(name, usable[0].display_name),
            description=aliases.DESCRIPTIONS.get(name, usable[0].description),
            vision=any(model.vision for model in usable),
            audio=any(model.audio for model in usable),
            alias_of=names,
        )


def _first(group: list[Model]) -> Model:
    return next((model for model in group if model.available), group[0])


def provider_of(target: str) -> str:
    """The provider in a litellm model string: `gemini/…` → gemini, `gpt-5` → openai."""
    if "/" in target:
        return target.split("/", 1)[0]
    family = re.match(r"[a-z]+", target.lower())
    return _UNPREFIXED.get(family[0], family[0]) if family else "unknown"


def _configured(entry: ModelEntry, settings: Settings, deployment: str) -> Model:
    params, facts = entry.litellm_params, entry.model_info
    extra = dict(params.model_extra or {})
    provider = str(extra.get("custom_llm_provider") or provider_of(params.model))
    table = _table_entry(params.model, provider)
    secret_arguments, missing, needs_key = _arguments(entry, provider, settings.environment)
    if reserved := sorted(_RESERVED & extra.keys()):
        log.warning("litellm_params of %s: left out, as it is not for a file: %s", deployment, ", ".join(reserved))
    known = {**table, **{k: v for k, v in facts.model_dump().items() if v is not None}, **(facts.model_extra or {})}
    own = settings.own
    return Model(
        name=entry.model_name,
        display_name=facts.display_name or entry.model_name,
        provider=provider,
        target=params.model,
        prices=_prices(entry, table),
        description=facts.description or "",
        context_window=known.get("max_input_tokens"),
        max_output_tokens=known.get("max_output_tokens"),
        vision=bool(known.get("supports_vision")),
        audio=bool(known.get("supports_audio_input")),
        tools=bool(known.get("supports_function_calling")),
        reasoning=bool(known.get("supports_reasoning")),
        missing=missing,
        needs_key=needs_key,
        first_word_timeout=facts.first_word_timeout
        or params.stream_timeout
        or params.timeout
        or own.first_word_timeout
        or settings.file.router_settings.timeout,
        between_words_timeout=facts.between_words_timeout or own.between_words_timeout,
        arguments=secret_arguments,
        deployment=deployment,
        order=params.order,
        weight=params.weight,
        tries=None if params.num_retries is None else params.num_retries + 1,
        access=facts.access,
        server=_server(provider, settings.environment),
        embeds=known.get("mode") == "embedding",
    )


def _server(provider: str, env: Mapping[str, str]) -> str:
    """litellm reads these by itself where a call says nothing."""
    names = (f"{provider.upper()}_API_BASE", f"{provider.upper()}_BASE_URL")
    return next((env[name] for name in names if env.get(name)), "")


def _prices(entry: ModelEntry, table: Mapping[str, Any]) -> Prices:
    """Each price from `model_info`, else `litellm_params`, else litellm's table."""
    info = {name: value for name, value in entry.model_info.model_dump().items() if value is not None}
    given = entry.litellm_params.model_dump() | info
    written = {name: value for name, value in given.items() if name.partition("_above_")[0] in PRICE_FIELDS}
    if all(value is None for value in written.values()):
        return prices_from(table, "litellm") or Prices()
    listed = {name: value for name, value in table.items() if name in PRICE_FIELDS}
    return prices_from(listed | {k: v for k, v in written.items() if v is not None}, "config") or Prices()


def _arguments(
    entry: ModelEntry, provider: str, env: Mapping[str, str]
) -> tuple[dict[str, Any], tuple[str, ...], bool]:
    """The call's further arguments with `os.environ/NAME` resolved, the variables that are missing, and whether a
    key is all that is."""
    given = entry.litellm_params.model_dump(exclude_none=True)
    missing: list[str] = []
    keys: list[str] = []
    arguments: dict[str, Any] = {}
    for name, value in given.items():
        value, absent = resolved(value, env)
        (keys if name == "api_key" else missing).extend(absent)
        if absent:
            continue
        if (name not in _NOT_ARGUMENTS | _RESERVED or name == "api_key") and "cost_per_" not in name:
            arguments[name] = value
    variables = KEY_VARIABLES.get(provider, ())
    if "api_key" not in given and variables and not any(env.get(name) for name in variables):
        if "api_base" in arguments:
            arguments["api_key"] = "not-needed"  # a server of one's own; the client library insists on some key
        else:
            keys.append(" or ".join(variables))
    return arguments, (*missing, *keys), bool(keys) and not missing


def _demo(demo: DemoModel) -> Model:
    unit = {"prompt": demo.input_usd_per_token, "completion": demo.output_usd_per_token}
    return Model(
        name=demo.name,
        display_name=demo.display_name,
        provider="demo",
        target=f"chatcore-demo/{demo.name.removeprefix('demo/')}",
        prices=Prices("demo", unit),
        description=demo.description,
        context_window=demo.context_window,
        vision=demo.supports_vision,
        reasoning=demo.supports_reasoning,
        tools=True,
        demo=True,
        deployment=f"{demo.name}#1",
    )


def _table_entry(target: str, provider: str) -> Mapping[str, Any]:
    """What litellm's table says of the model, if it is that provider's: another one has prices of its own."""
    table = _litellm_table()
    if target in table:
        return table[target]
    found = table.get(target.split("/", 1)[-1], {})
    return found if found.get("litellm_provider") == provider else {}


@cache
def _litellm_table() -> Mapping[str, Mapping[str, Any]]:
    """litellm's table of prices and windows, read from its file: importing litellm takes seconds and 100 MB."""
    spec = importlib.util.find_spec("litellm")
    if spec is None or spec.origin is None:
        return {}
    path = Path(spec.origin).with_name("model_prices_and_context_window_backup.json")
    table: dict[str, dict[str, Any]] = json.loads(path.read_bytes(), parse_float=Decimal)
    return table
