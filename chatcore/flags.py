"""What an operator changes while Chatcore runs: flags, limits, who may use a model, a tenant's prices.

One row of `settings` holds what was changed; the config file says what holds until then. Every process reads the row
again each second.
"""

import logging
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from decimal import Decimal
from typing import Any, Final, Literal, get_args

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from chatcore.accounts import audit
from chatcore.accounts.principal import Principal
from chatcore.config import Settings
from chatcore.config_file import Access
from chatcore.db import Database
from chatcore.db.tables import Setting, User, utcnow
from chatcore.errors import ChatcoreError, Forbidden, InvalidInput

log = logging.getLogger(__name__)

LimitScope = Literal["tier", "user", "tenant", "model"]
LimitOf = Literal["requests", "tokens"]
LimitPer = Literal["minute", "hour", "day"]

_KEY: Final = "flags"
_EVERY: Final = 1.0  # seconds between two reads
_MOST: Final = 10**12
_WATCH: Final = Principal("", "", "alerts", "Alerts", "operator")  # who puts providers aside: no row of `users`


@dataclass(frozen=True)
class LimitRule:
    """At most `amount` requests (or tokens) in any minute, hour or day.

    `name`: the tier, the user's id, the tenant's id or the model. A `tier` or `user` rule is counted for each person, a
    `tenant` rule for all of its people together, a `model` rule for all people of a tenant together.
    """

    scope: LimitScope
    name: str
    of: LimitOf
    per: LimitPer
    amount: int


DEFAULT_LIMITS: Final = (
    LimitRule("tier", "free", "requests", "day", 100),
    LimitRule("tier", "pro", "requests", "day", 1000),
)


@dataclass(frozen=True)
class Flags:
    """Everything that can be changed while running, as it is now.

    `streaming` off: whole replies. `gateway` off: one direct call, without cache, failover or breaker. `primary`: the
    model of new chats, before the configured one. `fallback`: the model behind every other one. `prices`: by tenant id
    and model, USD a token by litellm's field names, as decimal text. `auto_failover`: alerts may put a provider aside;
    `degraded_providers`: those that are aside now, which are asked last. `tools` off: no model is offered any.
    `execute_code`: agents may run code in the sandbox, where this machine can hold one.
    """

    streaming: bool = True
    gateway: bool = True
    cache: bool = True
    failover: bool = True
    rate_limits: bool = True
    disabled_providers: tuple[str, ...] = ()
    auto_failover: bool = True
    degraded_providers: tuple[str, ...] = ()
    tools: bool = True
    execute_code: bool = False
    primary: str | None = None
    fallback: str | None = None
    limits: tuple[LimitRule, ...] = DEFAULT_LIMITS
    access: Mapping[str, Access] = field(default_factory=dict)
    prices: Mapping[str, Mapping[str, Mapping[str, str]]] = field(default_factory=dict)


Changes = Callable[[Flags], Mapping[str, Any]]  # by the names of those that change


class FlagStore:
    """Reads the flags for everybody and writes them for who may. `now` costs nothing."""

    def __init__(self, db: Database, settings: Settings) -> None:
        own = settings.own
        self._db = db
        self._initial = Flags(cache=own.cache, rate_limits=own.rate_limits)
        self._now = self._initial
        self._stored: Any = {}  # what `_now` was made of
        self._reading = threading.Lock()
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None
        self.refresh()

    @property
    def now(self) -> Flags:
        """As last read: at most a second or two old while the process runs."""
        return self._now

    @property
    def configured(self) -> Flags:
        """As the config file says, whatever was changed since."""
        return self._initial

    def refresh(self) -> None:
        """Read them now. Raises `DatabaseError`."""
        with self._reading:  # or a read that began before a change would be taken for newer than the one after it
            stored = self._db.read(_row)
            if stored != self._stored:
                self._stored, self._now = stored, parse(stored, self._initial)

    def start(self) -> None:
        """Read them again each second, in the background."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._watch, name="flags", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Read no more."""
        self._stopped.set()
        if self._thread is not None:
            self._thread.join(10)

    def set(self, principal: Principal, **changes: Any) -> None:
        """Change flags by their names in `Flags`; None takes one back to what the config file says. For operators.

        Raises `Forbidden`, `InvalidInput`.
        """
        self.change(principal, lambda _: changes)

    def change(self, principal: Principal, changes: Changes, noted: Mapping[str, Any] | None = None) -> None:
        """As `set`, from the flags as they are in the transaction, where `changes` may be called twice: nobody undoes
        what another has just done. `noted`: what the audit log keeps, else all that was changed."""
        if not principal.is_operator:
            raise Forbidden("Only an operator can change what holds for the whole instance.")
        self._write(principal, changes, noted)

    def put_aside(self, providers: Iterable[str]) -> None:
        """Say which providers alerts have put aside, in place of those before. For the watch, not for people."""
        self._write(_WATCH, lambda _: {"degraded_providers": sorted(providers) or None}, None)

    def set_access(self, principal: Principal, model: str, access: Access | None) -> None:
        """Say who may use a model, instead of the config file; None takes it back. Raises as `set`."""

        def changed(now: Flags) -> Mapping[str, Any]:
            return {"access": {name: one for name, one in {**now.access, model: access}.items() if one} or None}

        self.change(principal, changed, {"access": {model: access and access.model_dump()}})

    def set_prices(self, principal: Principal, model: str, prices: Mapping[str, str] | None) -> None:
        """Set what a model costs one's own tenant from now on; None takes it back. For admins.

        `prices`: litellm's field names to USD a token as decimal text. Raises `Forbidden`, `InvalidInput`.
        """
        if not principal.is_admin:
            raise Forbidden("Only an admin can change prices.")
        tenant_id = principal.tenant_id
        own = _checked("prices", {tenant_id: {model: prices or {}}})[tenant_id]

        def changed(now: Flags) -> Mapping[str, Any]:
            models = {name: one for name, one in {**now.prices.get(tenant_id, {}), **own}.items() if one}
            tenants = {tenant: found for tenant, found in {**now.prices, tenant_id: models}.items() if found}
            return {"prices": tenants or None}

        self._write(principal, changed, {"prices": own})  # what others pay is not for this tenant's log

    def _watch(self) -> None:
        while not self._stopped.wait(_EVERY):
            try:
                self.refresh()
            except ChatcoreError:
                log.warning("the flags could not be read; the last ones stand")

    def _write(self, principal: Principal, changes: Changes, noted: Mapping[str, Any] | None) -> None:
        def work(session: Session) -> None:
            _refuse_demoted(session, principal)
            row = session.get(Setting, _KEY, with_for_update=True)
            if row is None:
                session.add(row := Setting(key=_KEY, value={}))
            stored = row.value if isinstance(row.value, dict) else {}
            before = parse(stored, self._initial)
            changed = {name: _checked(name, one) for name, one in changes(before).items()}
            row.value = {name: value for name, value in {**stored, **changed}.items() if value is not None}
            row.updated_at = utcnow()
            if principal is _WATCH:
                _note_aside(session, set(before.degraded_providers), set(changed["degraded_providers"] or ()))
            else:
                told = {name: _short(value) for name, value in (noted or changed).items()}
                audit.record(session, principal, "flags.change", **told)

        try:
            self._db.write(work)
        except IntegrityError:  # another process made the first change in the same moment
            self._db.write(work)
        self.refresh()


