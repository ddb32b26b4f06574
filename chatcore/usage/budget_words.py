"""What is said where a budget refuses: of one's own with its amounts, of a shared one without, as these tell what
others spent."""

from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

from chatcore.errors import BudgetExceeded
from chatcore.usage.budget_rows import Counted, end_of


def exceeded(budget: Counted, left: int, nano: int) -> BudgetExceeded:
    """`nano`, what something may cost at most, is more than what is `left` (nano-USD)."""
    again, most = end_of(budget.period, budget.starts_at), _usd(nano, ROUND_CEILING)
    if budget.scope == "user":
        lacks = f"has {_usd(left, ROUND_FLOOR)} left, and this may cost up to {most}"
    else:
        lacks = f"has less left than this may cost, which is up to {most}"
    return BudgetExceeded(
        f"{_whose(budget)} {lacks}. "
        f"Choose a cheaper model, ask an admin for more, or try again on {again.day} {again:%B} (UTC)."
    )


def unpriced(budget: Counted) -> BudgetExceeded:
    """A hard budget and a model without a price."""
    return BudgetExceeded(
        f"This model has no known price, so it cannot be used within a budget. {_whose(budget)} is a hard one: "
        "choose another model, or ask an admin to set a price."
    )


def _whose(budget: Counted) -> str:
    match budget.scope:
        case "user":
            return f"Your budget of {_usd(budget.amount, ROUND_FLOOR)} a {budget.period}"
        case "team":
            return f"The {budget.period}'s budget of the team {budget.scope_id}"
    return f"The {budget.period}'s budget that everybody here shares"


def _usd(nano: int, rounding: str) -> str:
    """`$1.25`; two significant digits below a cent, so that small amounts are not all the same."""
    value = Decimal(nano).scaleb(-9)
    digits = 2 if not value or value >= Decimal("0.01") else min(1 - value.adjusted(), 9)
    return f"${value.quantize(Decimal(1).scaleb(-digits), rounding):,f}"
