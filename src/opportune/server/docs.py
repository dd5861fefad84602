"""The API's description: for machines at ``/openapi.json``, for people at ``/docs``."""

from __future__ import annotations

from functools import cache
from html import escape
from typing import Any

import msgspec

from opportune.server.call import Call, Reply, encode_json, json_reply
from opportune.server.openapi import document
from opportune.server.probes import VERSION
from opportune.server.service import Service

_POLICY = (b"content-security-policy", b"default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'")

_STYLE = """
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif }
body { max-width: 62rem; margin: 2rem auto; padding: 0 1rem }
table { border-collapse: collapse; width: 100% } td, th { text-align: left; padding: .35rem .6rem;
border-bottom: 1px solid #8886; vertical-align: top } code, pre { font: 14px/1.5 ui-monospace, monospace }
pre { overflow: auto; padding: .8rem; border: 1px solid #8886; border-radius: .4rem }
"""


@cache
def _document() -> dict[str, Any]:
    from opportune.server.routes import ROUTES  # the table names this module's handlers

    return document(ROUTES, VERSION)


def openapi_json(service: Service, call: Call) -> Reply:
    return json_reply(_document())


def page(service: Service, call: Call) -> Reply:
    return Reply(200, _page(), ((b"content-type", b"text/html; charset=utf-8"), _POLICY))


@cache
def _page() -> bytes:
    described = _document()
    sections = []
    for tag in described["tags"]:
        rows = [
            f"<tr><td><code>{method.upper()}</code><td><code>{escape(path)}</code>"
            f"<td>{escape(operation['summary'])}{_query(operation)}"
            for path, methods in described["paths"].items()
            for method, operation in methods.items()
            if tag["name"] in operation["tags"]
        ]
        sections.append(
            f"<h2>{escape(tag['name'].capitalize())}</h2><p>{escape(tag['description'])}</p>"
            "<table><thead><tr><th scope=col>Method<th scope=col>Path<th scope=col>What it does</thead>"
            f"<tbody>{''.join(rows)}</tbody></table>"
        )
    schemas = "".join(
        f"<details><summary><code>{escape(name)}</code></summary><pre>{_schema(schema)}</pre></details>"
        for name, schema in described["components"]["schemas"].items()
    )
    return (
        f"<!doctype html><html lang=en><meta charset=utf-8><title>Opportune API {escape(VERSION)}</title>"
        f"<meta name=viewport content='width=device-width'><style>{_STYLE}</style><main>"
        f"<h1>Opportune API {escape(VERSION)}</h1><p>For machines: <a href=/openapi.json>openapi.json</a>. "
        "Send the write key (capture, decisions) or the secret key (everything) as"
        " <code>Authorization: Bearer KEY</code>.</p>"
        f"{''.join(sections)}<h2>Shapes</h2>{schemas}</main></html>"
    ).encode()


def _query(operation: dict[str, Any]) -> str:
    names = [escape(parameter["name"]) for parameter in operation["parameters"] if parameter["in"] == "query"]
    return f"<br><small>query: {', '.join(names)}</small>" if names else ""


def _schema(schema: dict[str, Any]) -> str:
    return escape(msgspec.json.format(encode_json(schema), indent=2).decode())