def _row(session: Session) -> Any:
    row = session.get(Setting, _KEY)
    return {} if row is None else row.value


def _note_aside(session: Session, before: set[str], after: set[str]) -> None:
    for action, providers in (("provider.aside", after - before), ("provider.back", before - after)):
        for provider in sorted(providers):
            audit.record(session, _WATCH, action, provider, name=provider)


def _refuse_demoted(session: Session, principal: Principal) -> None:
    """What counts is who the person is now, not when the page was drawn."""
    now = session.execute(select(User.role, User.disabled_at).where(User.id == principal.user_id)).one_or_none()
    if now is not None and (now.disabled_at is not None or now.role != principal.role):
        raise Forbidden("Your role has changed. Reload the page.")


def parse(stored: Any, initial: Flags) -> Flags:
    """The flags from what is stored, over what holds without. What makes no sense is left out and logged."""
    if not isinstance(stored, dict):
        log.warning("the stored flags make no sense and are left out")
        return initial
    found: dict[str, Any] = {}
    for name, value in stored.items():
        try:
            if (checked := _checked(name, value)) is not None:
                found[name] = _loaded(name, checked)
        except InvalidInput:
            log.warning("a stored flag makes no sense and is left out", extra={"flag": name})
    return replace(initial, **found)


def _loaded(name: str, value: Any) -> Any:
    match name:
        case "limits":
            return tuple(LimitRule(**rule) for rule in value)
        case "disabled_providers" | "degraded_providers":
            return tuple(value)
        case "access":
            return {model: Access(**access) for model, access in value.items()}
    return value


def _checked(name: str, value: Any) -> Any:
    """The value as it is stored. Raises `InvalidInput`."""
    if name not in {one.name for one in fields(Flags)}:
        raise InvalidInput(f"There is no flag called {name}.")
    if value is None:
        return None
    try:
        return _stored(name, value)
    except (ValueError, TypeError, AttributeError, ArithmeticError) as error:
        raise InvalidInput(f"{name} cannot have this value.") from error


def _stored(name: str, value: Any) -> Any:
    match name:
        case "limits":
            return [_rule(rule) for rule in _several(value)]
        case "disabled_providers" | "degraded_providers":
            return sorted({_text(one) for one in _several(value)})
        case "access":
            return {_text(model): Access.model_validate(one).model_dump() for model, one in value.items()}
        case "prices":
            return {
                _text(tenant): {
                    _text(model): {_text(kind): _price(price) for kind, price in prices.items()}
                    for model, prices in models.items()
                }
                for tenant, models in value.items()
            }
        case "primary" | "fallback":
            return _text(value)
    if not isinstance(value, bool):
        raise InvalidInput(f"{name} is on or off.")
    return value


def _several(value: Any) -> Any:
    if not isinstance(value, list | tuple | set | frozenset):
        raise TypeError
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise TypeError
    return value


def _price(value: Any) -> str:
    """USD a token; nothing so small that writing it out would fill a page."""
    price = Decimal(_text(value))
    if not (price.is_finite() and 0 <= price <= 1000 and int(price.as_tuple().exponent) >= -30):
        raise InvalidInput("A price is a number of USD a token, 0 or more.")
    return str(value)


def _rule(rule: Any) -> dict[str, Any]:
    found: dict[str, Any] = dict(vars(rule)) if isinstance(rule, LimitRule) else dict(rule)
    choices = {"scope": get_args(LimitScope), "of": get_args(LimitOf), "per": get_args(LimitPer)}
    for key, allowed in choices.items():
        if found.get(key) not in allowed:
            raise InvalidInput(f"A limit's {key} is one of {', '.join(allowed)}.")
    if not isinstance(found.get("name"), str) or not found["name"]:
        raise InvalidInput("A limit says for whom it is.")
    if type(found.get("amount")) is not int or not 0 <= found["amount"] <= _MOST:
        raise InvalidInput("A limit is a whole number, 0 or more.")
    return vars(LimitRule(**found))


def _short(value: Any) -> Any:
    """What the audit log keeps of a value."""
    return value if isinstance(value, bool | str | int | None) else str(value)[:500]
