"""Whether the rollups say what the ledger says, row by row and measure by measure."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Row
from sqlalchemy.orm import Session

from chatcore.usage.rollup_sql import Part
from chatcore.usage.rollup_sums import keys_of

_NO_KEY: Final = ("tenant_id", "level", "start")


@dataclass(frozen=True)
class Difference:
    """A number that a rollup should hold and does not.

    `day`: the first moment of the day or month (UTC); `kind`: which rollup; `key`: which of its rows; `ledger`: the
    number as counted anew; `rollup`: as it stands there. Units as in `db.tables.Measures`.
    """

    tenant: str
    day: datetime
    kind: str
    key: str
    measure: str
    ledger: int
    rollup: int


def differences(session: Session, part: Part, tenant: str, chosen: dict[str, Any]) -> Iterator[Difference]:
    """Of one part of a day or month; `chosen`: the parameters of `rollup_sql`. Rows of nothing but 0 are none."""
    keys = len(keys_of(part.table))
    names = part.names[keys:]
    counted = _by_key(session.execute(part.query, chosen).all(), keys)
    stored = _by_key(session.execute(part.held, chosen).all(), keys)
    none = (0,) * len(names)
    for key in sorted(counted.keys() | stored.keys()):
        true, held = counted.get(key, none), stored.get(key, none)
        words = " ".join(
            str(value)
            for name, value in zip(part.names[:keys], key, strict=True)
            if name not in _NO_KEY and value not in ("", part.name)
        )
        for name, one, other in zip(names, true, held, strict=True):
            if one != other:
                yield Difference(tenant, chosen["begin"], part.name, words, name, one, other)


def _by_key(rows: Any, keys: int) -> dict[tuple[Any, ...], tuple[int, ...]]:
    found: list[Row[Any]] = list(rows)
    return {tuple(row[:keys]): tuple(map(int, row[keys:])) for row in found if any(row[keys:])}
