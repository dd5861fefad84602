"""A shopper's browser: one HTTP connection that is kept open."""

from __future__ import annotations

import http.client
import json
from base64 import b64encode
from typing import Any
from urllib.parse import urlsplit

TIMEOUT_S = 5.0


class Client:
    """Posts JSON with a write key, as the tracking libraries do."""

    def __init__(self, base_url: str, write_key: str) -> None:
        address = urlsplit(base_url)
        self._connection = http.client.HTTPConnection(
            address.hostname or "127.0.0.1", address.port or 80, timeout=TIMEOUT_S
        )
        token = b64encode(f"{write_key}:".encode()).decode()
        self._headers = {"authorization": f"Basic {token}", "content-type": "application/json"}

    def close(self) -> None:
        self._connection.close()

    def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """The answer, empty when it was refused. Raises ``OSError`` or ``http.client.HTTPException`` when the
        server is away."""
        text = json.dumps(body)
        try:
            self._connection.request("POST", path, text, self._headers)
            response = self._connection.getresponse()
        except (http.client.RemoteDisconnected, ConnectionError):
            # The server closes idle connections; once more on a new one.
            self._connection.close()
            self._connection.request("POST", path, text, self._headers)
            response = self._connection.getresponse()
        data = response.read()
        if response.status != 200:
            return {}
        answer = json.loads(data)
        return answer if isinstance(answer, dict) else {}
