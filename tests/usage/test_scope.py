"""What may be asked for: values that no database chokes on, and no more of them than a statement takes."""

from dataclasses import replace
from typing import Any

import pytest

from chatcore.db import Database
from chatcore.errors import InvalidInput
from chatcore.usage import Filter, Usage
from tests.usage.test_queries import ALL, BOB_ADMIN, call, put

KINDS = ("models", "user_ids", "purposes", "providers", "agents", "tiers", "teams")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("values", [("a\0",), ("\0",), ("\ud800",), ("fine", "x" * 501), ("x",) * 5_001])
def test_what_cannot_be_asked_for_is_refused(kind: str, values: tuple[str, ...]) -> None:
    with pytest.raises(InvalidInput, match=r"\.$|choose fewer"):
        replace(ALL, **{kind: values})


def test_the_values_of_all_kinds_count_together() -> None:
    with pytest.raises(InvalidInput, match="5,000"):
        replace(ALL, models=("x",) * 2_500, teams=("y",) * 2_501)


@pytest.mark.parametrize("kind", ["models", "user_ids", "agents", "teams"])
def test_as_many_as_are_allowed_are_answered(any_database: Database, kind: str) -> None:
    """Also where a statement asks for each of them several times."""
    put(any_database, call())
    usage, chosen = Usage(any_database), filled(kind)
    assert usage.totals(BOB_ADMIN, chosen).calls == 0
    assert usage.series(BOB_ADMIN, chosen, "model").empty
    assert usage.breakdown(BOB_ADMIN, chosen, "user").empty
    assert usage.percentiles(BOB_ADMIN, chosen).empty
    assert usage.adoption_summary(BOB_ADMIN, chosen)
    assert usage.report(BOB_ADMIN, chosen).totals.calls == 0
    usage.adoption(BOB_ADMIN, chosen)
    usage.refusals(BOB_ADMIN, chosen)
    assert list(usage.export_csv(BOB_ADMIN, chosen))[1:] == []


def filled(kind: str) -> Filter:
    """All that fit, of values that nothing has: letters of other alphabets, quotes, wildcards."""
    values: dict[str, Any] = {kind: tuple(f"%_'\"ж☃{number}" for number in range(5_000))}
    return replace(ALL, **values)
