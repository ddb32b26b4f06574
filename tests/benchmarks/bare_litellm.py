"""Bare `litellm.acompletion` on the streams of `bench_load`, in one asyncio process; prints one line of JSON."""

import asyncio
import json
import os
import re
import sys
import time

os.environ |= {
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "LITELLM_MODE": "PRODUCTION",
    "LITELLM_LOG": "ERROR",
    "HF_HUB_OFFLINE": "1",
}

import litellm  # reads the environment while it is imported

from tests.benchmarks.running import Meter, calls
from tests.benchmarks.watch import spread

NUMBER = re.compile(r"\[(\d+)\]")


async def one(number: int, url: str, model: str, count: int, ramp: float) -> tuple[int, float, float, float, float]:
    """Number, when it was asked, first word, last word (times since 1970), and the largest gap."""
    await asyncio.sleep(ramp * number / count)
    asked, first, last, gap = time.time(), 0.0, 0.0, 0.0
    stream = await litellm.acompletion(
        model=f"openai/{model}",
        api_base=url,
        api_key="sk-bench",
        messages=[{"role": "user", "content": f"bare {number:04d}"}],
        stream=True,
        stream_options={"include_usage": True},
        max_retries=0,
    )
    async for chunk in stream:
        if chunk.choices and NUMBER.search(chunk.choices[0].delta.content or ""):
            now = time.time()
            gap = max(gap, now - last) if first else 0.0
            first, last = first or now, now
    return number, asked, first, last, gap


async def main(url: str, model: str, count: int, ramp: float) -> None:
    litellm.suppress_debug_info = True
    litellm.disable_streaming_logging = True
    litellm.disable_aiohttp_transport = True
    await one(0, url, "ok;n=3", 1, 0)
    meter = Meter(os.getpid())
    found = await asyncio.gather(*(one(number, url, model, count, ramp) for number in range(count)))
    meter.stop()
    log = [call for call in calls(url) if call["model"] == model]
    spoken = {int(str(call["messages"][-1]["content"]).split()[1]): call["first_word_at"] for call in log}
    result = {"cpu_page": meter.cpu()[0]}
    columns = {
        "first_behind_provider": [first - spoken[number] for number, _, first, _, _ in found],
        "first_after_enter": [first - asked for _, asked, first, _, _ in found],
        "last_after_enter": [last - asked for _, asked, _, last, _ in found],
        "largest_gap": [gap for *_, gap in found],
    }
    for name, values in columns.items():
        result[f"{name}_p50"], result[f"{name}_p95"] = spread(values, 50, 95)
    print(json.dumps(result))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4])))
