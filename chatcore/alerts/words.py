"""What alerts say: values in their units, and the sentences of notices."""

from datetime import timedelta

from chatcore.alerts.readings import Reading
from chatcore.alerts.rules import METRICS, Rule


def amount(metric: str, value: float) -> str:
    """A value or threshold of a metric: `7.3%`, `$12.50 an hour`, `5.2 s`, `12 a minute`."""
    unit = METRICS[metric].unit
    if unit == "%":
        return _percent(value)
    if unit == "US$ an hour":
        return f"${value:,.2f} an hour"
    digits = 0 if value >= 100 or value == int(value) else 1 if value >= 10 else 2
    number = f"{value:,.{digits}f}"
    return f"{number.rstrip('0').rstrip('.') if '.' in number else number} {unit}"


def _percent(value: float) -> str:
    """As the Usage page says it: `34%`, `3.4%`, `<0.1%`; a limit such as 12.5 is said as it was typed."""
    if 0 < value < 0.1:
        return "<0.1%"
    digits = 0 if value == 0 or value >= 9.95 else 1
    typed = round(value, 2) == value and round(value, digits) != value
    return f"{value:,.{digits}f}%" if not typed else f"{value:g}%"


def window(seconds: float) -> str:
    """What follows `the last`: `hour`, `5 minutes`."""
    return duration(seconds).removeprefix("1 ")


def duration(seconds: float) -> str:
    """`45 seconds`, `5 minutes`, `2 hours`, `3 days`."""
    for size, unit in ((86_400, "day"), (3600, "hour"), (60, "minute")):
        if seconds >= size * 2 or seconds == size:
            count = round(seconds / size)
            return f"{count} {unit}{'' if count == 1 else 's'}"
    return f"{round(seconds)} second{'' if round(seconds) == 1 else 's'}"


def broken(rule: Rule, reading: Reading, value: float) -> str:
    """What is wrong, in one sentence."""
    lately, limit = f"in the last {window(rule.window_seconds)}", amount(rule.metric, rule.threshold)
    said = amount(rule.metric, value)
    who = f"{reading.label}: " if reading.label else ""
    calls = f"{reading.calls:,} calls"
    match rule.metric:
        case "error_rate" | "provider_error_rate":
            what = f"{said} of {calls} failed {lately}"
        case "timeout_rate":
            what = f"{said} of {calls} timed out {lately}"
        case "cost_per_hour":
            what = f"{lately} calls cost as much as {said}"
        case "latency_p95":
            what = f"the slowest 5% of {calls} took {said} and more {lately}"
        case "ttft_p95":
            what = f"the slowest 5% of {calls} had their first word after {said} and more {lately}"
        case "refusals":
            what = f"{said} were refused {lately}"
        case _:
            what = f"{said} of the budget is spent"
    return f"{who}{what if who else what[0].upper() + what[1:]}; the limit is {limit}."


def aside(rule: Rule, subject: str) -> str:
    """What is done about a provider that fails."""
    again = duration(rule.cooldown_seconds)
    return f"Where another model can answer, {subject} is not asked for now; it is tried again in {again}."


def recovered(rule: Rule, label: str, value: float | None, peak: float, took: timedelta) -> str:
    """That it is over."""
    now = f" {amount(rule.metric, value)} now," if value is not None else " too few calls to tell more,"
    who = f"{label}: b" if label else "B"
    worst = amount(rule.metric, peak)
    return f"{who}ack to normal:{now} the worst was {worst}. It lasted {duration(max(took.total_seconds(), 0))}."
