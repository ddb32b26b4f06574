"""The SQL database: engine and sessions (`engine`), tables (`tables`), migrations (`migrate`)."""

from chatcore.db.engine import Database, changed_rows
from chatcore.db.migrate import check, downgrade, upgrade

__all__ = ["Database", "changed_rows", "check", "downgrade", "upgrade"]
