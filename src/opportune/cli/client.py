"""A small HTTP client for a running server: one kept connection, patience with 429, errors as our own."""

from __future__ import annotations

import base64
import http.client
import time
from typing import Any
from urllib.parse import urlsplit

import msgspec

from opportune.errors import InvalidRequest, OpportuneError

TRIES = 5
TIMEOUT_S = 60.0
_RETRIED = (408, 429, 503)


class NoAnswerError(OpportuneError):
    """The server does not answer."""

    code = "unreachable"


class AnswerError(OpportuneError):
    """The server answered with an error; ``body`` is its own."""

    def __init__(self, status: int, body: dict[str, Any]) -> None:
        super().__init__(str(body.get("message", f"the server answered {status}")))
        self.answered = status
        self.body = {"code": "refused", "message": self.what, **body}

    def to_dict(self) -> dict[str, Any]:
        return self.body


class Client:
    """Requests to one server with one key. Not for several threads."""

    def __init__(self, url: str, key: str, *, timeout_s: float = TIMEOUT_S) -> None:
        parts = urlsplit(url if "://" in url else f"http://{url}")
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise InvalidRequest(
                "not an address of a server", seen=url, where="--to", remedy="http://host:port"
            )
        self.url = f"{parts.scheme}://{parts.netloc}"
        self._prefix = parts.path.rstrip("/")
        make = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        self._connection = make(parts.hostname, parts.port, timeout=timeout_s)
        self._headers = {"content-type": "application/json"}
        if key:
            token = base64.b64encode(f"{key}:".encode()).decode()
            self._headers["authorization"] = f"Basic {token}"

    def get(self, path: str) -> Any:
        return self._call("GET", path, None)

    def post(self, path: str, body: Any) -> Any:
        return self._call("POST", path, body if isinstance(body, bytes) else msgspec.json.encode(body))

    def close(self) -> None:
        self._connection.close()

    def _call(self, method: str, path: str, body: bytes | None) -> Any:
        for attempt in range(1, TRIES + 1):
            try:
                self._connection.request(method, self._prefix + path, body, self._headers)
                response = self._connection.getresponse()
                data = response.read()
            except (OSError, http.client.HTTPException) as error:
                # A kept connection may have gone stale: one fresh one is worth a try at once.
                self._connection.close()
                if attempt > 1:
                    reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
                    raise NoAnswerError(
                        f"no answer from the server ({reason})",
                        where=self.url,
                        remedy="is it running? start it with 'opportune serve'",
                    ) from error
                continue
            if response.status in _RETRIED and attempt < TRIES:
                time.sleep(_wait_s(response.getheader("retry-after"), attempt))
                continue
            if response.status >= 400:
                raise AnswerError(response.status, _object(data))
            return msgspec.json.decode(data) if data else {}
        raise AssertionError("the last try returns or raises")


def _wait_s(sent: str | None, attempt: int) -> float:
    return min(float(sent), 30.0) if sent and sent.isdigit() else 0.1 * 2**attempt


def _object(data: bytes) -> dict[str, Any]:
    try:
        found = msgspec.json.decode(data)
    except msgspec.DecodeError:
        return {}
    return found if isinstance(found, dict) else {}
