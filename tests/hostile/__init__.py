"""A hostile provider for the tests: real HTTP on loopback, OpenAI's chat completions, every way to go wrong.

In a test, in its own thread:

    with HostileProvider() as provider:
        reply = httpx.post(f"{provider.url}/chat/completions", json={"model": "cut;at=3", "messages": [...]})
        call = provider.log[-1]

As a process: `python -m tests.hostile --port 0 --log calls.jsonl` prints the base URL; `GET /log` gives the calls.
What a call does is said by the name of the model it asks for: see `tests/hostile/behaviours.py`.
"""

from tests.hostile.behaviours import BEHAVIOURS
from tests.hostile.provider import HostileProvider
from tests.hostile.server import Call

__all__ = ["BEHAVIOURS", "Call", "HostileProvider"]
