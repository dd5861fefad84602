"""Clients of a cluster in trouble: they post events until each is acknowledged, and ask for decisions."""

from __future__ import annotations

import http.client
import json
import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

PEOPLE = 200
WRITE_KEY, SECRET_KEY = "wk-faults", "sk-faults"
DEADLINE_MS = 250
"""How long those who ask for a decision say that they wait."""


class Load:
    """Posts events from some threads, each until it is acknowledged; counts what was, by person."""

    def __init__(self, port: int, rate: float, threads: int = 4) -> None:
        self.port = port
        self.acknowledged: Counter[str] = Counter()
        self.linked: Counter[str] = Counter()
        self.refusals: Counter[str] = Counter()
        self._pause = threads / rate
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._post, args=(n,)) for n in range(threads)]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _post(self, number: int) -> None:
        draw = random.Random(number)
        count = 0
        while not self._stop.is_set():
            count += 1
            person = draw.randrange(PEOPLE)
            browser = f"b{person}-{draw.randrange(3)}"
            body = {
                "event": "Product Viewed",
                "messageId": f"k{number}-{count}",
                "anonymousId": browser,
                "userId": f"u{person}",
                "properties": {"product_id": f"i{draw.randrange(50)}", "category": "c", "brand": "b"},
            }
            while not self._try(body):
                time.sleep(0.1)
            with self._lock:
                self.acknowledged[f"user_id:u{person}"] += 1
                self.linked[f"anonymous_id:{browser}"] += 1
            time.sleep(self._pause)

    def _try(self, body: dict[str, Any]) -> bool:
        try:
            status, _ = posted(self.port, "/v1/track", body, timeout_s=12)
        except (OSError, http.client.HTTPException) as error:
            with self._lock:
                self.refusals[type(error).__name__] += 1
            return False
        if status != 200:
            with self._lock:
                self.refusals[str(status)] += 1
        assert status in (200, 429, 503), f"a gateway in trouble answered {status}"
        return status == 200


READ_EVERY = 5
"""After so many decisions a profile is read, which the audit log must have."""


class Asking:
    """Asks one decider for decisions about the same people, all the time; every answer counts, with how long
    it took and what it said of itself."""

    def __init__(self, port: int, rate: float, fault: Callable[[], str]) -> None:
        self.port = port
        self.took_ms: list[float] = []
        self.late: Counter[str] = Counter()
        self.unanswered: Counter[str] = Counter()
        self.degraded: Counter[str] = Counter()
        self.read = 0
        self.unread: Counter[str] = Counter()
        self._pause = 1 / rate
        self._fault = fault
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._ask)

    def __enter__(self) -> Asking:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _ask(self) -> None:
        draw = random.Random(7)
        while not self._stop.is_set():
            user = f"u{draw.randrange(PEOPLE)}"
            body = {"placement": "home_recs", "identifiers": {"user_id": user}, "deadline_ms": DEADLINE_MS}
            during, began = self._fault(), time.monotonic()
            try:
                status, answer = posted(self.port, "/v1/decide", body, timeout_s=10)
            except (OSError, http.client.HTTPException) as error:
                self.unanswered[f"{during}: {type(error).__name__}"] += 1
            else:
                took = 1e3 * (time.monotonic() - began)
                self.took_ms.append(took)
                if took > DEADLINE_MS:
                    self.late[during] += 1
                if status != 200:
                    self.unanswered[f"{during}: {status}"] += 1
                else:
                    [decision] = answer["decisions"]
                    if any(told.startswith("profile") for told in decision.get("degraded", ())):
                        self.degraded[during] += 1
            if len(self.took_ms) % READ_EVERY == 0:
                self._read_profile(user)
            time.sleep(self._pause)

    def _read_profile(self, user: str) -> None:
        try:
            status, _ = answered("GET", self.port, f"/v1/profiles/user_id:{user}", None, SECRET_KEY, 10)
        except (OSError, http.client.HTTPException) as error:
            self.unread[type(error).__name__] += 1
            return
        # Nobody known is told only after it was noted who asked.
        if status in (200, 404):
            self.read += 1
        else:
            self.unread[str(status)] += 1


def posted(port: int, path: str, body: dict[str, Any], *, timeout_s: float) -> tuple[int, Any]:
    return answered("POST", port, path, json.dumps(body).encode(), WRITE_KEY, timeout_s)


def answered(
    method: str, port: int, path: str, body: bytes | None, key: str, timeout_s: float
) -> tuple[int, Any]:
    """Status and answer; one connection for each request, as from many clients."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout_s)
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    try:
        connection.request(method, path, body, headers)
        response = connection.getresponse()
        return response.status, json.loads(response.read() or b"null")
    finally:
        connection.close()
