"""The page of the server: what can be asked, from its OpenAPI document. No script, and nothing from elsewhere."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

STYLE = """body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1a1a1a;background:#fff}
code{font:14px ui-monospace,monospace}table{border-collapse:collapse;width:100%}th,td{text-align:left;vertical-align:top;padding:.3rem .6rem;border-bottom:1px solid #ccc}
@media(prefers-color-scheme:dark){body{color:#e8e8e8;background:#161616}a{color:#9cf}td,th{border-color:#444}}"""


def page(document: Mapping[str, Any]) -> str:
    """HTML of an OpenAPI document that FastAPI wrote."""
    title = escape(document["info"]["title"])
    parts = [f"<h1>{title}</h1><p>{escape(document['info'].get('description', ''))}</p>"]
    parts.append('<p>The same for programs: <a href="openapi.json">openapi.json</a>.</p>')
    for path, methods in document["paths"].items():
        for method, said in methods.items():
            parts.append(f"<h2><code>{method.upper()} {escape(path)}</code></h2><p>{escape(said.get('description', ''))}</p>")
            body = said.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {})
            parts.extend(_table(document, shape) for shape in _shapes(document, body))
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{title}</title><style>{STYLE}</style>'
    return f'<!doctype html><html lang="en"><head>{head}</head><body><main>{"".join(parts)}</main></body></html>'


def _shapes(document: Mapping[str, Any], schema: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The objects that a schema allows."""
    if "$ref" in schema:
        yield from _shapes(document, document["components"]["schemas"][schema["$ref"].rpartition("/")[2]])
    for choice in schema.get("anyOf", schema.get("oneOf", ())):
        yield from _shapes(document, choice)
    if "properties" in schema:
        yield schema


def _table(document: Mapping[str, Any], shape: Mapping[str, Any]) -> str:
    needed = shape.get("required", ())
    rows = "".join(
        f"<tr><td><code>{escape(name)}</code></td><td>{'yes' if name in needed else ''}</td><td>{escape(_type(document, field))}</td>"
        f"<td>{escape(field.get('description', ''))}</td></tr>"
        for name, field in shape["properties"].items()
    )
    return f"<p>{escape(shape.get('description', ''))}</p><table><tr><th>field<th>needed<th>type<th>meaning</tr>{rows}</table>"


def _type(document: Mapping[str, Any], field: Mapping[str, Any]) -> str:
    if "$ref" in field:
        name = field["$ref"].rpartition("/")[2]
        inner = document["components"]["schemas"][name]
        return "{" + ", ".join(inner["properties"]) + "}" if "properties" in inner else name
    if "anyOf" in field:
        return " or ".join(dict.fromkeys(_type(document, choice) for choice in field["anyOf"]))
    if field.get("type") == "array":
        most = f", at most {field['maxItems']}" if "maxItems" in field else ""
        return f"list of ({_type(document, field['items'])}){most}"
    if "properties" in field:
        return "{" + ", ".join(field["properties"]) + "}"
    return str(field.get("type", "any"))
