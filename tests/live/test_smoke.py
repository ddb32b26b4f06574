"""One real call through the gateway, for whoever asks for it; no other test reaches beyond this machine.

    CHATCORE_TEST_LIVE_MODEL=openai/gpt-5.4-mini OPENAI_API_KEY=… pytest tests/live

The model is named as litellm names it. It is asked for one word, which costs a fraction of a cent.
"""

import asyncio
import os
from pathlib import Path

import pytest

from chatcore.config import load_settings
from chatcore.config_file import ConfigFile
from chatcore.gateway import AttemptResult, CompletionRequest, Gateway, Model
from chatcore.ids import new_id

LIVE_MODEL = os.environ.get("CHATCORE_TEST_LIVE_MODEL", "")

pytestmark = pytest.mark.skipif(not LIVE_MODEL, reason="opt-in: set CHATCORE_TEST_LIVE_MODEL and its provider's key")


@pytest.fixture
def gateway(tmp_path: Path) -> Gateway:
    config = tmp_path / "config.yaml"
    entry = {"model_name": "live", "litellm_params": {"model": LIVE_MODEL}}
    config.write_text(ConfigFile(model_list=[entry], chatcore={"ollama": False}).model_dump_json(exclude_none=True))
    environ = {name: value for name, value in os.environ.items() if not name.startswith("CHATCORE_")}
    places = {"CHATCORE_CONFIG": str(config), "CHATCORE_DATA_DIR": str(tmp_path / "data")}
    return Gateway(load_settings(environ | places, root=tmp_path))


async def ask(gateway: Gateway, model: Model, question: str) -> tuple[str, AttemptResult]:
    await gateway.start()
    try:
        async with asyncio.timeout(60):
            while not gateway.warm:
                await asyncio.sleep(0.05)
        messages = [{"role": "user", "content": question}]
        attempt = gateway.attempt(CompletionRequest(model, messages, new_id("trace"), max_tokens=2000))
        words = [delta.text async for batch in attempt for delta in batch if delta.kind == "text"]
        return "".join(words), attempt.result
    finally:
        await gateway.close()


def test_a_real_model_answers_with_words_tokens_and_cost(gateway: Gateway) -> None:
    model = gateway.catalog.find("live")
    assert model is not None
    if not model.available:
        pytest.skip(model.why_not)
    text, result = asyncio.run(ask(gateway, model, "Answer with the single word pong."))
    assert result.outcome == "ok", result.error
    assert "pong" in text.lower()
    assert result.usage.source == "provider"
    assert result.usage.prompt > 0
    assert result.usage.completion > 0
    assert result.ttft_ms is not None
    assert result.ttft_ms <= result.latency_ms
    if model.prices.source != "none":
        assert result.cost_nano_usd is not None
        assert result.cost_nano_usd >= 0
