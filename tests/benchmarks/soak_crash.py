"""`kill -9` in mid-reply and a new start, again and again: `python -m tests.benchmarks.soak_crash`.

What was said half a second before the kill must be there afterwards, `interrupted`, billed, and Continue must work.
The provider's own timetable says which words those are.
"""

import argparse
import asyncio
import random
import secrets
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from chatcore.db.tables import Message, UsageMetric
from tests.benchmarks.running import table
from tests.benchmarks.streamlit_client import NUMBERED, Lost, Tab
from tests.hostile import Call, HostileProvider
from tests.serving import Server, Site, end, is_running

RATE: Final = 20.0  # words a second
FIRST: Final = 1.0  # seconds until the first word
MODELS: Final = {"words": f"ok;n=40;rate={RATE:g};first={FIRST:g}"}
MAY_LOSE: Final = 0.5  # seconds of a reply


@dataclass
class Crash:
    """One kill and what was found after the new start. Times are seconds; `lost`: of words sent and not kept."""

    after: float
    call: Call
    killed_at: float
    lost: float
    reply: Message
    ledger: list[UsageMetric]
    asked: bool
    worker_left: bool
    noted: bool
    continued: Message | None
    server: Server

    @property
    def kept(self) -> list[int]:
        """The numbered words of the stored reply."""
        return [int(number) for number in NUMBERED.findall(self.reply.content)]

    def faults(self) -> list[str]:
        """What is not as promised; empty where all is."""
        row = self.ledger[0] if len(self.ledger) == 1 else None
        said = bool(self.kept)
        checks = {
            "the question is not there": self.asked,
            f"the reply is {self.reply.status}": self.reply.status == "interrupted",
            f"{self.lost:.2f} s of words are lost": self.lost <= MAY_LOSE,
            f"words out of order: {self.kept}": self.kept == list(range(len(self.kept))),
            f"{len(self.ledger)} ledger rows": row is not None,
            "the ledger row is not settled as interrupted": row is not None and row.outcome == "interrupted",
            "tokens are not estimated": row is not None and row.usage_source == "estimated" and row.prompt_tokens > 0,
            "not all that was sent is billed": row is not None and row.prompt_tokens >= words_sent(self.call),
            "words are not billed": row is not None and (row.completion_tokens > 0) == said,
            "the cost is unknown": row is not None and row.cost_nano_usd is not None,
            "the gateway worker outlived its parent": not self.worker_left,
            "the provider's connection stayed open": self.call.ended is not None,
            "the page does not say that it was interrupted": self.noted,
            "Continue made no reply": self.continued is not None and self.continued.status == "complete",
        }
        return [fault for fault, fine in checks.items() if not fine]


def words_sent(call: Call) -> int:
    """The words in all messages of the call, system prompt included: an honest estimate of tokens is not below."""
    return sum(len(str(message["content"]).split()) for message in call.messages)


def lost_seconds(call: Call, kept: int, killed_at: float) -> float:
    """For how long before the kill the first word that is not kept had been sent; 0 where it had not."""
    if call.first_word_at is None or kept >= call.words:
        return 0.0
    return max(0.0, killed_at - (call.first_word_at + kept / RATE))


async def crash(site: Site, server: Server, provider: HostileProvider, cookie: str, after: float) -> Crash:
    """Ask, kill `after` seconds after the provider got the question, start again, look, and press Continue."""
    marker = secrets.token_hex(8)
    cookies = {"chatcore_session": cookie}
    tab = Tab(server.url, "/?model=words", cookies)
    await tab.open()
    await tab.ask(f"Tell me about {marker}, at some length please.")
    call = await asyncio.to_thread(_call, provider, marker)
    await asyncio.sleep(max(0.0, call.started + after - time.time()))
    killed_at = await asyncio.to_thread(server.kill)
    worker_left = not await asyncio.to_thread(_gone, server.workers)
    await tab.close()

    server = await asyncio.to_thread(site.start)
    reply = site.reply(marker)
    assert reply is not None, "the question or its reply is gone"
    kept = len(NUMBERED.findall(reply.content))
    ledger = site.ledger(reply.id)
    noted, continued = await _continue(site, server, cookies, reply, marker)
    lost = lost_seconds(call, kept, killed_at)
    return Crash(after, call, killed_at, lost, reply, ledger, True, worker_left, noted, continued, server)


async def _continue(
    site: Site, server: Server, cookies: dict[str, str], reply: Message, marker: str
) -> tuple[bool, Message | None]:
    """Whether the page says what happened, and the reply that pressing Continue made."""
    async with Tab(server.url, f"/?c={reply.conversation_id}", cookies) as tab:
        noted = any(text.startswith(":gray[Interrupted") for text in tab.texts())
        try:
            await tab.click(f"continue-{reply.id}")
            await tab.until(lambda: not tab.idle, timeout=5)
            await tab.until(lambda: tab.idle, timeout=30)
        except (LookupError, Lost):
            return noted, None
    newer = site.reply_below(reply.id) if reply.content else site.reply(marker)
    return noted, newer if newer is None or newer.id != reply.id else None


def _call(provider: HostileProvider, marker: str) -> Call:
    provider.wait_until(lambda log: any(marker in str(call.messages) for call in log), 20)
    return next(call for call in provider.log if marker in str(call.messages))


def _gone(pids: tuple[int, ...], within: float = 5.0) -> bool:
    deadline = time.monotonic() + within
    while any(map(is_running, pids)):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def row(number: int, crash: Crash) -> tuple[str, ...]:
    """A line of the table."""
    settled = crash.ledger[0]
    sent = 0 if crash.call.first_word_at is None else crash.call.words
    return (
        str(number),
        f"{crash.after:.2f} s",
        str(sent),
        str(len(crash.kept)),
        f"{crash.lost * 1000:.0f} ms",
        crash.reply.status,
        f"{settled.outcome} {settled.prompt_tokens}+{settled.completion_tokens} {settled.usage_source}",
        "-" if crash.continued is None else crash.continued.status,
        "; ".join(crash.faults()) or "none",
    )


async def soak(rounds: int, folder: Path) -> int:
    """Print the table; the number of rounds with a fault."""
    head = ("#", "killed after", "sent", "kept", "lost", "reply", "ledger", "Continue", "faults")
    rows, faulty, worst = [head], 0, 0.0
    with HostileProvider() as provider:
        site = Site(folder, provider.url, MODELS)
        cookie = site.person("ada")
        server = site.start()
        try:
            for number in range(1, rounds + 1):
                after = random.uniform(0.0, FIRST + 40 / RATE - 0.2)
                found = await crash(site, server, provider, cookie, after)
                server = found.server
                rows.append(row(number, found))
                print("  ".join(rows[-1]), file=sys.stderr, flush=True)
                faulty += bool(found.faults())
                worst = max(worst, found.lost)
        finally:
            end(server)
            site.close()
    print(table(rows))
    print(f"{rounds} kills, {faulty} with a fault; at most {worst * 1000:.0f} ms of a reply lost")
    return faulty


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.soak_crash", description=__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="chatcore-crash-") as temporary:
        sys.exit(1 if asyncio.run(soak(arguments.rounds, Path(temporary))) else 0)
