"""What a query may be made of. Everything that is not named here is refused, so what a new version of the parser or of
a database can do is refused too."""

from typing import Final

from sqlglot import exp

NODES: Final[frozenset[type[exp.Expr]]] = frozenset({
    exp.Select, exp.Union, exp.Intersect, exp.Except, exp.Subquery, exp.With, exp.CTE, exp.From, exp.Join, exp.Where,
    exp.Group, exp.Having, exp.Order, exp.Ordered, exp.Limit, exp.Offset, exp.Fetch, exp.Distinct, exp.Values,
    exp.GroupingSets, exp.Cube, exp.Rollup, exp.Table, exp.TableAlias, exp.Column, exp.Identifier, exp.Star, exp.Alias,
    exp.Literal, exp.Null, exp.Boolean, exp.Paren, exp.Tuple, exp.Interval, exp.Var, exp.DataType, exp.DataTypeParam,
    exp.And, exp.Or, exp.Not, exp.EQ, exp.NEQ, exp.GT, exp.GTE, exp.LT, exp.LTE, exp.NullSafeEQ, exp.NullSafeNEQ,
    exp.Is, exp.In, exp.Between, exp.Like, exp.ILike, exp.Glob, exp.SimilarTo, exp.RegexpLike, exp.RegexpILike,
    exp.Escape, exp.Exists, exp.Any, exp.All,
    exp.Add, exp.Sub, exp.Mul, exp.Div, exp.IntDiv, exp.Mod, exp.Neg, exp.DPipe, exp.BitwiseAnd, exp.BitwiseOr,
    exp.Window, exp.WindowSpec, exp.Filter, exp.WithinGroup, exp.AtTimeZone, exp.Case, exp.If, exp.Cast,
    exp.TryCast, exp.JSONPath, exp.JSONPathKey, exp.JSONPathRoot, exp.JSONPathSubscript, exp.LimitOptions,
})  # fmt: skip
"""The nodes of a syntax tree that are no functions."""

FUNCTIONS: Final[frozenset[type[exp.Expr]]] = frozenset({
    exp.Abs, exp.Avg, exp.Ceil, exp.Coalesce, exp.Concat, exp.ConcatWs, exp.Corr, exp.Count, exp.CumeDist,
    exp.CurrentDate, exp.CurrentTime, exp.CurrentTimestamp, exp.Date, exp.DateAdd, exp.DateDiff, exp.DateSub,
    exp.DateTrunc, exp.Day, exp.DayOfMonth, exp.DayOfWeek, exp.DayOfYear, exp.DenseRank, exp.Exp, exp.Extract,
    exp.FirstValue, exp.Floor, exp.Greatest, exp.GroupConcat, exp.Hour, exp.Initcap, exp.JSONBExtract,
    exp.JSONBExtractScalar, exp.JSONExtract, exp.JSONExtractScalar, exp.Lag, exp.LastValue, exp.Lead, exp.Least,
    exp.Left, exp.Length, exp.Ln, exp.Log, exp.Lower, exp.MakeInterval, exp.Max, exp.Median, exp.Min, exp.Minute,
    exp.Mode, exp.Month, exp.NthValue, exp.Ntile, exp.Nullif, exp.PercentRank, exp.PercentileCont,
    exp.PercentileDisc, exp.Pow, exp.Quarter, exp.Rank, exp.Replace, exp.Reverse, exp.Right, exp.Round,
    exp.RowNumber, exp.Second, exp.Sign, exp.SplitPart, exp.Sqrt, exp.Stddev, exp.StddevPop, exp.StddevSamp,
    exp.StrPosition, exp.StrToDate, exp.StrToTime, exp.Substring, exp.Sum, exp.Time, exp.TimeStrToTime,
    exp.TimeToStr, exp.Timestamp, exp.TimestampAdd, exp.TimestampSub, exp.TimestampTrunc, exp.Trim, exp.Trunc,
    exp.TsOrDsAdd, exp.TsOrDsToDate, exp.TsOrDsToTime, exp.TsOrDsToTimestamp, exp.Typeof, exp.Unicode, exp.Upper,
    exp.Variance, exp.VariancePop, exp.Week, exp.WeekOfYear, exp.WidthBucket, exp.Year, exp.ToChar, exp.ToNumber,
    exp.Chr, exp.Ascii, exp.Cbrt, exp.RegrSlope, exp.RegrIntercept, exp.LogicalAnd, exp.LogicalOr, exp.UnixToTime,
    exp.ArrayAgg, exp.Array, exp.ArrayContainsAll, exp.Collate, exp.JSONBContains, exp.JSONBContainsTopKey,
    exp.JSONType, exp.Localtimestamp, exp.MD5, exp.RegexpReplace,
})  # fmt: skip
"""Functions that the parser knows by a name of its own. None that makes much out of little (`repeat`, `lpad`), that
looks at the server, that has an effect or that reads a file."""

BY_NAME: Final[dict[str, frozenset[str]]] = {
    "sqlite": frozenset({
        "date", "time", "datetime", "julianday", "strftime", "unixepoch", "total", "ifnull", "instr", "substr",
        "json_array_length", "json_type", "json_valid", "ltrim", "rtrim", "iif", "log10", "log2",
    }),
    "postgres": frozenset({
        "age", "date_part", "to_date", "to_timestamp", "jsonb_array_length", "json_array_length", "json_typeof",
        "jsonb_typeof", "jsonb_extract_path_text", "json_extract_path_text", "div", "bool_and", "bool_or", "every",
        "btrim", "ltrim", "rtrim", "starts_with", "justify_days", "justify_hours", "justify_interval", "make_date",
        "num_nonnulls", "num_nulls", "log10",
    }),
}  # fmt: skip
"""Those that it does not, by the dialect."""

NAMES: Final = frozenset(kind.sql_name().lower() for kind in FUNCTIONS if issubclass(kind, exp.Func))
"""What the functions of the first kind are called in SQL."""

TYPES: Final = frozenset({
    "BIGINT", "BOOLEAN", "CHAR", "DATE", "DATETIME", "DECIMAL", "DOUBLE", "FLOAT", "INT", "INTERVAL", "JSON", "JSONB",
    "NCHAR", "NVARCHAR", "SMALLINT", "TEXT", "TIME", "TIMETZ", "TIMESTAMP", "TIMESTAMPTZ", "TIMESTAMPNTZ",
    "TIMESTAMPLTZ", "TINYINT", "UUID", "VARCHAR", "BIGDECIMAL", "UBIGINT", "UINT",
})  # fmt: skip
"""Types that something may be cast to: none that looks a name up in the catalog, as `regclass` does."""
