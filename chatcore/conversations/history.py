"""The history: lists with filters, find, and what is done to many conversations at once."""

from chatcore.db import Database


class History:
    """One's own conversations, all of them."""

    def __init__(self, db: Database) -> None:
        self._db = db
