"""What a ledger row costs by the prices that hold now: where the gateway's prices and the ledger's rows meet."""

from datetime import datetime

from chatcore.config import Settings
from chatcore.db import Database
from chatcore.flags import Flags, FlagStore
from chatcore.gateway import Catalog, Prices
from chatcore.gateway.prices import Tokens, cost_nano_usd, prices_from
from chatcore.usage.repricing import PastCall, Price, PriceOf, Repriced, Repricing


def recompute(
    db: Database, settings: Settings, model: str | None, since: datetime | None, everything: bool, dry_run: bool
) -> Repriced:
    """`Repricing.recompute` by the config file, and by what tenants' admins have set. Raises `ConfigError`."""
    price_of = price_now(Catalog(settings), FlagStore(db, settings).now)
    return Repricing(db, price_of).recompute(model=model, since=since, everything=everything, dry_run=dry_run)


def price_now(catalog: Catalog, flags: Flags) -> PriceOf:
    """Prices a call as one that ended now would be: by its tenant's prices, else by those of its deployment."""

    def price_of(call: PastCall) -> Price | None:
        own = prices_from(flags.prices.get(call.tenant_id, {}).get(call.model, {}), "tenant")
        prices = own or _listed(catalog, call)
        cost = cost_nano_usd(_tokens(call), prices)
        return None if cost is None else Price(cost, prices.source, dict(prices.at(call.prompt_tokens)))

    return price_of


def _listed(catalog: Catalog, call: PastCall) -> Prices:
    """The prices of the deployment that was called; of the model's first where that is no longer listed."""
    listed = catalog.deployments(call.model)
    called = [model for model in listed if model.target == call.provider_model]
    return next((model.prices for model in (*called, *listed)), Prices())


def _tokens(call: PastCall) -> Tokens:
    return Tokens(
        prompt=call.prompt_tokens,
        cached=call.cached_tokens,
        cache_write=call.cache_write_tokens,
        completion=call.completion_tokens,
        reasoning=call.reasoning_tokens,
    )
