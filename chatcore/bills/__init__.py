"""Bills: a provider's usage CSV, beside the ledger.

`formats` reads what providers and gateways hand out, `ledger` what the ledger has for the same days, `reconcile` sets
them side by side, and `reasons` says what explains a difference. `Bills` is the facade.
"""

from chatcore.bills.reconcile import Bills

__all__ = ["Bills"]
