"""Settings to Core: the one place where the parts meet."""

import logging
import sys
import threading
from dataclasses import dataclass
from functools import partial
from typing import Final, NoReturn

from chatcore import agents, logs, metrics, tracing
from chatcore.accounts import Accounts
from chatcore.accounts.audit_log import AuditLog
from chatcore.accounts.preferences import Preferences
from chatcore.accounts.tenants import Tenants
from chatcore.agents import Agents
from chatcore.alerts import Alerts
from chatcore.bills import Bills
from chatcore.care.keeper import Keeper
from chatcore.care.people import PersonEraser
from chatcore.care.retention import Retention
from chatcore.config import Settings, load_settings
from chatcore.conversations import Conversations
from chatcore.conversations.attachments import Attachments
from chatcore.conversations.exchange import Imports
from chatcore.conversations.export import Exports
from chatcore.conversations.history import History
from chatcore.conversations.indexing import Indexer
from chatcore.conversations.prompts import Prompts
from chatcore.conversations.ratings import Ratings
from chatcore.conversations.sharing import Shares
from chatcore.db import Database, upgrade
from chatcore.errors import ConfigError
from chatcore.flags import FlagStore
from chatcore.gateway import Gateway, Keyring
from chatcore.knowledge import Knowledge
from chatcore.shared import Shared
from chatcore.tools import Toolbox
from chatcore.tools.analyze_video import VideoAnalyst
from chatcore.tools.execute_code import CodeRunner
from chatcore.tools.generate_report import Reports
from chatcore.tools.mcp import McpServers
from chatcore.tools.query_database import Databases
from chatcore.tools.search_knowledge import KnowledgeTools
from chatcore.turns import Turns
from chatcore.usage import Usage
from chatcore.usage.budgets import Budgets
from chatcore.usage.limits import Limits
from chatcore.usage.live import Live
from chatcore.watch import Watch
from chatcore.workshops import Workshops

log = logging.getLogger(__name__)

_LET_GO_AFTER: Final = 8.0
"""Seconds that a database may keep the end of the process waiting, after the drain."""


@dataclass(frozen=True)
class Core:
    """The parts of one process. `start` brings it to life, `close` ends it with its words kept."""

    settings: Settings
    db: Database
    accounts: Accounts
    preferences: Preferences
    tenants: Tenants
    audit: AuditLog
    agents: Agents
    conversations: Conversations
    history: History
    attachments: Attachments
    exports: Exports
    imports: Imports
    shares: Shares
    prompts: Prompts
    ratings: Ratings
    usage: Usage
    live: Live
    flags: FlagStore
    limits: Limits
    budgets: Budgets
    alerts: Alerts
    watch: Watch
    bills: Bills
    keyring: Keyring
    gateway: Gateway
    toolbox: Toolbox
    knowledge: Knowledge
    workshops: Workshops
    mcp: McpServers
    turns: Turns
    indexer: Indexer
    retention: Retention
    people: PersonEraser
    keeper: Keeper
    shared: Shared
    setup_code: str | None = None

    def start(self) -> None:
        """Start the turn engine, and the indexing of what is not indexed yet; the gateway goes on warming behind."""
        metrics.start()
        tracing.set_up(self.settings.environment)
        self.flags.start()
        self.turns.engine.start()
        self.indexer.start()
        self.knowledge.start()
        self.keeper.start()
        self.watch.start()

    def close(self) -> None:
        """Drain the running turns for the configured time, then close everything."""
        self.turns.engine.drain(self.settings.drain_seconds)
        with self.db.let_go_after(_LET_GO_AFTER):
            self.indexer.stop()
            self.knowledge.stop()
            self.keeper.stop()
            self.watch.stop()
            self.flags.stop()
            self.shared.close()
            self.db.close()
        tracing.close()


_core: Core | None = None
_lock = threading.Lock()


def open_core(settings: Settings | None = None) -> Core:
    """Connect, migrate, and put the parts together; starts no engine.

    Raises `ConfigError` with one sentence that names what is wrong.
    """
    settings = settings or load_settings()
    for name in settings.unknown_settings:
        log.warning("%s is not a setting of Chatcore and has no effect; is it mistyped?", name)
    db = Database(settings.database_url)
    upgrade(db)
    accounts = Accounts(db, settings, on_new_tenant=agents.seed)
    setup_code = accounts.ensure_ready()
    shared, flags = Shared(settings.redis_url), FlagStore(db, settings)
    gateway, limits = Gateway(settings, db, flags, shared), Limits(db, flags, shared)
    alerts = Alerts(db, flags, settings)
    alerts.ensure_defaults()
    preferences = Preferences(db)
    attachments = Attachments(db, settings)
    toolbox = Toolbox()
    turns = Turns(db, gateway, limits, preferences, settings, toolbox)
    model = settings.own.embedding_model
    knowledge = Knowledge(db, settings, partial(turns.vectors, model=model) if model else None)
    mcp = McpServers(db, settings, attachments)
    private = [settings.data_dir, *([settings.config_path] if settings.config_path else [])]
    runner = CodeRunner(attachments, flags, private=private)
    reports, videos = Reports(attachments), VideoAnalyst(attachments)
    for source in (KnowledgeTools(knowledge), Databases(db, settings), reports, runner, videos, mcp):
        toolbox.add(source)
    return Core(
        settings=settings,
        db=db,
        accounts=accounts,
        preferences=preferences,
        tenants=Tenants(db, agents.seed, settings.own.oidc.tenant if settings.own.oidc else None),
        audit=AuditLog(db),
        agents=Agents(db),
        conversations=Conversations(db),
        history=History(db),
        attachments=attachments,
        exports=Exports(db, attachments),
        imports=Imports(db, settings, attachments),
        shares=Shares(db, settings),
        prompts=Prompts(db),
        ratings=Ratings(db),
        usage=Usage(db),
        live=Live(db),
        flags=flags,
        limits=limits,
        budgets=Budgets(db),
        alerts=alerts,
        watch=Watch(db, alerts, settings.own.alert_seconds),
        bills=Bills(db),
        keyring=gateway.keyring,
        gateway=gateway,
        shared=shared,
        toolbox=toolbox,
        knowledge=knowledge,
        workshops=Workshops(db),
        mcp=mcp,
        turns=turns,
        indexer=Indexer(db),
        retention=Retention(db),
        people=PersonEraser(db),
        keeper=Keeper(db),
        setup_code=setup_code,
    )


def open_or_exit() -> Core:
    """`open_core` for the launcher: a wrong setting ends the process with its sentence, and becomes `core()`."""
    logs.set_up()
    try:
        opened = open_core()
        opened.settings.oidc()  # what it needs and is missing ends the start, not the first sign-in
    except ConfigError as error:
        _stop(error)
    secrets = [
        *opened.gateway.secrets(),
        *opened.mcp.secrets(),
        opened.settings.secret_key,
        opened.settings.admin_password or "",
    ]
    logs.set_up(secrets=secrets, log_text=opened.settings.own.log_text)
    opened.gateway.spawn()
    use(opened)
    return opened


def use(core: Core | None) -> None:
    """Make `core` the process-wide instance."""
    global _core
    with _lock:
        _core = core


def core() -> Core:
    """The process-wide instance that the launcher opened."""
    assert _core is not None, "no Core is open: the launcher app.py opens it"
    return _core


def _stop(error: ConfigError) -> NoReturn:
    sys.stderr.write(f"Chatcore cannot start. {error}\n")
    sys.exit(2)
