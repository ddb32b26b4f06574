"""A process that only watches alerts, each second, until its standard input ends."""

import sys
from pathlib import Path

from chatcore.alerts.service import Alerts
from chatcore.config import load_settings
from chatcore.db import Database
from chatcore.flags import FlagStore
from chatcore.watch import Watch


def main() -> None:
    url, folder = sys.argv[1:]
    variables = {
        "CHATCORE_DATABASE_URL": url,
        "CHATCORE_DATA_DIR": str(Path(folder) / "data"),
        "CHATCORE_CONFIG": str(Path(folder) / "config.yaml"),
        "CHATCORE_SECRET_KEY": "for tests",
    }
    settings = load_settings(variables, root=Path(folder))
    db = Database(settings.database_url)
    watch = Watch(db, Alerts(db, FlagStore(db, settings), settings), settings.own.alert_seconds)
    watch.start()
    sys.stdin.read()
    watch.stop()
    db.close()


if __name__ == "__main__":
    main()
