"""`GET /api/usage/calls.{csv|parquet}`: the ledger's rows as a file, streamed, for whoever may count them."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from datetime import datetime, timedelta
from itertools import chain
from typing import Final

from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from chatcore.accounts import Principal
from chatcore.api import files
from chatcore.api.parts import Parts
from chatcore.errors import ChatcoreError, InvalidInput
from chatcore.usage import Filter

_MEDIA_TYPES: Final = {"csv": "text/csv; charset=utf-8", "parquet": "application/vnd.apache.parquet"}
_BOM: Final = "\ufeff".encode()


def calls(core: Parts, kind: str) -> Callable[[Request], Awaitable[Response]]:
    """`?start=` and `?end=` in ISO 8601 with a time zone, and as often as wanted `model`, `provider`, `agent`,
    `person`, `team`, `tier` and `purpose`. 401 for nobody, 403 from another site, 422 for a range that is none, each
    with a sentence."""

    async def endpoint(request: Request) -> Response:
        try:
            files.require_ours(core, request)
            chosen = _filter(request.query_params)
            # The first piece is made before the answer begins, so that what goes wrong then still has a status.
            pieces = await asyncio.to_thread(lambda: _begun(core, files.asker(core, request), chosen, kind))
        except ChatcoreError as error:
            return files.refusal(error)
        last = chosen.end - timedelta(microseconds=1)
        name = f"usage-{chosen.start:%Y-%m-%d}-to-{last:%Y-%m-%d}.{kind}"
        headers = {"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "private, no-store"}
        return StreamingResponse(pieces, headers=headers, media_type=_MEDIA_TYPES[kind])

    return endpoint


def _begun(core: Parts, principal: Principal, chosen: Filter, kind: str) -> Iterator[bytes]:
    if kind == "parquet":
        pieces = core.usage.export_parquet(principal, chosen)
        first = [next(pieces, b"")]
    else:
        pieces = (text.encode() for text in core.usage.export_csv(principal, chosen))
        # Spreadsheets take the text for UTF-8 only with the mark at its beginning.
        first = [_BOM, next(pieces), next(pieces, b"")]
    return chain(first, files.while_allowed(core, principal, pieces))


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
