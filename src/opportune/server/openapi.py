"""The OpenAPI 3.1 document, made from the route table and the wire types, so that it cannot lag."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import msgspec

from opportune.server.wire import ErrorBody

if TYPE_CHECKING:
    from opportune.server.routes import Route

_PARAMETER = re.compile(r"\{(?P<name>\w+)(?::\w+)?\}")

_TAGS = {
    "capture": "Events in, in the formats that clients already speak.",
    "decide": "Decisions out, each with its record.",
    "know": "What is known about a person.",
    "account": "What became of every event.",
    "operate": "The server itself.",
}

_REFUSALS = {
    "400": "Unreadable, too large, or of the wrong shape",
    "401": "No valid key",
    "403": "The key does not reach this far",
    "404": "Not found",
    "415": "Unknown content encoding",
    "429": "Too much at once; `Retry-After` says when to come back",
    "503": "The disk cannot be written right now; nothing acknowledged is lost",
}


def document(routes: Iterable[Route], version: str) -> dict[str, Any]:
    """The document as plain JSON values."""
    routes = list(routes)
    shapes = [shape for route in routes for shape in (route.request, route.response) if shape is not None]
    schemas, components = msgspec.json.schema_components(
        [*shapes, ErrorBody], ref_template="#/components/schemas/{name}"
    )
    by_shape = iter(schemas)
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        request = next(by_shape) if route.request is not None else None
        response = next(by_shape) if route.response is not None else None
        operation = _operation(route, request, response)
        paths.setdefault(plain_path(route.path), {})[route.method.lower()] = operation
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Opportune",
            "version": version,
            "description": "Events in, the right decision out, in a millisecond.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "tags": [{"name": name, "description": text} for name, text in _TAGS.items()],
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {
                "basic": {
                    "type": "http",
                    "scheme": "basic",
                    "description": "The key as user name, no password",
                },
                "bearer": {"type": "http", "scheme": "bearer", "description": "The key"},
                "apiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
            },
        },
    }


def plain_path(path: str) -> str:
    """The path without the router's converters.

    >>> plain_path("/v1/profiles/{identifier:path}")
    '/v1/profiles/{identifier}'
    """
    return _PARAMETER.sub(r"{\g<name>}", path)


def _operation(route: Route, request: Any, response: Any) -> dict[str, Any]:
    parameters: list[dict[str, Any]] = [
        {"name": match["name"], "in": "path", "required": True, "schema": {"type": "string"}}
        for match in _PARAMETER.finditer(route.path)
    ]
    parameters += [
        {"name": name, "in": "query", "required": False, "description": text, "schema": {"type": "string"}}
        for name, text in route.query.items()
    ]
    content = {route.produces: {"schema": response if response is not None else {"type": "string"}}}
    operation: dict[str, Any] = {
        "operationId": f"{route.method.lower()}{re.sub(r'[^a-zA-Z0-9]+', '_', plain_path(route.path))}".strip(
            "_"
        ),
        "tags": [route.tag],
        "summary": route.summary,
        "parameters": parameters,
        "responses": {"200": {"description": "Done", "content": content}},
    }
    if request is not None:
        operation["requestBody"] = {
            "required": route.body_required,
            "content": {kind: {"schema": request} for kind in route.consumes},
        }
    if route.access != "open":
        operation["security"] = [{"basic": []}, {"bearer": []}, {"apiKey": []}]
    refusal = {"application/json": {"schema": {"$ref": "#/components/schemas/ErrorBody"}}}
    for status, text in _REFUSALS.items():
        operation["responses"][status] = {"description": text, "content": refusal}
    return operation
