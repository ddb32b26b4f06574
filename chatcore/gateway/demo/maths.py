"""Arithmetic that the demo models really do: found in a sentence, worked out exactly, shown in LaTeX."""

import ast
import math
import operator
import re
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

_SPOKEN: Final = (
    (r"(\d)\s*[x×]\s*(?=[\d(])", r"\1*"),
    (r"÷", "/"),
    (r"[−–]", "-"),
    (r"\^", "**"),
    (r"\btimes\b|\bmultiplied by\b", "*"),
    (r"\bdivided by\b|\bover\b", "/"),
    (r"\bplus\b", "+"),
    (r"\bminus\b", "-"),
    (r"(\d+(?:\.\d+)?)\s*(?:%|percent)\s+of\s+", r"(\1/100)*"),
    (r"\bsquare root of\s+(\d+(?:\.\d+)?)", r"sqrt(\1)"),
    (r"(?<=\d),(?=\d{3}\b)", ""),
)
_EXPRESSION = re.compile(r"(?:sqrt\s*\(|[\d(.-])(?:[\d\s.+*/%()-]|sqrt)*[\d)]")
_QUADRATIC = re.compile(
    r"(?P<a>[+-]?\s*\d*)\s*x\s*(?:\^|\*\*)\s*2\s*(?:(?P<b>[+-]\s*\d*)\s*x)?\s*(?P<c>[+-]\s*\d+)?\s*=\s*0", re.I
)
_OPERATIONS: Final[dict[type[ast.operator], tuple[Callable[[Fraction, Fraction], Fraction], str]]] = {
    ast.Add: (operator.add, "+"),
    ast.Sub: (operator.sub, "-"),
    ast.Mult: (operator.mul, r"\times"),
    ast.Div: (operator.truediv, r"\div"),
    ast.FloorDiv: (lambda a, b: Fraction(a // b), r"\mathbin{//}"),
    ast.Mod: (operator.mod, r"\bmod"),
}
_LARGEST: Final = Fraction(10) ** 60


class NotArithmetic(ValueError):
    """There is no calculation here, or one too large to be meant."""


@dataclass(frozen=True)
class Sum:
    """A calculation: as it was asked, as LaTeX, and its result. `exact`: False where a root was rounded."""

    asked: str
    latex: str
    value: Fraction
    exact: bool

    @property
    def result(self) -> str:
        """The result in digits, at most 10 of them after the point."""
        return number(self.value)

    @property
    def relation(self) -> str:
        """`=`, or `\\approx` where the digits shown are not the whole truth."""
        return "=" if self.exact and Fraction(self.result) == self.value else r"\approx"


def number(value: Fraction) -> str:
    """Digits for a person: whole where it is whole, else rounded at the tenth place."""
    if value.denominator == 1:
        return str(value.numerator)
    return f"{float(value):.10f}".rstrip("0").rstrip(".")


def find_sum(text: str) -> Sum | None:
    """The first calculation in a sentence, worked out; None where there is none. `1/0` raises ZeroDivisionError."""
    for pattern, plain in _SPOKEN:
        text = re.sub(pattern, plain, text, flags=re.I)
    for found in _EXPRESSION.finditer(text):
        source = found.group().strip()
        if not _is_sum(source, text):
            continue
        try:
            return _work_out(source)
        except NotArithmetic:
            continue
    return None


def _is_sum(source: str, text: str) -> bool:
    """Whether it is meant as a calculation: `2024-11-20`, `5-10` and `24/7` in a sentence mostly are not."""
    if not re.search(r"[\d)]\s*(?:\*\*|[+*/%-])\s*[-\d(s.]|sqrt", source):
        return False
    if re.fullmatch(r"\d{4}-\d{1,2}-\d{1,2}", source):
        return False
    if re.fullmatch(r"[\d\s./-]+", source):
        alone = text.strip(" =?.!\n") == source.strip(" .")
        return alone or bool(re.search(r"\b(?:what(?:'s| is)|calc\w*|compute|how much is)\b|=\s*\??\s*$", text, re.I))
    return True


def _work_out(source: str) -> Sum:
    try:
        tree = ast.parse(source, mode="eval").body
    except (SyntaxError, RecursionError, MemoryError) as error:
        raise NotArithmetic(source) from error
    value, latex, exact = _evaluate(tree, 0)
    return Sum(source, latex, value, exact)


def _evaluate(node: ast.expr, depth: int) -> tuple[Fraction, str, bool]:
    if depth > 40:
        raise NotArithmetic("nested too deep")
    match node:
        case ast.Constant(value=int() | float() as plain) if not isinstance(plain, bool):
            return _bounded(Fraction(str(plain))), str(plain), True
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            value, latex, exact = _evaluate(operand, depth + 1)
            return -value, f"-{latex}", exact
        case ast.Call(func=ast.Name(id="sqrt"), args=[argument], keywords=[]):
            value, latex, exact = _evaluate(argument, depth + 1)
            root, perfect = _root(value)
            return root, rf"\sqrt{{{latex}}}", exact and perfect
        case ast.BinOp(left=left, op=op, right=right):
            return _combine(_evaluate(left, depth + 1), op, _evaluate(right, depth + 1), left, right)
    raise NotArithmetic(ast.dump(node))


def _combine(
    a: tuple[Fraction, str, bool], op: ast.operator, b: tuple[Fraction, str, bool], left: ast.expr, right: ast.expr
) -> tuple[Fraction, str, bool]:
    exact = a[2] and b[2]
    left_tex = f"({a[1]})" if isinstance(left, ast.BinOp) and not isinstance(op, ast.Add | ast.Sub) else a[1]
    right_tex = f"({b[1]})" if isinstance(right, ast.BinOp | ast.UnaryOp) else b[1]
    if isinstance(op, ast.Pow):
        if b[0].denominator != 1 or abs(b[0]) > 200 or abs(a[0]) > 10**6:
            raise NotArithmetic("too large a power")
        if a[0] == 0 and b[0] < 0:
            raise ZeroDivisionError
        return _bounded(Fraction(a[0] ** int(b[0]))), f"{{{left_tex}}}^{{{b[1]}}}", exact
    if type(op) not in _OPERATIONS:
        raise NotArithmetic("an operation that is not arithmetic")
    function, symbol = _OPERATIONS[type(op)]
    return _bounded(function(a[0], b[0])), f"{left_tex} {symbol} {right_tex}", exact


def _bounded(value: Fraction) -> Fraction:
    if abs(value) > _LARGEST or value.denominator > _LARGEST:
        raise NotArithmetic("too large")
    return value


def _root(value: Fraction) -> tuple[Fraction, bool]:
    if value < 0:
        raise NotArithmetic("the root of a negative number")
    top, bottom = math.isqrt(value.numerator), math.isqrt(value.denominator)
    if top**2 == value.numerator and bottom**2 == value.denominator:
        return Fraction(top, bottom), True
    return Fraction(math.sqrt(value)).limit_denominator(10**12), False


def multiplication_steps(text: str) -> list[str]:
    """Partial products of a plain `a*b` of whole numbers, as LaTeX lines; empty for anything else."""
    found = re.fullmatch(r"(\d{1,6})\s*\*\s*(\d{2,6})", text.strip())
    if not found:
        return []
    a, b = int(found.group(1)), int(found.group(2))
    parts = [int(digit) * 10**place for place, digit in enumerate(reversed(str(b))) if digit != "0"][::-1]
    if len(parts) < 2:
        return []
    split = " + ".join(rf"{a} \times {part}" for part in parts)
    return [rf"{a} \times {b} &= {split}", rf"&= {' + '.join(str(a * part) for part in parts)}", f"&= {a * b}"]


def solve_quadratic(text: str) -> str | None:
    """The worked solution of the first `ax^2 + bx + c = 0` in a text, as LaTeX lines; None where there is none."""
    found = _QUADRATIC.search(text)
    if not found:
        return None
    a, b, c = (_coefficient(found.group(name), default) for name, default in (("a", 1), ("b", 0), ("c", 0)))
    if a == 0:
        return None
    under = b * b - 4 * a * c
    lines = [rf"\Delta &= b^2 - 4ac = ({b})^2 - 4 \cdot ({a}) \cdot ({c}) = {under}"]
    if under < 0:
        lines.append(rf"x &= \frac{{{-b} \pm i\sqrt{{{-under}}}}}{{{2 * a}}}")
    else:
        root, exact = _root(Fraction(under))
        low, high = sorted(((-b - root) / (2 * a), (-b + root) / (2 * a)))
        lines.append(rf"x &= \frac{{{-b} \pm \sqrt{{{under}}}}}{{{2 * a}}}")
        sign = "=" if exact and all(Fraction(number(x)) == x for x in (low, high)) else r"\approx"
        lines.append(rf"x_1 &{sign} {number(low)}, \qquad x_2 {sign} {number(high)}")
    return " \\\\\n".join(lines)


def _coefficient(text: str | None, default: int) -> int:
    text = (text or "").replace(" ", "")
    if text in {"", "+", "-"}:
        signed = {"": default, "+": 1, "-": -1}
        return signed[text]
    return int(text)
