"""kill -9 of the real server at random moments under load over HTTP.

``python -m tests.faults.server_kills --kills 200 --seed 1``

A client posts batches, repeats what was not acknowledged (as real clients do), and decides in between. After
each kill the journal is read: every acknowledged message is there, none is there twice, the accounting says
so too, and the state after recovery equals a rebuild from the journal alone, byte for byte.
"""

from __future__ import annotations

import argparse
import base64
import http.client
import json
import os
import shutil
import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from random import Random
from subprocess import Popen
from tempfile import mkdtemp
from typing import Any

from tests.faults import kills

from opportune import Engine
from opportune.engine.dump import fingerprint
from opportune.events.event import Event

PEOPLE = 30
ITEMS = 40
_KEY = "Basic " + base64.b64encode(b"wk:").decode()


class Server:
    """The server as a :class:`tests.faults.kills.Subject`."""

    def __init__(self, seed: int) -> None:
        self._random = Random(seed)
        self._port = _free_port()
        self._sent = 0
        self._unanswered: list[dict[str, Any]] = []
        self._acknowledged: set[str] = set()
        self._answers = 0
        self._seen = 0
        os.environ.update(OPPORTUNE_WRITE_KEY="wk", OPPORTUNE_SECRET_KEY="sk")

    def command(self, folder: Path) -> Sequence[str]:
        self._answers = 0
        port = str(self._port)
        options = ["--port", port, "--no-console", "--checkpoint-every", "0.1", "--log-level", "error"]
        return [sys.executable, "-m", "opportune.cli", "serve", "--data-dir", str(folder), *options]

    def load(self, child: Popen[bytes], stop: threading.Event) -> None:
        while not stop.is_set() and child.poll() is None:
            try:
                connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=5)
                while not stop.is_set():
                    self._post(connection)
            except (OSError, http.client.HTTPException):
                time.sleep(0.02)

    def _post(self, connection: http.client.HTTPConnection) -> None:
        random = self._random
        if not self._unanswered:
            self._unanswered = [self._event() for _ in range(random.choice((1, 1, 3, 20)))]
        body = json.dumps({"batch": self._unanswered})
        connection.request("POST", "/v1/batch", body, {"Authorization": _KEY})
        answer = connection.getresponse()
        answer.read()
        assert answer.status == 200, answer.status
        self._acknowledged.update(event["messageId"] for event in self._unanswered)
        self._unanswered = []
        self._answers += 1
        if random.random() < 0.3:
            who = {"user_id": f"u{random.randrange(PEOPLE)}"}
            request = json.dumps({"placement": "home_recs", "identifiers": who})
            connection.request("POST", "/v1/decide", request, {"Authorization": _KEY})
            answer = connection.getresponse()
            answer.read()
            assert answer.status == 200, answer.status

    def _event(self) -> dict[str, Any]:
        random = self._random
        self._sent += 1
        user = f"u{random.randrange(PEOPLE)}"
        event: dict[str, Any] = {"messageId": f"m{self._sent}", "userId": user}
        if random.random() < 0.1:
            return {**event, "type": "identify", "anonymousId": f"a-{user}", "traits": {"n": self._sent}}
        item = {"product_id": f"p{random.randrange(ITEMS)}", "price": 2}
        return {
            **event,
            "type": "track",
            "event": random.choice(("Product Viewed", "Product Added")),
            "properties": item,
        }

    def ready(self) -> bool:
        return self._answers > 0

    def verify(self, folder: Path) -> int:
        if not (folder / "journal").is_dir():
            return 0
        with Engine.open(folder) as engine:
            stored: list[str] = []
            people: Counter[str] = Counter()
            for _, data in engine.journal.scan():
                entry = engine.entries.decode(data)
                if isinstance(entry, Event):
                    stored.append(entry.message_id)
                    people[entry.identifiers[0]] += 1
            assert len(stored) == len(set(stored)), "an event is in the journal twice"
            lost = self._acknowledged - set(stored)
            assert not lost, f"{len(lost)} acknowledged events are lost, {sorted(lost)[:3]} among them"
            counts = engine.accounting()
            assert counts["balanced"]
            assert counts["total"]["stored"] == len(stored), "the accounting disagrees with the journal"
            for person, events in people.items():
                assert engine.state.leaf(person).events == events, (
                    f"{person} counts events twice or not at all"
                )
            state = fingerprint(engine.state)
        rebuilt = Path(mkdtemp(prefix="opportune-rebuilt-"))
        for part in ("journal", "vault"):  # the vault has the keys that the journal is sealed with
            shutil.copytree(folder / part, rebuilt / part)
        with Engine.open(rebuilt) as engine:
            assert fingerprint(engine.state) == state, "a rebuild from the journal gives other bytes"
        shutil.rmtree(rebuilt)
        new, self._seen = len(stored) - self._seen, len(stored)
        return new


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    started = time.perf_counter()
    written = kills.run(Server(options.seed), options.kills, options.seed, most_s=0.8)
    took = time.perf_counter() - started
    print(f"seed {options.seed}: {options.kills} kills, {written} events, 0 lost, 0 doubled, {took:.1f} s")


if __name__ == "__main__":
    main()
