"""What the commands of `python -m chatcore` do. Each takes the parsed arguments and speaks on standard output.

Passwords come from a terminal, or from the first line of standard input. A secret that is printed is the last line,
alone, so that a script can take it.
"""

from argparse import Namespace
from decimal import Decimal

from chatcore import maintenance
from chatcore.accounts.keys import SCOPES
from chatcore.commands.shell import ask_password, ask_secret, bare_database, say, shell, show, when
from chatcore.config import load_settings
from chatcore.db import check, downgrade, upgrade
from chatcore.db.migrate import current

# ---- users


def users_add(chosen: Namespace) -> None:
    with shell() as core:
        password = ask_password(f"Password for {chosen.name}: ")
        person = core.console.add_user(
            chosen.name,
            password,
            name=chosen.full_name or chosen.name,
            role=chosen.role,
            tenant=chosen.tenant,
            tier=chosen.tier,
        )
    say(f"{person.username} can sign in now, as {person.role} of {person.tenant}.")


def users_list(chosen: Namespace) -> None:
    with shell() as core:
        people = core.console.everyone(chosen.tenant)
    rows = [
        (p.username, p.name, p.role, p.tier, p.team or "", p.status, p.tenant, when(p.last_seen_at)) for p in people
    ]
    show(("USERNAME", "NAME", "ROLE", "TIER", "TEAM", "STATUS", "TENANT", "LAST SEEN"), rows)


def users_passwd(chosen: Namespace) -> None:
    with shell() as core:
        core.console.find(chosen.name)
        core.console.set_password(chosen.name, ask_password(f"New password for {chosen.name}: "))
    say(f"The password of {chosen.name} is set, and their browsers are signed out.")


def users_role(chosen: Namespace) -> None:
    with shell() as core:
        core.console.set_role(chosen.name, chosen.role)
    say(f"{chosen.name} is {chosen.role} now.")


def users_team(chosen: Namespace) -> None:
    with shell() as core:
        core.console.set_team(chosen.name, chosen.team)
        team = core.console.find(chosen.name).team
    say(f"{chosen.name} is in the team {team} now." if team else f"{chosen.name} is in no team now.")


def users_disable(chosen: Namespace) -> None:
    with shell() as core:
        core.console.set_disabled(chosen.name, True)
    say(f"{chosen.name} is shut out: browsers are signed out and API keys refused.")


def users_enable(chosen: Namespace) -> None:
    with shell() as core:
        core.console.set_disabled(chosen.name, False)
    say(f"{chosen.name} can sign in again.")


def users_session(chosen: Namespace) -> None:
    with shell() as core:
        token = core.accounts.new_session_token(chosen.name)
    say(f"The value of a chatcore_session cookie for {chosen.name}:")
    say(token)


# ---- tenants and keys


def tenants_add(chosen: Namespace) -> None:
    with shell() as core:
        core.console.add_tenant(chosen.name)
    say(f"The tenant {chosen.name} is there. Add its first admin: users add NAME --role admin --tenant {chosen.name!r}")


def tenants_list(chosen: Namespace) -> None:
    with shell() as core:
        tenants = core.console.tenants()
    show(("ID", "NAME", "PEOPLE"), [(one.id, one.name, str(one.people)) for one in tenants])


def keys_add(chosen: Namespace) -> None:
    with shell() as core:
        owner = core.accounts.system_principal(chosen.user or chosen.name)
        name, scopes = chosen.name if chosen.user else "command line", chosen.scope or SCOPES
        info, key = core.accounts.create_key(owner, name, scopes, chosen.days)
    say(f"The key {info.id} of {owner.username}. It is shown only now:")
    say(key)


def keys_list(chosen: Namespace) -> None:
    with shell() as core:
        found = core.console.keys(chosen.user)
    rows = [
        (
            k.id,
            owner,
            k.name,
            f"{k.prefix}…",
            when(k.created_at),
            when(k.last_used_at),
            " ".join(k.scopes),
            "revoked" if k.revoked_at else when(k.expires_at) if k.expires_at else "",
        )
        for owner, k in found
    ]
    show(("ID", "USER", "NAME", "KEY", "MADE", "LAST USED", "FOR", "ENDS"), rows)


def keys_revoke(chosen: Namespace) -> None:
    with shell() as core:
        owner = core.console.revoke_key(chosen.id)
    say(f"The key {chosen.id} of {owner} is revoked.")


# ---- provider keys


def provider_keys_list(chosen: Namespace) -> None:
    from chatcore.gateway.keyring import Keyring

    with shell() as core:
        held = Keyring(core.db, core.settings).everybodys()
    rows = [
        (
            k.tenant,
            k.username or "(the tenant's)",
            k.info.provider,
            f"…{k.info.last4}",
            when(k.info.updated_at),
            "" if k.opens else "does not open",
        )
        for k in held
    ]
    show(("TENANT", "USER", "PROVIDER", "KEY", "SAVED", ""), rows)


def provider_keys_rotate(chosen: Namespace) -> None:
    from chatcore.alerts.channels import rotate_all
    from chatcore.gateway.keyring import Keyring

    with shell() as core:
        old = ask_secret("The old secret key: ")
        done = Keyring(core.db, core.settings).rotate(old)
        channels = rotate_all(core.db, core.settings, old)
    say(f"Encrypted {done:,} with the present secret key. `provider-keys list` shows which keys open.")
    if channels:
        say(f"So were the addresses of {channels:,} channels for alerts.")


# ---- prices


def prices_unpriced(chosen: Namespace) -> None:
    from chatcore.usage.repricing import unpriced

    with shell() as core:
        found = core.db.read(unpriced)
    rows = [(one.model, one.provider, f"{one.calls:,}", f"{one.tokens:,}", when(one.since)) for one in found]
    show(("MODEL", "PROVIDER", "CALLS", "TOKENS", "SINCE"), rows)


def prices_recompute(chosen: Namespace) -> None:
    from chatcore import pricing

    with shell() as core:
        done = pricing.recompute(core.db, core.settings, chosen.model, chosen.since, chosen.all, chosen.dry_run)
        if done.changed and not chosen.dry_run:
            core.console.note("prices.recompute", calls=done.changed, difference_nano_usd=done.difference_nano_usd)
    change = (
        f"{Decimal(done.difference_nano_usd).scaleb(-9).normalize():+,f} USD" if done.changed else "nothing changed"
    )
    say(f"{done.seen:,} calls, {done.changed:,} {'would be ' * chosen.dry_run}priced anew: {change}.")
    say(f"{done.unknown:,} have no known price still; `prices unpriced` names their models.")


# ---- the database


def db_upgrade(chosen: Namespace) -> None:
    with bare_database() as db:
        upgrade(db)
    say("The database has this version's schema.")


def db_downgrade(chosen: Namespace) -> None:
    with bare_database() as db:
        downgrade(db, chosen.revision)
        found = current(db)
    say(f"The database is at revision {found or 'base'} now.")


def db_check(chosen: Namespace) -> None:
    with bare_database() as db:
        check(db)
    say("The database answers and has this version's schema.")


def doctor(chosen: Namespace) -> int:
    faults = 0
    for finding in maintenance.examine(load_settings()):
        mark = {True: "ok  ", False: "FAIL", None: "note"}[finding.fine]
        faults += finding.fine is False
        say(f"{mark}  {finding.what + ':':15}{finding.words}")
    return 1 if faults else 0
