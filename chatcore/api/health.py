"""`/api/health` for whoever restarts dead processes, `/api/ready` for whoever sends them requests."""

from collections.abc import Awaitable, Callable
from typing import Final

from sqlalchemy.exc import SQLAlchemyError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from chatcore.api.looks import OneLook
from chatcore.api.parts import Parts
from chatcore.db import Database, check
from chatcore.errors import DatabaseError

_WITHIN: Final = 3.0  # seconds for the database; one that takes longer does not answer


async def health(request: Request) -> Response:
    """The process is alive. Looks at nothing else, or a slow database would get it killed."""
    return JSONResponse({"status": "ok"})


def ready(core: Parts) -> Callable[[Request], Awaitable[Response]]:
    """200 when the database answers, its schema is this code's, and the engine takes turns; else 503."""
    look = OneLook(lambda: _database(core.db), _WITHIN)

    async def endpoint(request: Request) -> Response:
        try:
            database, migrations = await look.result()
        except TimeoutError:
            database = migrations = False
        found = {"database": database, "migrations": migrations, "engine": core.turns.is_running}
        fine = all(found.values())
        return JSONResponse({"status": "ready" if fine else "not ready", **found}, 200 if fine else 503)

    return endpoint


def _database(db: Database) -> tuple[bool, bool]:
    try:
        db.ping()
    except DatabaseError:
        return False, False
    try:
        check(db)
    except (DatabaseError, SQLAlchemyError):
        return True, False
    return True, True
