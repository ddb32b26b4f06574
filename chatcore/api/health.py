"""`/api/health` for whoever restarts dead processes, `/api/ready` for whoever sends them requests."""

import asyncio
from collections.abc import Awaitable, Callable

from sqlalchemy.exc import SQLAlchemyError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from chatcore.api.parts import Parts
from chatcore.db import Database, check
from chatcore.errors import DatabaseError


async def health(request: Request) -> Response:
    """The process is alive. Looks at nothing else, or a slow database would get it killed."""
    return JSONResponse({"status": "ok"})


def ready(core: Parts) -> Callable[[Request], Awaitable[Response]]:
    """200 when the database answers, its schema is this code's, and the engine takes turns; else 503."""

    async def endpoint(request: Request) -> Response:
        database, migrations = await asyncio.to_thread(_database, core.db)
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
