"""Finding a local Ollama: asked in the background, again every minute, never on the way to a page."""

import logging
import re
import threading
from collections.abc import Mapping
from typing import Final

from chatcore.gateway.catalog import Catalog, Model
from chatcore.gateway.prices import Prices

log = logging.getLogger(__name__)
_EVERY: Final = 60.0  # seconds


def base_url(environment: Mapping[str, str]) -> str:
    """Where Ollama would be: `OLLAMA_API_BASE` as litellm reads it, else `OLLAMA_HOST`, else its usual port."""
    value = environment.get("OLLAMA_API_BASE") or environment.get("OLLAMA_HOST") or "127.0.0.1"
    if "://" not in value:
        # A host alone means Ollama's usual port, as Ollama itself reads it.
        value = f"http://{value}" if re.search(r":\d+/*$", value) else f"http://{value.rstrip('/')}:11434"
    return value.rstrip("/").replace("0.0.0.0", "127.0.0.1")  # noqa: S104


def watch(catalog: Catalog, environment: Mapping[str, str], stopped: threading.Event) -> threading.Thread:
    """Keep the catalog's found models current until `stopped` is set."""
    url = base_url(environment)

    def loop() -> None:
        while not stopped.is_set():
            catalog.set_found(find(url))
            stopped.wait(_EVERY)

    thread = threading.Thread(target=loop, name="ollama", daemon=True)
    thread.start()
    return thread


def find(url: str) -> tuple[Model, ...]:
    """The models of the Ollama at `url`, none where nobody answers."""
    import httpx  # 80 ms that the first page need not wait for

    try:
        answer = httpx.get(f"{url}/api/tags", timeout=2.0, trust_env=False)
        answer.raise_for_status()
        names = [str(model["name"]) for model in answer.json()["models"]]
    except (httpx.HTTPError, httpx.InvalidURL, ValueError, KeyError, TypeError) as error:
        log.debug("no Ollama answers: %s", type(error).__name__)
        return ()
    return tuple(
        Model(
            name=f"ollama/{name}",
            display_name=f"{name} (Ollama)",
            provider="ollama",
            target=f"ollama_chat/{name}",
            prices=Prices("litellm", {"prompt": "0", "completion": "0"}),
            arguments={"api_base": url},
            deployment=f"ollama/{name}#1",
        )
        for name in names
    )
