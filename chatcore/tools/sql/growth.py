"""How much larger a query becomes than it looks.

A database puts a subquery's expressions in the place of its columns' names. Where each level names a column twice, the
whole is doubled by each level: twenty short levels fill a server's memory before it looks at any limit of time.
"""

from collections.abc import Iterator, Mapping
from typing import Final

from sqlglot import exp

_TEXT: Final = (exp.DPipe, exp.Concat, exp.ConcatWs, exp.Replace, exp.RegexpReplace)
_NONE: Final[Mapping[str, int]] = {}
_FENCES: Final = ("group", "distinct", "limit", "having")


def growth(query: exp.Expr, known: Mapping[str, int] = _NONE) -> int:
    """How many times a column of a table may stand in one column of the query, at most. `known`: the same of the WITH
    queries around it, by name in lower case."""
    while isinstance(query, exp.Subquery):
        query = query.this
    ctes = dict(known)
    if with_ := query.args.get("with_"):
        for cte in with_.expressions:
            ctes[cte.alias.lower()] = growth(cte.this, ctes)
    if isinstance(query, exp.SetOperation):
        return max(growth(query.left, ctes), growth(query.right, ctes))
    return _factor(query) * max([1, *_sources(query, ctes)])


def _sources(query: exp.Expr, ctes: Mapping[str, int]) -> Iterator[int]:
    """Of what stands directly in it: WITH queries that it names, and queries inside it."""
    for node in query.walk(prune=lambda node: isinstance(node, exp.With) or _is_inner(node, query)):
        if _is_inner(node, query):
            yield growth(node, ctes)
        elif isinstance(node, exp.Table):
            yield ctes.get(node.name.lower(), 1)


def _is_inner(node: exp.Expr, query: exp.Expr) -> bool:
    return isinstance(node, exp.Query) and node is not query


def _factor(query: exp.Expr) -> int:
    """The most columns in one column of it. Where a query is worked out by itself, because it groups or numbers its
    rows, only those count that make a text longer."""
    fenced = any(query.args.get(name) for name in _FENCES) or query.find(exp.AggFunc, exp.Window) is not None
    return max([1, *(_named(one, text_only=fenced) for one in query.expressions)])


def _named(expression: exp.Expr, *, text_only: bool) -> int:
    columns = expression.find_all(exp.Column)
    return sum(1 for column in columns if not text_only or column.find_ancestor(*_TEXT) is not None)
