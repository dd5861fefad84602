"""SIGKILL (and SIGSTOP) of the cluster's processes under load: nothing acknowledged is lost or counted twice.

``python -m tests.faults.cluster_kills --rounds 20 --seed 1`` starts Kafka and Redis, a gateway, a fold and an
identity worker; posts events one by one, each again until it is acknowledged; and every few seconds kills a
process picked at random and starts it again. In the end every person's profile must count exactly the events
that were posted, and the journal must hold each of them once. Then Redis is emptied, rebuilt, and counted
again.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import redis
from scripts.cluster.kafka import Kafka
from scripts.cluster.parts import Parts, free_port
from scripts.cluster.redis import Redis
from scripts.cluster.settled import settle

from benchmarks import documents
from opportune.events.event import Event
from opportune.profiles.schema import ProfileSchema
from opportune.streams.config import ClusterConfig, KafkaConfig, RedisConfig
from opportune.streams.rebuild import rebuild
from opportune.streams.serving_copy import END, LEAF, STAMP_BYTES, ServingCopy
from opportune.streams.tail import Tail, catch_up
from opportune.streams.topics import Topics, ensure

PEOPLE = 200
PAUSED_S = 10.0
BETWEEN = 60
"""Events acknowledged between two rounds at least, so that every kill hits work."""
WRITE_KEY = "wk-faults"
DOCUMENT = Path("docs/decisions/0006-stream-engine.md")


class Load:
    """Posts events from some threads, each until it is acknowledged; counts what was, by person."""

    def __init__(self, port: int, rate: float, threads: int = 4) -> None:
        self.port = port
        self.acknowledged: Counter[str] = Counter()
        self.linked: Counter[str] = Counter()
        self.posts = 0
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
            while not self._try(json.dumps(body).encode()):
                time.sleep(0.1)
            with self._lock:
                self.acknowledged[f"user_id:u{person}"] += 1
                self.linked[f"anonymous_id:{browser}"] += 1
            time.sleep(self._pause)

    def _try(self, body: bytes) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=12)
        headers = {"Authorization": f"Bearer {WRITE_KEY}", "Content-Type": "application/json"}
        try:
            connection.request("POST", "/v1/track", body, headers)
            status = connection.getresponse().status
        except (OSError, http.client.HTTPException) as error:
            with self._lock:
                self.refusals[type(error).__name__] += 1
            return False
        finally:
            connection.close()
        with self._lock:
            self.posts += 1
            if status != 200:
                self.refusals[str(status)] += 1
        assert status in (200, 429, 503), f"a gateway in trouble answered {status}"
        return status == 200


class Processes:
    def __init__(self, folder: Path, port: int) -> None:
        self._folder = folder
        self._options = ["--cluster", str(folder / "cluster.yaml"), "--port", str(port)]
        self.running: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, role: str) -> None:
        command = [sys.executable, "-m", "opportune.cli", "serve", "--role", role, *self._options]
        log = (self._folder / f"{role}.log").open("ab")
        environment = {**os.environ, "OPPORTUNE_WRITE_KEY": WRITE_KEY, "OPPORTUNE_SECRET_KEY": "sk-faults"}
        self.running[role] = subprocess.Popen(
            [*command, "--data-dir", str(self._folder / role)], stdout=log, stderr=log, env=environment
        )
        log.close()

    def revive(self, happened: Counter[str]) -> None:
        """Start again what ended by itself, as whatever watches over the processes of a cluster does."""
        for role, process in list(self.running.items()):
            if process.poll() is not None:
                happened[f"{role} ended by itself"] += 1
                self.start(role)

    def stop(self) -> None:
        for process in self.running.values():
            process.terminate()
        for process in self.running.values():
            process.wait(timeout=60)


def run(rounds: int, seed: int, rate: float, folder: Path) -> dict[str, Any]:
    draw = random.Random(seed)
    parts = Parts(folder / "servers")
    port = free_port()
    processes = Processes(folder, port)
    try:
        brokers, url = Kafka(parts).up(), Redis(parts).up()
        (folder / "cluster.yaml").write_text(
            f"kafka: {{brokers: '{brokers}'}}\nredis: {{url: '{url}'}}\nprefix: kills\npartitions: 4\n"
        )
        config = ClusterConfig(
            KafkaConfig(brokers), RedisConfig(url, timeout_s=5.0), prefix="kills", partitions=4
        )
        topics = ensure(config)
        for role in ("gateway", "fold", "identity"):
            processes.start(role)
        happened: Counter[str] = Counter()
        with Load(port, rate) as load:
            while not load.acknowledged:
                time.sleep(0.2)
            for _ in range(rounds):
                time.sleep(draw.uniform(1, 6))
                role = draw.choice(("gateway", "fold", "fold", "identity"))
                process = processes.running[role]
                if draw.random() < 0.15:
                    happened[f"SIGSTOP {role}"] += 1
                    process.send_signal(signal.SIGSTOP)
                    time.sleep(PAUSED_S)
                    process.send_signal(signal.SIGCONT)
                else:
                    happened[f"SIGKILL {role}"] += 1
                    process.kill()
                    process.wait()
                    processes.start(role)
                goal = load.acknowledged.total() + BETWEEN
                while load.acknowledged.total() < goal:
                    processes.revive(happened)
                    time.sleep(0.1)
        settle(config, topics, within_s=180, meanwhile=lambda: processes.revive(happened))
        found = counted(config, load)
        found |= {"in_journal_twice": twice(config, topics), "happened": dict(happened)}
        found |= {"acknowledged": load.acknowledged.total(), "refusals": dict(load.refusals)}
        server = redis.Redis.from_url(url)
        server.flushall()
        rebuild(config, topics, ProfileSchema.default(), ServingCopy(config))
        server.close()
        return found | {f"{name}_after_rebuild": n for name, n in counted(config, load).items()}
    finally:
        processes.stop()
        parts.down()


def counted(config: ClusterConfig, load: Load) -> dict[str, Any]:
    """Events that profiles count too little or too much, and the same of links."""
    copy, schema = ServingCopy(config), ProfileSchema.default()
    lost = double = 0
    for kind, expected in ((LEAF, load.acknowledged), (END, load.linked)):
        names = sorted(expected)
        for name, data in zip(names, copy.get([copy.key(kind, n.encode()) for n in names]), strict=True):
            leaf = schema.zero() if data is None else schema.decode(data[STAMP_BYTES:])
            count = leaf.events if kind == LEAF else sum(e.count for e in leaf.links.values())
            lost += max(0, expected[name] - count)
            double += max(0, count - expected[name])
    copy.close()
    return {"lost": lost, "double": double}


def twice(config: ClusterConfig, topics: Topics) -> int:
    """Events that the journal holds more than once."""
    tail = Tail(config, (topics.journal,))
    seen = Counter(entry.message_id for entry in catch_up(tail) if type(entry) is Event)
    tail.close()
    return sum(count - 1 for count in seen.values())


def told(rounds: int, found: dict[str, Any]) -> str:
    """One line for the document."""
    happened = ", ".join(f"{count} x {what}" for what, count in sorted(found["happened"].items()))
    refused = ", ".join(f"{count} x {what}" for what, count in sorted(found["refusals"].items()))
    return (
        f"{rounds} rounds ({happened}), {found['acknowledged']:,} events acknowledged; posts that were not: "
        f"{refused or 'none'}. Lost: {found['lost']}. Counted twice: {found['double']}. "
        f"Twice in the journal: {found['in_journal_twice']}. After Redis was emptied and rebuilt: "
        f"{found['lost_after_rebuild']} lost, {found['double_after_rebuild']} twice."
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rate", type=float, default=100.0, help="events per second")
    parser.add_argument("--folder", type=Path, help="kept afterwards, with the logs")
    parser.add_argument("--write", action="store_true", help="put the outcome into the document")
    options = parser.parse_args()
    folder = options.folder or Path(tempfile.mkdtemp(prefix="cluster-kills-"))
    folder.mkdir(parents=True, exist_ok=True)
    found = run(options.rounds, options.seed, options.rate, folder.absolute())
    print(json.dumps({"rounds": options.rounds, **found}, indent=2))
    if options.write:
        documents.put(DOCUMENT, "kills", told(options.rounds, found))
    wrong = ("lost", "double", "in_journal_twice", "lost_after_rebuild", "double_after_rebuild")
    return int(any(found[name] for name in wrong))


if __name__ == "__main__":
    sys.exit(main())
