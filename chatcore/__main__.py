"""The command line: `python -m chatcore --help`. What goes wrong is one sentence and exit code 2."""

import argparse
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, time
from typing import Any, Final

from chatcore import commands
from chatcore.accounts import ROLES
from chatcore.accounts.keys import SCOPES
from chatcore.commands import bill, care, rollups
from chatcore.errors import ChatcoreError

_EXAMPLES: Final = """examples:
  python -m chatcore users add ada --role admin          asks for a password
  echo "$PASSWORD" | python -m chatcore users add ada    takes it from standard input
  python -m chatcore keys add ada                        prints a new API key of ada's
  python -m chatcore demo-data --days 90                 fills the usage page; --remove takes it away
  python -m chatcore doctor                              says what a start would stumble over

It reads the same CHATCORE_ variables and config file as the app, and may run beside it.
A secret that is printed is the last line of standard output, alone."""

Run = Callable[[argparse.Namespace], int | None]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command. Returns the exit code: 0; 1 when `doctor` found a fault; 2 when the command failed."""
    chosen = parser().parse_args(arguments)
    try:
        result: int | None = chosen.run(chosen)
    except ChatcoreError as error:
        print(error, file=sys.stderr)
        return 2
    return result or 0


def parser() -> argparse.ArgumentParser:
    """All commands with their help."""
    top = argparse.ArgumentParser(
        prog="python -m chatcore",
        description="Run a Chatcore instance from the shell.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    groups = top.add_subparsers(required=True, metavar="COMMAND")
    _users(_group(groups, "users", "people who can sign in"))
    _tenants(_group(groups, "tenants", "teams that share an instance and see nothing of each other"))
    _keys(_group(groups, "keys", "API keys for programs"))
    _provider_keys(_group(groups, "provider-keys", "keys of model providers that people and tenants brought"))
    _prices(_group(groups, "prices", "what calls to models cost, where that was not known"))
    _rollups(_group(groups, "rollups", "what the usage page reads in place of single calls"))
    _database(_group(groups, "db", "the database's schema"))
    demo = _command(groups, "demo-data", rollups.demo_data, "fill the usage page with made-up calls, marked as such")
    demo.add_argument("--days", type=_positive, default=90, help="how far back they go (default: 90)")
    demo.add_argument("--rows", type=_positive, help="how many calls (default: about 140 a day)")
    demo.add_argument("--people", type=_positive, help="how many made-up people (default: nine, more for many calls)")
    demo.add_argument("--models", type=_positive, help="how many models (default: eight, more for many calls)")
    demo.add_argument("--tenant", help="whose (default: the oldest tenant; with --remove: everybody's)")
    demo.add_argument("--remove", action="store_true", help="take all made-up calls and people away again")
    bill.arguments(_command(groups, "reconcile", bill.reconcile, "compare a provider's usage CSV with the ledger"))
    care.backup_arguments(_command(groups, "backup", care.backup, "save database and attachments, while the app runs"))
    care.restore_arguments(_command(groups, "restore", care.restore, "bring a backup back, while no app runs"))
    words = "remove messages and calls that are older than their tenant keeps them; the app does it once an hour"
    care.retention_arguments(_command(groups, "retention", care.retention, words))
    _command(groups, "doctor", commands.doctor, "say what a start would stumble over; exit code 1 when it would")
    return top


def _users(group: Any) -> None:
    add = _command(group, "add", commands.users_add, "make an account; the password is asked for, or read from stdin")
    add.add_argument("name", metavar="NAME", help="the username: a to z, digits and . _ @ + -")
    add.add_argument("--role", choices=ROLES, help="default: member, and operator for the first person of an instance")
    add.add_argument("--tenant", help="the tenant's name (default: the oldest)")
    add.add_argument("--tier", default="free", help="the tier of limits (default: free)")
    add.add_argument("--full-name", help="the name that is shown (default: the username)")
    listed = _command(group, "list", commands.users_list, "who there is, and who was last seen when")
    listed.add_argument("--tenant", help="only this tenant's")
    _named(group, "passwd", commands.users_passwd, "set a password and sign the person out everywhere")
    role = _named(group, "role", commands.users_role, "give a person another role")
    role.add_argument("role", choices=ROLES)
    team = _named(group, "team", commands.users_team, "put a person into a team, whose budgets then hold for them too")
    team.add_argument("team", nargs="?", metavar="TEAM", help="the team's name (default: none, out of the old one)")
    _named(group, "disable", commands.users_disable, "shut a person out at once; what they wrote stays")
    _named(group, "enable", commands.users_enable, "let a disabled person in again")
    words = "remove a person and all they wrote for good; what they cost stays, without a name"
    care.erase_arguments(_named(group, "erase", care.users_erase, words))
    _named(group, "session", commands.users_session, "print a browser-session cookie value, for load tests and support")


def _tenants(group: Any) -> None:
    _named(group, "add", commands.tenants_add, "make a tenant")
    _command(group, "list", commands.tenants_list, "which there are")


def _keys(group: Any) -> None:
    add = _named(group, "add", commands.keys_add, "make a key of the person NAME and print it")
    add.add_argument("--user", help="the person, where NAME is to be the key's own name")
    add.add_argument("--scope", action="append", choices=SCOPES, help="what it is for; may be repeated; all by default")
    add.add_argument("--days", type=int, help="until it expires; never by default")
    listed = _command(group, "list", commands.keys_list, "which there are, without the keys themselves")
    listed.add_argument("--user", help="only this person's")
    revoke = _command(group, "revoke", commands.keys_revoke, "end a key at once")
    revoke.add_argument("id", metavar="ID", help="as `keys list` shows it")


def _provider_keys(group: Any) -> None:
    _command(group, "list", commands.provider_keys_list, "whose there are, without the keys themselves")
    words = "encrypt them with the present secret key; the old one is asked for, or read from stdin"
    _command(group, "rotate", commands.provider_keys_rotate, words)


def _prices(group: Any) -> None:
    _command(group, "unpriced", commands.prices_unpriced, "the models with calls whose cost is unknown")
    words = "give calls whose cost is unknown the price that holds now; what stood there is kept"
    anew = _command(group, "recompute", commands.prices_recompute, words)
    anew.add_argument("--model", metavar="NAME", help="only this one's calls")
    anew.add_argument("--since", metavar="DATE", type=_day, help="only calls from this day on (2026-01-31, in UTC)")
    anew.add_argument("--all", action="store_true", help="also calls whose cost is known")
    anew.add_argument("--dry-run", action="store_true", help="only say what would be done")


def _rollups(group: Any) -> None:
    words = "count them anew from the ledger, beside the running app; goes on where it was broken off today"
    anew = _command(group, "rebuild", rollups.rebuild, words)
    anew.add_argument("--tenant", metavar="NAME", help="only this one's (default: everybody's)")
    anew.add_argument("--since", metavar="DATE", type=_day, help="only from this day on (2026-01-31, in UTC)")
    anew.add_argument("--afresh", action="store_true", help="all days, though an earlier run was broken off")
    looked = _command(group, "check", rollups.check, "compare them with the ledger; exit code 1 where they differ")
    looked.add_argument("--tenant", metavar="NAME", help="only this one's (default: everybody's)")


def _database(group: Any) -> None:
    _command(group, "upgrade", commands.db_upgrade, "apply the migrations that are missing; a start does it too")
    down = _command(group, "downgrade", commands.db_downgrade, "take migrations back, with what only they could hold")
    down.add_argument("revision", nargs="?", default="-1", help="default: -1, one step; base: everything")
    _command(group, "compact", care.db_compact, "leave nothing in the files of what was deleted, and free its room")
    _command(group, "check", commands.db_check, "exit code 0 when the schema is this version's")


def _group(parent: Any, name: str, words: str) -> Any:
    made = parent.add_parser(name, help=words, description=words.capitalize() + ".")
    return made.add_subparsers(required=True, metavar="COMMAND")


def _command(parent: Any, name: str, run: Run, words: str) -> argparse.ArgumentParser:
    made: argparse.ArgumentParser = parent.add_parser(name, help=words, description=words[0].upper() + words[1:] + ".")
    made.set_defaults(run=run)
    return made


def _named(parent: Any, name: str, run: Run, words: str) -> argparse.ArgumentParser:
    made = _command(parent, name, run, words)
    made.add_argument("name", metavar="NAME")
    return made


def _day(text: str) -> datetime:
    try:
        return datetime.combine(date.fromisoformat(text), time(), UTC)
    except ValueError as error:
        raise argparse.ArgumentTypeError("must be a day such as 2026-01-31") from error


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return value


if __name__ == "__main__":
    sys.exit(main())
