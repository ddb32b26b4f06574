"""Where a list goes on: a cursor that nobody need understand, and with which nobody can do harm."""

import base64
import binascii
from datetime import UTC, datetime

from chatcore.accounts.validation import is_storable
from chatcore.errors import InvalidInput

_NONE = "This cursor is not one of ours. Begin again without it."


def pack(moment: datetime, id_: str) -> str:
    """The place behind a row, by its time and id."""
    return base64.urlsafe_b64encode(f"{moment.astimezone(UTC).isoformat()}|{id_}".encode()).decode().rstrip("=")


def unpack(cursor: str) -> tuple[datetime, str]:
    """What `pack` was given. Raises `InvalidInput` for anything else."""
    try:
        said = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True).decode()
        moment, _, id_ = said.partition("|")
        found = datetime.fromisoformat(moment)
    except (ValueError, binascii.Error):
        raise InvalidInput(_NONE) from None
    if found.tzinfo is None or not id_ or len(id_) > 200 or not is_storable(id_):
        raise InvalidInput(_NONE)
    return found, id_
