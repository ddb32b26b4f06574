"""The commands of the usage page's numbers: `rollups rebuild`, `rollups check`, `demo-data`."""

import time
from argparse import Namespace
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from chatcore.commands.shell import say, shell, show, when

if TYPE_CHECKING:
    from chatcore.usage.rollup_jobs import Progress

_EVERY: Final = 2.0  # seconds between two lines of progress
_SHOWN: Final = 50  # differences


def rebuild(chosen: Namespace) -> None:
    """Count anew, with a line of progress every two seconds."""
    from chatcore.usage.rollup_jobs import RollupJobs

    with shell() as core:
        tenant_id = core.console.operator(chosen.tenant).tenant_id if chosen.tenant else None
        days = RollupJobs(core.db).rebuild(tenant_id, chosen.since, _progress("Counting"), afresh=chosen.afresh)
    say(f"{days:,} days are counted anew.")


def check(chosen: Namespace) -> int:
    """Compare with the ledger."""
    from chatcore.usage.rollup_jobs import RollupJobs

    with shell() as core:
        tenant_id = core.console.operator(chosen.tenant).tenant_id if chosen.tenant else None
        found = RollupJobs(core.db).check(tenant_id, _progress("Comparing"))
    if not found:
        say("The rollups say what the ledger says.")
        return 0
    rows = [
        (one.tenant, when(one.day), one.kind, one.key, one.measure, f"{one.ledger:,}", f"{one.rollup:,}")
        for one in found[:_SHOWN]
    ]
    show(("TENANT", "FROM", "ROLLUP", "OF", "MEASURE", "LEDGER", "ROLLUP HAS"), rows)
    say(f"{len(found):,} numbers differ. `rollups rebuild` counts them anew.")
    return 1


def demo_data(chosen: Namespace) -> None:
    """Make or remove made-up calls."""
    from chatcore.usage import demo_data as demo

    with shell() as core:
        tenant_id = core.console.operator(chosen.tenant).tenant_id
        if chosen.remove:
            removed = demo.remove(core.db, tenant_id if chosen.tenant else None)
            core.console.note("demo.remove", chosen.tenant, calls=removed)
            say(f"Removed {removed:,} made-up calls.")
            return
        made = demo.make(
            core.db, tenant_id, chosen.days, chosen.rows, people=chosen.people, models=chosen.models,
            on_progress=_written(),
        )  # fmt: skip
        core.console.note("demo.make", chosen.tenant, calls=made.calls, people=made.people)
    say(f"Made {made.calls:,} calls of {made.people} made-up people. Take them away again: demo-data --remove")


def _progress(doing: str) -> "Callable[[Progress], None]":
    last = time.monotonic()

    def tell(progress: "Progress") -> None:
        nonlocal last
        if progress.resumed:
            day = f"{progress.day:%Y-%m-%d}"
            say(f"{progress.tenant}: going on from {day}, where it was broken off; --afresh counts all days again.")
        if time.monotonic() - last >= _EVERY:
            last = time.monotonic()
            say(f"{doing}: {progress.tenant}, {progress.day:%Y-%m-%d} of {progress.until:%Y-%m-%d}")

    return tell


def _written() -> Callable[[int, int], None]:
    began = last = time.monotonic()

    def tell(done: int, of: int) -> None:
        nonlocal last
        if done < of and time.monotonic() - last >= _EVERY:
            last = time.monotonic()
            say(f"{done:,} of {of:,} calls after {last - began:.0f} s")

    return tell
