"""The commands that look after data: `retention`, `users erase`, `db compact`, `backup`, `restore`."""

from argparse import ArgumentParser, Namespace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from chatcore.commands.shell import bare_database, say, shell, show
from chatcore.config import load_settings
from chatcore.db.tables import utcnow
from chatcore.errors import Conflict, InvalidInput

if TYPE_CHECKING:
    from sqlalchemy.orm import Session


def retention_arguments(parser: ArgumentParser) -> None:
    """The arguments of `retention`."""
    parser.add_argument("--dry-run", action="store_true", help="only say what would be removed")
    parser.add_argument("--even-so", action="store_true", help="the clock is right, even where it seems wrong")


def erase_arguments(parser: ArgumentParser) -> None:
    """The arguments of `users erase` behind the name."""
    parser.add_argument("--yes", action="store_true", help="needed: nothing of it can be brought back")


def backup_arguments(parser: ArgumentParser) -> None:
    """The arguments of `backup`."""
    words = "where to (default: a dated .zip below data/backups); FILE.db: the database alone"
    parser.add_argument("file", nargs="?", type=Path, metavar="FILE", help=words)
    parser.add_argument("--with-secret-key", action="store_true", help="put the secret key into the archive, too")


def restore_arguments(parser: ArgumentParser) -> None:
    """The arguments of `restore`."""
    parser.add_argument("file", type=Path, metavar="FILE", help="an archive of `backup`, or a copied database")
    parser.add_argument("--into", type=Path, metavar="DIR", help="a data folder (default: the instance's own)")
    parser.add_argument(
        "--force", action="store_true", help="also where there is a database; it is kept under another name"
    )


def retention(chosen: Namespace) -> None:
    """Remove what is older than its time, now."""
    from chatcore.care.retention import Retention

    with shell() as core:
        work = Retention(core.db)
        if not chosen.dry_run:
            core.db.write(partial(_look_at_clock, even_so=chosen.even_so))
        found = work.due() if chosen.dry_run else work.run()
    if not any(one.anything for one in found):
        say("Nothing is older than its time.")
        return
    rows = [(one.tenant, f"{one.conversations:,}", f"{one.messages:,}", f"{one.calls:,}") for one in found]
    show(("TENANT", "CONVERSATIONS", "OTHER MESSAGES", "CALLS"), rows)
    say("This would be removed." if chosen.dry_run else "This was removed.")


def _look_at_clock(session: "Session", *, even_so: bool) -> None:
    from chatcore.care import clock

    if even_so:
        clock.trust(session, utcnow())
    elif doubt := clock.doubt(session, utcnow()):
        raise Conflict(f"{doubt} Set the clock right; where it is, say --even-so.")


def users_erase(chosen: Namespace) -> None:
    """Erase a person."""
    from chatcore.care.people import PersonEraser

    with shell() as core:
        person = core.console.find(chosen.name)
        if not chosen.yes:
            raise InvalidInput(
                f"This removes {person.username} and all they wrote for good; what they cost stays, without a name. "
                "Agents stay, too, and channels of alerts that mail to an address of theirs. Say --yes to do it."
            )
        who = core.console.operator(person.tenant)
        done = PersonEraser(core.db).erase(who, person.id, person.username)
    say(f"{person.username} is erased." if done else _TO_FOLLOW.format(name=person.username))


_TO_FOLLOW = (
    "The account of {name} is gone. A reply to them is still being written; the app erases the rest when it has ended, "
    "within the hour."
)


def db_compact(chosen: Namespace) -> None:
    """Write the database anew without what was deleted."""
    from chatcore.db.compact import compact

    with bare_database() as db:
        compact(db)
    say("The database is compact.")


def backup(chosen: Namespace) -> None:
    """Write a backup."""
    from chatcore.care.backup import backup as make

    target, made = make(load_settings(), chosen.file, with_secret_key=chosen.with_secret_key)
    if target.suffix == ".db":
        say(f"The database is copied to {target}. Its attachments are not in it.")
    else:
        counts = f"{made.messages:,} messages, {made.calls:,} calls, {made.attachments:,} attachments"
        say(f"Backed up to {target}: {counts}.")
        if made.missing:
            say(f"{made.missing:,} attachments that the database names are not in the data folder.")
    if not made.has_secret_key:
        say("Keep the file secret_key of the data folder, too, apart from the backup.")


def restore(chosen: Namespace) -> None:
    """Bring a backup back."""
    from chatcore.care.restore import restore as bring_back

    done = bring_back(load_settings(), chosen.file, chosen.into, force=chosen.force)
    say(f"Restored {done.messages:,} messages and {done.attachments:,} attachments to {done.database}.")
    if done.moved:
        say(f"The database that was there is {done.moved} now.")
    if done.interrupted:
        say(f"{done.interrupted:,} replies were being written then; the start ends them with the words so far.")
    if done.key == "absent":
        say("Put the file secret_key of that time into the data folder, or provider keys and links do not open.")
    elif done.key == "there":
        say("The file secret_key that is there must be that of the backup, or provider keys and links do not open.")
    elif done.key == "kept":
        say("The secret key that was there is kept; the backup has one of its own.")
