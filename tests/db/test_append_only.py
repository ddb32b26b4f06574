"""The audit log on SQLite: no way of writing over a row gets past the triggers. The rest is in tests/accounts."""

from contextlib import closing
from sqlite3 import IntegrityError, connect

import pytest

from chatcore.config import Settings
from chatcore.db import Database, downgrade, upgrade
from chatcore.ids import new_id

_NAMES = "id, tenant_id, user_id, action, target, details, address, created_at"
_FORGED = "'t', 'other', 'nothing', '', '{}', '9.9.9.9', '2026-01-02'"


@pytest.mark.parametrize(
    "statement",
    [
        f"INSERT OR REPLACE INTO audit_log ({_NAMES}) VALUES ('aud_1', {_FORGED})",
        f"REPLACE INTO audit_log ({_NAMES}) VALUES ('aud_1', {_FORGED})",
        f"INSERT OR REPLACE INTO audit_log (rowid, {_NAMES}) VALUES (1, 'aud_new', {_FORGED})",
        f"INSERT INTO audit_log ({_NAMES}) VALUES ('aud_1', {_FORGED})"
        " ON CONFLICT (id) DO UPDATE SET action = excluded.action",
        f"INSERT OR IGNORE INTO audit_log ({_NAMES}) VALUES ('aud_1', {_FORGED})",
        "UPDATE OR REPLACE audit_log SET rowid = 1 WHERE id = 'aud_2'",
        "UPDATE OR REPLACE audit_log SET id = 'aud_1' WHERE id = 'aud_2'",
        "UPDATE audit_log SET rowid = 7 WHERE id = 'aud_2'",
    ],
)
def test_no_row_is_written_over(database: Database, settings: Settings, statement: str) -> None:
    with closing(connect(str(settings.database_url.database), isolation_level=None)) as raw:
        for number in (1, 2):
            row = f"'aud_{number}', 't', 'u', 'user.erase', 'x', '{{}}', '', '2026-01-01'"
            raw.execute(f"INSERT INTO audit_log ({_NAMES}) VALUES ({row})")
        everything = f"SELECT rowid, {_NAMES} FROM audit_log"
        before = raw.execute(everything).fetchall()
        with pytest.raises(IntegrityError, match="only ever added to"):
            raw.execute(statement)
        assert raw.execute(everything).fetchall() == before
        raw.execute(f"INSERT INTO audit_log ({_NAMES}) VALUES ('{new_id('aud')}', {_FORGED})")


def test_the_triggers_go_with_the_schema_and_come_again(database: Database) -> None:
    def triggers() -> list[str]:
        with database.engine.connect() as connection:
            wanted = "SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'audit_log' ORDER BY name"
            return [row[0] for row in connection.exec_driver_sql(wanted)]

    assert triggers() == ["audit_log_added", "audit_log_kept", "audit_log_unchanged"]
    downgrade(database, "0003_gateway")
    assert triggers() == []
    upgrade(database)
    assert len(triggers()) == 3
