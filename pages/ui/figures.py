"""Numbers as people read them."""

from decimal import Decimal


def money(nano_usd: int) -> str:
    """Nano-USD as dollars with the digits that matter: $12.30, $0.042, $0.00031, $0."""
    dollars = Decimal(nano_usd) / Decimal(10**9)
    if dollars == 0:
        return "$0"
    if abs(dollars) >= 1:
        return f"${dollars:,.2f}"
    digits = 2 - dollars.adjusted() if abs(dollars) < Decimal("0.1") else 3
    return "$" + f"{dollars:.{min(digits, 9)}f}".rstrip("0")


def seconds(milliseconds: int) -> str:
    """Milliseconds as seconds or minutes: 0.4 s, 12 s, 2 min 5 s."""
    value = milliseconds / 1000
    if value < 10:
        return f"{value:.1f} s"
    if value < 60:
        return f"{value:.0f} s"
    return f"{value // 60:.0f} min {value % 60:.0f} s"


def whole(number: int) -> str:
    """A count with thin groups: 12,345."""
    return f"{number:,}"
