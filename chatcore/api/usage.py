"""`GET /api/usage/calls.{csv|parquet}`: the ledger's rows as a file, streamed, for whoever may count them."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from datetime import datetime
from itertools import chain
from typing import Final

from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from chatcore.api.middleware import SESSION_HEADER
from chatcore.api.parts import Parts
from chatcore.errors import ChatcoreError, DatabaseError, InvalidInput, Unauthorized
from chatcore.usage import Filter

_MEDIA_TYPES: Final = {"csv": "text/csv; charset=utf-8", "parquet": "application/vnd.apache.parquet"}
_BOM: Final = "\ufeff".encode()
_STATUS: Final[dict[type[ChatcoreError], int]] = {Unauthorized: 401, InvalidInput: 422, DatabaseError: 503}


def calls(core: Parts, kind: str) -> Callable[[Request], Awaitable[Response]]:
    """`?start=` and `?end=` in ISO 8601 with a time zone, and as often as wanted `model`, `provider`, `agent`,
    `person`, `team`, `tier` and `purpose`. 401 for nobody, 422 for a range that is none, each with a sentence."""

    async def endpoint(request: Request) -> Response:
        session_id = request.headers.get(SESSION_HEADER.decode(), "")
        try:
            chosen = _filter(request.query_params)
            # The first piece is made before the answer begins, so that what goes wrong then still has a status.
            pieces, first = await asyncio.to_thread(_begun, core, session_id, chosen, kind)
        except ChatcoreError as error:
            return JSONResponse({"error": {"code": error.code, "message": str(error)}}, _STATUS.get(type(error), 500))
        name = f"usage-{chosen.start:%Y-%m-%d}-{chosen.end:%Y-%m-%d}.{kind}"
        headers = {"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "private, no-store"}
        return StreamingResponse(chain([first], pieces), headers=headers, media_type=_MEDIA_TYPES[kind])

    return endpoint


def _begun(core: Parts, session_id: str, chosen: Filter, kind: str) -> tuple[Iterator[bytes], bytes]:
    principal = core.accounts.principal(session_id) if session_id else None
    if principal is None:
        raise Unauthorized("You are not signed in. Sign in, then ask for the file again.")
    if kind == "parquet":
        pieces = core.usage.export_parquet(principal, chosen)
    else:
        # Spreadsheets take the text for UTF-8 only with the mark at its beginning.
        pieces = chain([_BOM], (text.encode() for text in core.usage.export_csv(principal, chosen)))
        return pieces, next(pieces) + next(pieces)
    return pieces, next(pieces, b"")


def _filter(params: QueryParams) -> Filter:
    def only(name: str) -> tuple[str, ...]:
        return tuple(params.getlist(name))

    return Filter(
        _moment(params, "start"), _moment(params, "end"), only("model"), only("person"), only("purpose"),
        providers=only("provider"), agents=only("agent"), tiers=only("tier"), teams=only("team"),
    )  # fmt: skip


def _moment(params: QueryParams, name: str) -> datetime:
    try:
        return datetime.fromisoformat(params.get(name, ""))
    except ValueError:
        raise InvalidInput(f"`{name}` must be a time in ISO 8601, as 2026-01-05T00:00:00+00:00.") from None
