"""Numbers as people read them."""

import math
from decimal import Decimal


def usd(nano: int | None) -> str:
    """`$12.30`, `$0.0042`, `$1,234`; two significant digits below a cent; `unknown` for None."""
    if nano is None:
        return "unknown"
    value = Decimal(nano).scaleb(-9)
    if value == 0:
        return "$0"
    if abs(value) >= 1000:
        return f"${value:,.0f}"
    if abs(value) >= Decimal("0.00995"):
        return f"${value:,.2f}"
    return f"${value:.{1 - value.adjusted()}f}"


def exact_usd(nano: int | None) -> str:
    """`$12.30`, `$0.038572`: all digits that are known; `unknown` for None."""
    if nano is None:
        return "unknown"
    whole, _, digits = f"{Decimal(nano).scaleb(-9):,.9f}".partition(".")
    return f"${whole}.{digits.rstrip('0'):0<2}"


def compact(number: float) -> str:
    """`950`, `12.3k`, `4.56M`, `2.43B`: three significant digits."""
    for scale, suffix in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if abs(number) >= scale * 0.9995:
            value = number / scale
            return f"{value:.{max(0, 2 - int(math.log10(max(abs(value), 1))))}f}{suffix}"
    return f"{number:,.0f}"


def percent(share: float) -> str:
    """`34%`, `3.4%`, `<0.1%`."""
    if 0 < share < 0.001:
        return "<0.1%"
    return f"{share * 100:.0f}%" if share == 0 or share >= 0.0995 else f"{share * 100:.1f}%"


def seconds(milliseconds: int) -> str:
    """Milliseconds as seconds or minutes: 0.4 s, 12 s, 2 min 5 s."""
    if milliseconds < 9_950:
        return f"{milliseconds / 1000:.1f} s"
    minutes, rest = divmod(round(milliseconds / 1000), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def duration(milliseconds: float | None) -> str:
    """`340 ms`, `1.24 s`, `12.5 s`, `2 min 5 s`; `–` for None."""
    if milliseconds is None or math.isnan(milliseconds):
        return "–"
    if milliseconds < 999.5:
        return f"{milliseconds:.0f} ms"
    if milliseconds < 59_950:
        return f"{milliseconds / 1000:.{2 if milliseconds < 9_995 else 1}f} s"
    return seconds(round(milliseconds))


def whole(number: int) -> str:
    """A count with thin groups: 12,345."""
    return f"{number:,}"
