"""The OpenAPI document as one page to read: no script, nothing from elsewhere, light and dark, wide and narrow."""

import json
from collections.abc import Iterator, Mapping
from html import escape
from typing import Any, Final

POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
_STYLE: Final = """
:root { color-scheme: light dark; --line: #8884; --soft: #8882; --accent: light-dark(#0b57d0, #8ab4f8); }
body { font: 16px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 56rem; padding: 1rem 1rem 4rem; }
h1 { margin: 1rem 0 0; } h2 { margin-top: 2.5rem; border-bottom: 1px solid var(--line); }
a { color: var(--accent); } nav ul { columns: 20rem 2; padding-left: 1.2rem; }
article { border: 1px solid var(--line); border-radius: .6rem; margin: 1rem 0; padding: .2rem 1rem 1rem; }
article h3 { overflow-wrap: anywhere; font-size: 1rem; } .method { color: var(--accent); font-weight: 700; }
code, pre { font: .85rem/1.5 ui-monospace, monospace; background: var(--soft); border-radius: .3rem; }
code { padding: .1rem .3rem; overflow-wrap: anywhere; } pre { padding: .7rem; overflow-x: auto; }
.wide { overflow-x: auto; } table { border-collapse: collapse; width: 100%; font-size: .9rem; }
th, td { text-align: left; vertical-align: top; padding: .3rem .6rem .3rem 0; border-top: 1px solid var(--line); }
"""
_METHODS: Final = ("get", "post", "put", "patch", "delete")


def render(document: Mapping[str, Any]) -> str:
    """The page."""
    listed = list(_operations(document))
    groups: dict[str, list[tuple[str, str, dict[str, Any]]]] = {}
    for method, path, operation in listed:
        groups.setdefault((operation.get("tags") or ["Other"])[0], []).append((method, path, operation))
    links = "".join(
        f'<li><a href="#{_anchor(method, path)}">{escape(operation.get("summary", path))}</a></li>'
        for method, path, operation in listed
    )
    body = "".join(
        f"<section><h2>{escape(group)}</h2>{''.join(_article(document, *one) for one in found)}</section>"
        for group, found in groups.items()
    )
    about = escape(document["info"].get("description", "")).replace("`", "")
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><title>Chatcore API</title>'
        f"<style>{_STYLE}</style></head><body><main><h1>Chatcore API</h1><p>{about}</p>"
        '<p>The same for machines: <a href="openapi.json">openapi.json</a> (OpenAPI 3.1).</p>'
        f'<nav aria-label="Operations"><ul>{links}</ul></nav>{body}</main></body></html>'
    )


def _operations(document: Mapping[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, operations in document.get("paths", {}).items():
        for method in _METHODS:
            if method in operations:
                yield method, path, operations[method]


def _anchor(method: str, path: str) -> str:
    return escape(f"{method}{path}".replace("/", "-").replace("{", "").replace("}", ""), quote=True)


def _article(document: Mapping[str, Any], method: str, path: str, operation: Mapping[str, Any]) -> str:
    schema = _body_schema(document, operation)
    said = f"<p>{_text(operation['description'])}</p>" if operation.get("description") else ""
    query = [
        (one["name"], one["schema"], bool(one.get("required")), one.get("description", ""))
        for one in operation.get("parameters", ())
    ]
    fields = [
        (name, one, name in schema.get("required", ()), one.get("description", ""))
        for name, one in schema.get("properties", {}).items()
    ]
    return (
        f'<article id="{_anchor(method, path)}"><h3><span class="method">{method.upper()}</span> '
        f"<code>{escape(path)}</code></h3><p><strong>{escape(operation.get('summary', ''))}</strong></p>{said}"
        f"{_table(document, 'Parameters', query)}{_table(document, 'Body', fields)}"
        f"<pre><code>{escape(_curl(document, method, path, schema))}</code></pre></article>"
    )


def _text(said: str) -> str:
    """Text with `code` in it."""
    pieces = escape(said).split("`")
    return "".join(f"<code>{piece}</code>" if number % 2 else piece for number, piece in enumerate(pieces))


def _body_schema(document: Mapping[str, Any], operation: Mapping[str, Any]) -> dict[str, Any]:
    content: dict[str, dict[str, Any]] = operation.get("requestBody", {}).get("content", {})
    kinds = [*content.values(), {}]
    return _resolved(document, kinds[0].get("schema", {}))


def _resolved(document: Mapping[str, Any], schema: Mapping[str, Any]) -> dict[str, Any]:
    if "$ref" not in schema:
        return dict(schema)
    found: dict[str, Any] = document["components"]["schemas"][schema["$ref"].rsplit("/", 1)[1]]
    return found


def _table(document: Mapping[str, Any], title: str, rows: list[tuple[str, dict[str, Any], bool, str]]) -> str:
    if not rows:
        return ""
    lines = "".join(
        f"<tr><td><code>{escape(name)}</code>{' (required)' if required else ''}</td>"
        f"<td>{escape(_kind(document, schema))}</td><td>{_text(said or schema.get('description', ''))}</td></tr>"
        for name, schema, required, said in rows
    )
    head = "<tr><th>Name</th><th>Type</th><th></th></tr>"
    return f'<h4>{title}</h4><div class="wide"><table><thead>{head}</thead><tbody>{lines}</tbody></table></div>'


def _kind(document: Mapping[str, Any], schema: Mapping[str, Any]) -> str:
    if "$ref" in schema:
        return str(_resolved(document, schema).get("title", "object"))
    if several := schema.get("anyOf") or schema.get("oneOf"):
        return " or ".join(dict.fromkeys(_kind(document, one) for one in several))
    if "enum" in schema:
        return " | ".join(str(one) for one in schema["enum"])
    if "const" in schema:
        return str(schema["const"])
    if schema.get("type") == "array":
        return f"list of {_kind(document, schema.get('items', {}))}"
    return f"{schema.get('type', 'any')}{_bounds(schema)}"


def _bounds(schema: Mapping[str, Any]) -> str:
    least = schema.get("minimum", schema.get("minLength"))
    most = schema.get("maximum", schema.get("maxLength"))
    if least is None and most is None:
        return ""
    return f", {'' if least is None else least}–{'' if most is None else most}"


def _curl(document: Mapping[str, Any], method: str, path: str, schema: Mapping[str, Any]) -> str:
    lines = [f"curl -H 'Authorization: Bearer ck_…' \\\n  {_server(document)}{path}"]
    if method != "get":
        lines[0] = lines[0].replace("curl ", f"curl -X {method.upper()} ", 1)
    if schema.get("properties"):
        example = (schema.get("examples") or [{}])[0]
        lines.append(f"  -H 'Content-Type: application/json' \\\n  -d '{json.dumps(example, ensure_ascii=False)}'")
    return " \\\n".join(lines)


def _server(document: Mapping[str, Any]) -> str:
    url = str(document["servers"][0]["url"]).rstrip("/")
    return url if url.startswith("http") else "https://chat.example.com"
