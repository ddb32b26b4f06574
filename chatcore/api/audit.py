"""`GET /api/audit/log.csv`: the audit log as a file, streamed, for admins."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from datetime import datetime
from itertools import chain
from typing import Final

from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from chatcore.accounts import Principal
from chatcore.accounts.audit_log import Wanted
from chatcore.api import files
from chatcore.api.parts import Parts
from chatcore.db.tables import utcnow
from chatcore.errors import ChatcoreError, InvalidInput

_BOM: Final = "\ufeff"  # without it spreadsheets do not take the text for UTF-8


def log(core: Parts) -> Callable[[Request], Awaitable[Response]]:
    """`actor`, `action`, `target` as in `Wanted`, `since` and `until` in ISO 8601 with a time zone, `everywhere=1`.

    401 for nobody, 403 for members and from another site, 422 for a time that is none, each with a sentence.
    """

    async def endpoint(request: Request) -> Response:
        try:
            files.require_ours(core, request)
            wanted = _wanted(request.query_params)
            pieces = await asyncio.to_thread(lambda: _begun(core, files.asker(core, request), wanted))
        except ChatcoreError as error:
            return files.refusal(error)
        name = f"chatcore-audit-{utcnow():%Y-%m-%d}.csv"
        headers = {"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "private, no-store"}
        return StreamingResponse(pieces, headers=headers, media_type="text/csv; charset=utf-8")

    return endpoint


def _begun(core: Parts, principal: Principal, wanted: Wanted) -> Iterator[str]:
    """The file's pieces. The first rows are read before the answer begins, so that a failure still has a status."""
    pieces = core.audit.export_csv(principal, wanted)
    return chain([_BOM, next(pieces), next(pieces, "")], files.while_allowed(core, principal, pieces))


def _wanted(params: QueryParams) -> Wanted:
    return Wanted(
        params.get("actor", ""), params.get("action", ""), params.get("target", ""), _moment(params, "since"),
        _moment(params, "until"), everywhere=params.get("everywhere") == "1",
    )  # fmt: skip


def _moment(params: QueryParams, name: str) -> datetime | None:
    given = params.get(name)
    if not given:
        return None
    try:
        moment = datetime.fromisoformat(given)
        if moment.tzinfo is not None:
            return moment
    except ValueError:
        pass  # said below
    raise InvalidInput(f"`{name}` must be a time in ISO 8601, as 2026-01-05T00:00:00+00:00.")
