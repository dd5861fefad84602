"""Requests to an ASGI application without a network, as plain calls."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import httpx


class Client:
    """Keeps cookies from call to call, as a browser does. Redirects are not followed."""

    def __init__(self, app: Any, root_path: str = "") -> None:
        self._transport = httpx.ASGITransport(app=app, root_path=root_path)
        self.cookies = httpx.Cookies()

    def get(self, path: str, **options: Any) -> httpx.Response:
        return self.send("GET", path, **options)

    def post(self, path: str, form: Mapping[str, str], **options: Any) -> httpx.Response:
        return self.send("POST", path, data=dict(form), **options)

    def send(self, method: str, path: str, **options: Any) -> httpx.Response:
        async def call() -> httpx.Response:
            async with httpx.AsyncClient(
                transport=self._transport, base_url="http://shop.test", cookies=self.cookies
            ) as client:
                response = await client.request(method, path, **options)
                self.cookies = client.cookies
                return response

        return asyncio.run(call())
