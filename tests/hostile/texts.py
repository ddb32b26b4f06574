"""The words of the hostile provider."""

from typing import Final

# Some need two, three or four bytes, so that a stream cut anywhere cuts them too.
FILLERS: Final = (
    "lorem", "ipsum", "dolor", "sit", "amet", "café", "naïve", "Größe", "数据", "🙂", "elit", "sed",
    "tempor", "magna", "quis", "aliqua",
)  # fmt: skip

THOUGHTS: Final = ("first", "weigh", "the", "facts,", "then", "look", "for", "what", "would", "prove", "it", "wrong;")

# What stands between the quotes of a JSON string: NUL, lone surrogates, an ANSI escape, a direction override, script.
CONTROL: Final = (
    rb"\u0000 \ud800 \udc00 \u001b[31m \u202e <script>alert(1)</script> "
    rb"<img src=x onerror=alert(2)> <b>bold</b> </div> [link](javascript:alert(3)) "
)

MARKDOWN: Final = r"""# A heading

Some **bold** text, some *italics*, `inline code`, and a [link](https://example.com).

## Code

```python
def area(radius: float) -> float:
    return 3.14159 * radius**2  # not $money$
```

## A table

| Name | Value | Note |
| :--- | ----: | :--: |
| one | 1 | a \| b |
| two | 22 | |

1. first
2. second
   - nested
   - list

> A quotation, with a price of $5 and another of $10.

The area is $A = \pi r^2$, and

$$
\int_0^1 x^2 \, dx = \frac{1}{3}
$$

The end.
"""

# A reply with a chart, a table and a component, and with blocks that are none of these.
BLOCKS: Final = """Here is the chart:

```chart
{"chart": "line", "title": "<b>Visits</b>", "x": ["Mon", "Tue"], "series": [{"name": "Visits", "values": [3, null]}]}
```

The table, then a metric:

```table
{"columns": ["Day", "Visits"], "rows": [["Mon", 3], ["Tue", null]]}
```
```component
{"name": "metric", "props": {"label": "Visits", "value": 3, "onclick": "alert(1)"}}
```

```chart
{"chart": "line", "x": [1], "series": [{"name": "broken", "values": [NaN]}]}
```

```python
print("an ordinary block")
```

```chart
{"chart": "bar", "x": ["never closed"
"""
