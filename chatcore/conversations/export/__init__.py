"""Export: a conversation as Markdown, JSON or PDF."""

from chatcore.conversations.attachments import Attachments
from chatcore.db import Database


class Exports:
    """One's own conversations as files."""

    def __init__(self, db: Database, attachments: Attachments) -> None:
        self._db = db
        self._attachments = attachments
