"""Where `bench_gateway` runs: one configuration for Chatcore and the LiteLLM proxy, and the proxy as a process."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from tests.benchmarks.running import free_port, wait_for

PROXY: Final = "litellm[proxy]==1.106.2"
PROXY_KEY: Final = "sk-bench-proxy"
PROVIDER_KEY: Final = "sk-bench"
FIRST: Final = 0.05  # seconds until the provider's first word
MODELS: Final = {
    "single": f"ok;n=5;rate=50;first={FIRST}",
    "together": f"ok;n=20;rate=50;first={FIRST}",
    "flow": "ok;n=200;rate=20",
}
DEAD: Final = {  # each followed by `single`
    "dead-refused": "ok",
    "dead-503": f"503;first={FIRST}",
    "dead-cut": "cut;at=0",
    "dead-hang": "hang",
}
GIVE_UP: Final = 0.5  # seconds that `dead-hang` has for its first word
# As litellm is set up in the worker; the proxy's own documentation asks for the third and the fourth.
LITELLM: Final = {
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "LITELLM_LOCAL_ANTHROPIC_BETA_HEADERS": "True",
    "LITELLM_MODE": "PRODUCTION",
    "LITELLM_LOG": "ERROR",
    "HF_HUB_OFFLINE": "1",
    "REPEATED_STREAMING_CHUNK_LIMIT": "1000000",
}


def words_of(model: str) -> int:
    """How many words a reply of one of `MODELS` has."""
    return int(MODELS[model].partition("n=")[2].partition(";")[0])


def environment() -> dict[str, str]:
    """Ours without any settings of Chatcore's or the proxy's, and past any HTTP proxy."""
    mine = ("CHATCORE_", "LITELLM_")
    return {k: v for k, v in os.environ.items() if not k.startswith(mine) and not k.lower().endswith("_proxy")}


def write_config(path: Path, provider: str) -> None:
    """The one file that both read: no retries, no cooling down, each dead model followed by a good one."""
    models = [_entry(name, behaviour, provider) for name, behaviour in (MODELS | DEAD).items()]
    own = {
        "ollama": False,
        "breaker_failures": 1000,
        "attempts": {"primary": {"tries": 1, "timeout": 30}, "fallback": {"tries": 1, "timeout": 30}},
    }
    router = {
        "num_retries": 0,
        "disable_cooldowns": True,
        "fallbacks": [{name: ["single"]} for name in DEAD],
    }
    settings = {
        "model_list": models,
        "router_settings": router,
        "litellm_settings": {"drop_params": True, "num_retries": 0},
        "general_settings": {"master_key": PROXY_KEY},
        "chatcore": own,
    }
    path.write_text(yaml.safe_dump(settings))


def _entry(name: str, behaviour: str, provider: str) -> dict[str, Any]:
    base = f"http://127.0.0.1:{free_port()}/v1" if name == "dead-refused" else provider
    patience = GIVE_UP if name == "dead-hang" else 30.0
    times = {"timeout": patience, "stream_timeout": patience}
    return {
        "model_name": name,
        "litellm_params": {"model": f"openai/{behaviour}", "api_base": base, "api_key": PROVIDER_KEY, **times},
        "model_info": {"input_cost_per_token": 1e-6, "output_cost_per_token": 2e-6, "max_input_tokens": 100_000},
    }


@dataclass(frozen=True)
class Proxy:
    """A running LiteLLM proxy. `url` ends in /v1."""

    url: str
    pid: int


@contextmanager
def proxy(venv: Path, folder: Path) -> Iterator[Proxy]:
    """The proxy over `config.yaml` in `folder`, one worker, no database; entered once it answers."""
    port, log = free_port(), folder / "proxy.log"
    command = [str(venv / "bin" / "litellm"), "--config", str(folder / "config.yaml"), "--telemetry", "False"]
    command += ["--host", "127.0.0.1", "--port", str(port)]
    with (
        log.open("w") as output,
        subprocess.Popen(
            command, cwd=folder, env=environment() | LITELLM, stdout=output, stderr=subprocess.STDOUT
        ) as process,
    ):
        try:
            wait_for(f"http://127.0.0.1:{port}/health/liveliness", process, log, 120)
            yield Proxy(f"http://127.0.0.1:{port}/v1", process.pid)
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()


def install(venv: Path) -> None:
    """Make the proxy's environment where it is not there yet; takes minutes. Raises `CalledProcessError`."""
    if (venv / "bin" / "litellm").exists():
        return
    print(f"installing {PROXY} into {venv}", flush=True)
    subprocess.run([sys.executable, "-m", "venv", venv], check=True)
    subprocess.run([venv / "bin" / "pip", "install", "-q", PROXY], check=True)
