"""Why a bill and the ledger differ, in words, in the order in which one would look."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from chatcore.bills.ledger import LEFT_OUT, Part
from chatcore.bills.values import Figures, Kind, Reason, dollars

_DOUBTFUL: Final[tuple[Kind, ...]] = ("estimated", "unpriced", "unsettled")
_IN_LEDGER: Final[tuple[Kind, ...]] = (*_DOUBTFUL, "failed", *LEFT_OUT)
_EXPLAIN_NOTHING: Final = frozenset({"failed", "cached", "demo"})  # neither tokens nor money of a bill


@dataclass(frozen=True)
class Side:
    """What is known of the bill's rows behind a line. `step`: the unit its amounts are rounded to, in nano-USD."""

    says: frozenset[str]
    rows: int = 0
    step: int = 0
    credits: int = 0
    credited_nano_usd: int = 0


def agree(bill: Figures, ledger: Figures, says: frozenset[str], calls: int) -> bool:
    """Whether tokens and money are the same, as far as the bill says them.

    The ledger rounds each call to the nano-dollar, a bill each row or not at all: they may be that far apart.
    """
    apart = bill - ledger
    tokens = "tokens" not in says or (apart.prompt == 0 and apart.completion == 0)
    cached = "cached" not in says or apart.cached == 0
    money = "money" not in says or (apart.nano_usd is not None and abs(apart.nano_usd) <= calls)
    return tokens and cached and money


def explain(
    bill: Figures | None, ledger: Figures | None, parts: Mapping[Kind, Part], side: Side, days_only: bool = False
) -> tuple[Reason, ...]:
    """What explains a difference. `days_only`: the sums agree, only their days do not."""
    found = [_of_part(kind, parts[kind]) for kind in _IN_LEDGER if kind in parts]
    if bill is None:
        found.append(Reason("only_ledger", "Only the ledger has it: the bill may be of another key or project."))
    elif ledger is None:
        words = "Only the bill has it: another program or tenant may use the key, or the model has another name here."
        found.append(Reason("only_bill", words))
    elif days_only:
        words = (
            "The sums agree, only the days differ: the bill may count days of another time zone, or by a call's end."
        )
        found.append(Reason("days", words))
    else:
        found += _of_money(bill, ledger, side, {reason.kind for reason in found})
    if not {reason.kind for reason in found} - _EXPLAIN_NOTHING:
        found.append(_unexplained(bill or Figures(), ledger or Figures()))
    return tuple(found)


def doubts(parts: Mapping[Kind, Part]) -> tuple[Reason, ...]:
    """The calls in the sums whose tokens or price are uncertain."""
    return tuple(_of_part(kind, parts[kind]) for kind in _DOUBTFUL if kind in parts)


def left_out(parts: Mapping[Kind, Part]) -> tuple[Reason, ...]:
    """The calls that are on no such bill."""
    return tuple(_of_part(kind, parts[kind]) for kind in LEFT_OUT if kind in parts)


def _of_money(bill: Figures, ledger: Figures, side: Side, found: set[Kind]) -> list[Reason]:
    """Where both sides have the model: credits, rounding, and prices where the tokens agree."""
    reasons = []
    if side.credits:
        words = f"The bill has {_many(side.credits, 'credit')}, {dollars(side.credited_nano_usd)} in all."
        reasons.append(Reason("credits", words, side.credits, nano_usd=side.credited_nano_usd))
    apart = bill - ledger
    tokens_agree = apart.prompt == 0 and apart.completion == 0
    if tokens_agree and apart.cached:
        words = f"The tokens agree, but {abs(apart.cached):,} are cached ones on one side only, which cost less."
        reasons.append(Reason("split", words, tokens=abs(apart.cached)))
    if not apart.nano_usd:
        return reasons
    bound = side.rows * side.step // 2
    if abs(apart.nano_usd) <= bound:
        words = f"The bill rounds each amount to {dollars(side.step)}: its {_many(side.rows, 'row')} can be off by "
        reasons.append(Reason("rounding", f"{words}{dollars(bound)}."))
    elif tokens_agree and not apart.cached and "unpriced" not in found and not side.credits:
        reasons.append(Reason("price", "The tokens agree, so it is the price: compare it with the provider's list."))
    return reasons


def _of_part(kind: Kind, part: Part) -> Reason:
    calls, tokens, cost = _many(part.calls, "call"), f"{part.tokens:,} tokens", dollars(part.nano_usd)
    have = "has" if part.calls == 1 else "have"
    words = {
        "estimated": f"{calls} {have} tokens that we counted, as the provider did not report any ({tokens}, {cost}).",
        "unpriced": f"{calls} {have} no known price, so the ledger's money lacks them ({tokens}).",
        "unsettled": f"{calls} broke off or still run: the provider may bill more than we saw ({tokens}, {cost}).",
        "failed": f"{calls} failed before any token came and are not counted as requests.",
        "keys": f"{calls} went over other keys, which are on another bill ({tokens}, {cost}).",
        "cached": f"{calls} came from our cache and asked nobody ({tokens}).",
        "demo": f"{calls} of demo data are left out ({tokens}, {cost}).",
    }[kind]
    return Reason(kind, words, part.calls, part.tokens, part.nano_usd)


def _unexplained(bill: Figures, ledger: Figures) -> Reason:
    more = _weight(bill) > _weight(ledger)
    why = (
        "another program or tenant may use the same key"
        if more
        else "the bill may be of one key or project, or not complete"
    )
    return Reason("unexplained", f"Nothing in the ledger explains it: {why}.")


def _weight(side: Figures) -> int:
    return side.nano_usd if side.nano_usd is not None else side.tokens or 0


def _many(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"
