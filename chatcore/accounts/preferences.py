"""What a person prefers: custom instructions for every model, and whether titles may be improved."""

from chatcore.db import Database


class Preferences:
    """Kept in the person's `settings`."""

    def __init__(self, db: Database) -> None:
        self._db = db
