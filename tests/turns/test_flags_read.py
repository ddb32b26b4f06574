"""The flags are read by a thread once a second: what was read late does not undo what was changed since."""

import threading
from typing import Any

from sqlalchemy import event

from chatcore.config import Settings
from chatcore.db import Database
from chatcore.flags import FlagStore
from tests.conftest import add_person


def test_a_read_that_began_before_a_change_does_not_undo_it(any_database: Database, settings: Settings) -> None:
    store, operator = FlagStore(any_database, settings), add_person(any_database, "ada", role="operator")
    has_read, may_go_on = threading.Event(), threading.Event()

    def wait(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if threading.current_thread() is slow and "FROM settings" in statement:
            has_read.set()
            may_go_on.wait(10)

    slow = threading.Thread(target=store.refresh)
    change = threading.Thread(target=store.set, args=(operator,), kwargs={"failover": False})
    event.listen(any_database.engine, "after_cursor_execute", wait)
    slow.start()
    assert has_read.wait(10)
    change.start()
    change.join(0.5)  # without the lock it is through here, and undone below
    may_go_on.set()
    slow.join(10)
    change.join(10)
    event.remove(any_database.engine, "after_cursor_execute", wait)
    assert store.now.failover is False
