"""Numbers as files: the ledger's rows, and the tables that a page shows, as CSV and as Parquet.

Made in pieces, so that a file of any length takes the memory of one piece.
"""

import io
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from chatcore.accounts.principal import Principal
from chatcore.sheets import csv_text
from chatcore.usage.rows import Read, pages
from chatcore.usage.scope import Filter

if TYPE_CHECKING:
    import pyarrow as pa
    from pandas import DataFrame

_GROUP_ROWS: Final = 50_000
_TEXT, _NUMBER, _FLAG, _TIME = "text", "number", "flag", "time"
COLUMNS: Final = {
    "id": _TEXT, "created_at": _TIME, "tenant_id": _TEXT, "user_id": _TEXT, "username": _TEXT,
    "conversation_id": _TEXT, "message_id": _TEXT, "turn_id": _TEXT, "attempt": _NUMBER, "purpose": _TEXT,
    "provider": _TEXT, "model": _TEXT, "provider_model": _TEXT, "agent_id": _TEXT, "outcome": _TEXT,
    "error_type": _TEXT, "prompt_tokens": _NUMBER, "cached_tokens": _NUMBER, "cache_write_tokens": _NUMBER,
    "completion_tokens": _NUMBER, "reasoning_tokens": _NUMBER, "usage_source": _TEXT, "price_source": _TEXT,
    "key_source": _TEXT, "cost_nano_usd": _NUMBER, "saved_nano_usd": _NUMBER, "ttft_ms": _NUMBER,
    "latency_ms": _NUMBER, "cache_hit": _FLAG, "tier": _TEXT, "trace_id": _TEXT, "is_demo": _FLAG,
    "settled_at": _TIME,
}  # fmt: skip
"""Of a file of ledger rows, and what each holds."""


def csv_lines(read: Read, principal: Principal, chosen: Filter) -> Iterator[str]:
    """CSV text in pieces: a heading, then every row, newest first."""
    yield csv_text([tuple(COLUMNS)])
    for rows in pages(read, principal, chosen, tuple(COLUMNS)):
        yield csv_text(rows)


def parquet_bytes(read: Read, principal: Principal, chosen: Filter) -> Iterator[bytes]:
    """A Parquet file in pieces: every row, newest first; times in UTC, unknown values null."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema, sink = _schema(), _Sink()
    waiting: list[Any] = []
    with pq.ParquetWriter(pa.PythonFile(sink, mode="w"), schema, compression="zstd") as writer:
        for rows in pages(read, principal, chosen, tuple(COLUMNS)):
            waiting += rows
            if len(waiting) >= _GROUP_ROWS:
                writer.write_table(_table(waiting, schema))
                waiting = []
                yield sink.take()
        if waiting:
            writer.write_table(_table(waiting, schema))
    yield sink.take()


def frame_csv(frame: "DataFrame") -> str:
    """A table as CSV text that is safe to open in a spreadsheet. Times are ISO 8601 in UTC, unknown values empty."""
    import pandas as pd

    rows = ([None if pd.isna(value) else value for value in row] for row in frame.itertuples(index=False, name=None))
    return csv_text([[str(name) for name in frame.columns], *rows])


def frame_parquet(frame: "DataFrame") -> bytes:
    """A table as a Parquet file."""
    file = io.BytesIO()
    frame.to_parquet(file, engine="pyarrow", index=False, compression="zstd")
    return file.getvalue()


class _Sink(io.RawIOBase):
    """Keeps what is written until it is taken."""

    def __init__(self) -> None:
        self._written: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._written.append(bytes(data))
        return len(data)

    def take(self) -> bytes:
        taken, self._written = b"".join(self._written), []
        return taken


def _schema() -> "pa.Schema":
    import pyarrow as pa

    kinds = {_TEXT: pa.string(), _NUMBER: pa.int64(), _FLAG: pa.bool_(), _TIME: pa.timestamp("us", tz="UTC")}
    return pa.schema([(name, kinds[kind]) for name, kind in COLUMNS.items()])


def _table(rows: list[Any], schema: "pa.Schema") -> "pa.Table":
    import pyarrow as pa

    columns = zip(*rows, strict=True)
    return pa.table([pa.array(column, kind) for column, kind in zip(columns, schema.types, strict=True)], schema=schema)
