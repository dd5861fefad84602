"""The cluster on real Kafka and Redis, measured: ``python -m benchmarks.speed.cluster``.

Starts one broker and Redis on loopback, plays the roles as processes, and measures what the roles cost and
how long an event takes to be seen. ``--write`` puts the table into the documents.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import psutil
import redis
from benchmarks.speed.machine import describe
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from scripts.cluster.kafka import Kafka
from scripts.cluster.parts import Parts, free_port
from scripts.cluster.recorded import recorded
from scripts.cluster.redis import Redis
from scripts.cluster.settled import settle, settle_folds

from benchmarks import documents
from opportune import Engine
from opportune.engine.workspace import load_workspace
from opportune.events.event import Event
from opportune.events.segment import normalize
from opportune.profiles.schema import ProfileSchema
from opportune.streams import leaf_fold, packs
from opportune.streams.config import ClusterConfig, KafkaConfig, RedisConfig
from opportune.streams.engine import ClusterEngine
from opportune.streams.folding import Leaves
from opportune.streams.log import KafkaLog
from opportune.streams.marks import mark_of, with_mark
from opportune.streams.shards import Shards
from opportune.streams.stones import Hashes
from opportune.streams.topics import Topics, ensure

DOCUMENTS = (Path("docs/decisions/0006-stream-engine.md"), Path("docs/explanation/cluster.md"))
WRITE_KEY = "wk-bench"
RECEIVED = 1_790_000_000_000
PARTITIONS = 4


class Bench:
    """One set of servers; every measurement has topics and keys of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.parts = Parts(folder / "servers")
        self.brokers, self.url = Kafka(self.parts).up(), Redis(self.parts).up()

    def cluster(self, name: str, **more: Any) -> tuple[ClusterConfig, Topics]:
        config = ClusterConfig(
            KafkaConfig(self.brokers),
            RedisConfig(self.url, timeout_s=2.0),
            prefix=name,
            partitions=PARTITIONS,
            **more,
        )
        shown = {
            "kafka": {"brokers": self.brokers},
            "redis": {"url": self.url, "timeout_s": 2.0},
            "prefix": name,
            "partitions": PARTITIONS,
            **more,
        }
        (self.folder / f"{name}.yaml").write_text(json.dumps(shown))
        return config, ensure(config)

    @contextlib.contextmanager
    def playing(self, name: str, role: str, *, port: int = 0, number: int = 0) -> Iterator[psutil.Process]:
        """A role as a process, from when it says that it is at work; ``number`` tells several apart."""
        own = f"{name}-{role.replace(',', '-')}" + (f"-{number}" if number else "")
        log = self.folder / f"{own}.log"
        command = [sys.executable, "-m", "opportune.cli", "serve", "--role", role, "--port", str(port)]
        command += ["--cluster", str(self.folder / f"{name}.yaml")]
        command += ["--data-dir", str(self.folder / own)]
        environment = {**os.environ, "OPPORTUNE_WRITE_KEY": WRITE_KEY, "OPPORTUNE_SECRET_KEY": "sk-bench"}
        with log.open("wb") as out:
            process = subprocess.Popen(command, stdout=out, stderr=out, env=environment)
        try:
            until = time.monotonic() + 90
            while not any(word in log.read_text() for word in ("at work", "ready on")):
                if process.poll() is not None or time.monotonic() > until:
                    raise RuntimeError(f"{role} does not start:\n{log.read_text()[-2000:]}")
                time.sleep(0.1)
            yield psutil.Process(process.pid)
        finally:
            process.terminate()
            process.wait(timeout=60)


def typed(calls: Sequence[dict[str, Any]]) -> list[Event]:
    return [normalize(call, kind=None, source="bench", received=RECEIVED) for call in calls]


def produce(config: ClusterConfig, topics: Topics, events: Sequence[Event], *, group: int = 64) -> None:
    """As a gateway whose flushes hold ``group`` events."""
    door = KafkaLog(config, topics)
    for start in range(0, len(events), group):
        for event in events[start : start + group]:
            door.append(event)
        door.send()
        while door.waiting > 1_000:
            time.sleep(0.01)
            door.poll()
    door.flush()


def worker_cpu(
    bench: Bench, name: str, events: Sequence[Event], *, group: int = 64, **more: Any
) -> dict[str, float]:
    """CPU of the workers for a stream that waits for them, per event; all threads. ``group`` events came to
    the gateway at once."""
    config, topics = bench.cluster(name, **more)
    with bench.playing(name, "fold") as fold, bench.playing(name, "identity") as identity:
        produce(config, topics, events[:500], group=group)
        settle(config, topics)
        before = {worker: sum(worker.cpu_times()[:2]) for worker in (fold, identity)}
        started = time.monotonic()
        produce(config, topics, events[500:], group=group)
        settle(config, topics, within_s=300)
        count = len(events) - 500
        used = {worker: sum(worker.cpu_times()[:2]) - before[worker] for worker in before}
        return {
            "fold_us": 1e6 * used[fold] / count,
            "identity_us": 1e6 * used[identity] / count,
            "events_s": count / (time.monotonic() - started),
            "rss_mb": fold.memory_info().rss / 1e6,
        }


def two_workers(bench: Bench, events: Sequence[Event], rounds: int = 4) -> dict[str, float]:
    """The same stream through one fold worker and through two. Two cores hold the brokers and the load as
    well, so what is compared is processor time: with a core for each, two are done when the busier one is.

    The two get theirs one after the other, so that each has the cores to itself as the one had: a worker
    that competes for them commits as often for fewer events. The stream is played ``rounds`` times.
    """
    shards = Shards(PARTITIONS)
    half = [shards.of(event.leaf.encode()) < PARTITIONS // 2 for event in events]
    streams = [
        [event for event, is_low in zip(events, half, strict=True) if is_low],
        [event for event, is_low in zip(events, half, strict=True) if not is_low],
    ]
    used: dict[int, list[float]] = {}
    for workers in (1, 2):
        name = f"scale{workers}"
        config, topics = bench.cluster(name, commit_s=0.1)
        with contextlib.ExitStack() as stack:
            running = [
                stack.enter_context(bench.playing(name, "fold", number=number))
                for number in range(1, workers + 1)
            ]
            while sharing(config, "fold") < workers:
                time.sleep(0.2)
            produce(config, topics, events[:500])
            settle_folds(config, topics)
            spent = [0.0] * workers
            for stream in streams:
                before = [sum(worker.cpu_times()[:2]) for worker in running]
                for round_ in range(rounds):
                    produce(config, topics, [_again(event, round_) for event in stream])
                settle_folds(config, topics)
                now = [sum(w.cpu_times()[:2]) - start for w, start in zip(running, before, strict=True)]
                whose = now.index(max(now))  # the other one had nothing to do
                spent[whose] += now[whose]
            used[workers] = spent
    return {"one_s": used[1][0], "two_s": max(used[2]), "ratio": used[1][0] / max(used[2])}


def _again(event: Event, round_: int) -> Event:
    """The event once more: another message of the same people."""
    return msgspec.structs.replace(event, message_id=f"{round_}-{event.message_id}")


def sharing(config: ClusterConfig, role: str) -> int:
    """How many workers of a role have partitions."""
    group = f"{config.prefix}-{role}"
    admin = AdminClient(dict(config.kafka.client()))
    try:
        told = admin.describe_consumer_groups([group])[group].result(timeout=10)
    except KafkaException:
        return 0  # no broker coordinates it yet
    return sum(bool(member.assignment.topic_partitions) for member in told.members)


class InMemory:
    """The state of one partition, without the engine."""

    def __init__(self) -> None:
        self.held: dict[bytes, bytes] = {}
        self.get_bytes = self.held.get
        self.set_bytes = self.held.__setitem__


def own_fold(events: Sequence[Event], each: int = 16) -> float:
    """CPU of our part of a fold worker alone, per event: decode, fold, encode; no engine, no servers.
    A commit every ``each`` events."""
    schema, state = ProfileSchema.default(), InMemory()
    leaves = Leaves(schema, Hashes(b""))
    packed = [
        packs.encode([(event.received, event) for event in events[start : start + each]])
        for start in range(0, len(events), each)
    ]
    started = time.process_time()
    for offset, pack in enumerate(packed):
        for place, (_, event) in enumerate(packs.entries_of(pack)):
            assert isinstance(event, Event)
            name = event.leaf.encode()
            held = leaves.take(name, state)  # type: ignore[arg-type]  # all of a State that leaves ask for
            held.marks = with_mark(held.marks, mark_of(event.source, event.message_id))
            leaf_fold.fold_event(schema, held.leaf, event, packs.sequence(offset, place))
            leaves.keep(name, held, state)  # type: ignore[arg-type]  # as above
        leaves.encoded()
    return 1e6 * (time.process_time() - started) / len(events)


def learning(bench: Bench, events: Sequence[Event], each: int = 16) -> float:
    """CPU per event of a replica that learns items and models from the journal: read packs, learn, bring the
    models up to date every thousand events, as a decider under load does."""
    packed = [
        packs.encode([(event.received, event) for event in events[start : start + each]])
        for start in range(0, len(events), each)
    ]
    with Engine.open(bench.folder / "learning", warm=True) as engine:
        number = 0
        started = time.process_time()
        for pack in packed:
            for _, raw in packs.split(pack):
                event = packs.read(raw)
                assert isinstance(event, Event)
                number += 1
                engine.state.learn(number, event)
                if number % 1_000 == 0:
                    engine.state.models.learn()
        engine.state.models.learn()
        return 1e6 * (time.process_time() - started) / number


def visible(bench: Bench, rate: float, seconds: float) -> dict[str, float]:
    """From the gateway's acknowledgement to the leaf in the serving copy that the next decision reads."""
    bench.cluster("visible")
    port = free_port()
    server = redis.Redis.from_url(bench.url)
    acknowledged: dict[str, float] = {}
    seen: dict[str, float] = {}
    done = threading.Event()

    def watch() -> None:
        while not done.is_set() or len(seen) < len(acknowledged):
            waiting = [name for name in list(acknowledged) if name not in seen]
            if waiting:
                found = server.mget([f"visible:l:anonymous_id:{name}" for name in waiting])
                now = time.monotonic()
                for name, data in zip(waiting, found, strict=True):
                    if data is not None:
                        seen[name] = now
            time.sleep(0.002)

    def post(thread: int, threads: int, begin: float) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        headers = {"Authorization": f"Bearer {WRITE_KEY}", "Content-Type": "application/json"}
        for number in range(thread, int(rate * seconds), threads):
            time.sleep(max(0.0, begin + number / rate - time.monotonic()))
            name = f"v{number}"
            body = {
                "event": "Product Viewed",
                "anonymousId": name,
                "messageId": name,
                "properties": {"product_id": "i1", "category": "c", "brand": "b"},
            }
            connection.request("POST", "/v1/track", json.dumps(body), headers)
            assert connection.getresponse().read() == b'{"success":true}'
            acknowledged[name] = time.monotonic()

    with bench.playing("visible", "gateway", port=port) as gateway, bench.playing("visible", "fold") as fold:
        time.sleep(3)
        before = {worker: sum(worker.cpu_times()[:2]) for worker in (gateway, fold)}
        begin = time.monotonic() + 0.2
        threads = [threading.Thread(target=post, args=(n, 8, begin)) for n in range(8)]
        watcher = threading.Thread(target=watch)
        for thread in (*threads, watcher):
            thread.start()
        for thread in threads:
            thread.join()
        used = {worker: sum(worker.cpu_times()[:2]) - before[worker] for worker in before}
        done.set()
        watcher.join(timeout=30)
    server.close()
    lags = np.array([1e3 * (seen[name] - at) for name, at in acknowledged.items() if name in seen])
    return {
        "p50_ms": float(np.percentile(lags, 50)),
        "p99_ms": float(np.percentile(lags, 99)),
        "unseen": float(len(acknowledged) - len(lags)),
        "gateway_us": 1e6 * used[gateway] / len(acknowledged),
        "fold_us": 1e6 * used[fold] / len(acknowledged),
    }


def decisions(bench: Bench, people: int, count: int) -> dict[str, float]:
    """CPU of a decision over the serving copy against one in memory: the same people, the same requests."""
    config, topics = bench.cluster("decide")
    calls = recorded(people)
    produce(config, topics, typed(calls))
    with bench.playing("decide", "fold"), bench.playing("decide", "identity"):
        settle(config, topics, within_s=300)
    requests = [
        {"placement": "home_recs", "identifiers": {"anonymous_id": f"b{n * 7919 % people}"}}
        for n in range(count)
    ]
    many = ClusterEngine(
        config, topics, load_workspace(None), folder=bench.folder / "scratch", roles=("decide",), warm=True
    )
    server = redis.Redis.from_url(bench.url)
    with Engine.open(bench.folder / "one", warm=True) as one:
        one.ingest(calls, source="bench")
        one.learn_every = many.learn_every = 1_000

        def once(engine: Engine) -> float:
            for request in requests[:300]:
                engine.decide(request)
            started = time.process_time()
            for request in requests:
                engine.decide(request)
            return 1e6 * (time.process_time() - started) / count

        pairs = [(once(one), once(many)) for _ in range(3)]
        info = server.info("cpu")
        _ = once(many)
        after = server.info("cpu")
    many.close()
    server.close()
    embedded, cluster = (float(np.median([pair[i] for pair in pairs])) for i in (0, 1))
    spent = sum(after[key] - info[key] for key in ("used_cpu_user", "used_cpu_sys"))
    return {
        "embedded_us": embedded,
        "cluster_us": cluster,
        "ratio": float(np.median([b / a for a, b in pairs])),
        "redis_us": 1e6 * spent / (count + 300),
    }


def restore(bench: Bench, profiles: int, each: int) -> dict[str, float]:
    """A worker whose disk is lost: from its start until it has folded the next event."""
    config, topics = bench.cluster("restore", commit_s=0.5)
    server = redis.Redis.from_url(bench.url)
    before = server.info("memory")["used_memory"]
    event = typed(recorded(3))[0]

    def events(round_: int) -> list[Event]:
        calls = (
            {
                "event": "Product Viewed",
                "anonymousId": f"r{n}",
                "messageId": f"r{n}-{round_}",
                "properties": {"product_id": f"i{(n + round_) % 400}", "category": "shoes", "price": 9},
            }
            for n in range(profiles)
        )
        received = RECEIVED + round_ * 60_000
        return [normalize(call, kind="track", source="bench", received=received) for call in calls]

    with bench.playing("restore", "fold"):
        for round_ in range(each):
            produce(config, topics, events(round_))
        settle(config, topics, within_s=500)
    used = server.info("memory")["used_memory"] - before
    shutil.rmtree(bench.folder / "restore-fold" / "fold")
    started = time.monotonic()
    with bench.playing("restore", "fold") as fold:
        produce(config, topics, [event])
        settle(config, topics, within_s=300)
        took = time.monotonic() - started
        cpu = sum(fold.cpu_times()[:2])
    length = float(np.mean([len(server.get(f"restore:l:anonymous_id:r{n}") or b"") for n in range(200)]))
    server.close()
    return {"seconds": took, "cpu_s": cpu, "redis_bytes": used / profiles, "leaf_bytes": length}


def measure(bench: Bench, options: argparse.Namespace) -> dict[str, Any]:
    events = typed(recorded(options.people))
    wanted: dict[str, Callable[[], Any]] = {
        "own_fold_us": lambda: own_fold(events),
        "learning_us": lambda: learning(bench, events),
        "alone": lambda: worker_cpu(bench, "one", events, commit_s=0.1, group=1),
        "exactly_once": lambda: worker_cpu(bench, "eos", events, commit_s=0.1),
        "at_least_once": lambda: worker_cpu(bench, "alo", events, commit_s=0.1, exactly_once=False),
        "two_workers": lambda: two_workers(bench, events),
        "visible": lambda: visible(bench, 200.0, options.seconds),
        "decisions": lambda: decisions(bench, 1_000, 1_000),
        "restore": lambda: restore(bench, options.profiles, 2),
    }
    found: dict[str, Any] = {"events": len(events), "profiles": options.profiles}
    for name, measured in wanted.items():
        if not options.only or name in options.only.split(","):
            found[name] = measured()
            print(name, json.dumps(found[name]), file=sys.stderr, flush=True)
    return found


def table(found: dict[str, Any], about: dict[str, Any]) -> str:
    eos, alo, seen = found["exactly_once"], found["at_least_once"], found["visible"]
    choice, state = found["decisions"], found["restore"]
    alone, pair = found["alone"], found["two_workers"]
    rows = [
        (
            "event acknowledged to visible in a decision, 200 events/s, p99",
            ("250 ms", "60 ms"),
            f"{seen['p99_ms']:.0f} ms (p50 {seen['p50_ms']:.0f})",
        ),
        (
            "worker CPU per event, leaf + identity, exactly once, 64 events to a gateway's flush",
            ("150 us", "60 us"),
            f"{eos['fold_us'] + eos['identity_us']:.0f} us ({eos['fold_us']:.0f} + {eos['identity_us']:.0f})",
        ),
        (
            "the same where every event comes to the gateway alone",
            ("", ""),
            f"{alone['fold_us'] + alone['identity_us']:.0f} us "
            f"({alone['fold_us']:.0f} + {alone['identity_us']:.0f})",
        ),
        ("the same, at least once", ("", ""), f"{alo['fold_us'] + alo['identity_us']:.0f} us"),
        (
            "a replica that learns items and models from the journal, CPU per event",
            ("", ""),
            f"{found['learning_us']:.0f} us",
        ),
        ("of it our own decode, fold and encode", ("", ""), f"{found['own_fold_us']:.0f} us"),
        (
            "fold worker CPU per event at 200 events/s, a commit every 30 ms",
            ("", ""),
            f"{seen['fold_us']:.0f} us",
        ),
        ("gateway CPU per single post at 200 events/s", ("", ""), f"{seen['gateway_us']:.0f} us"),
        (
            "events/s through one fold and one identity worker, everything on the same cores",
            ("", ""),
            f"{eos['events_s']:,.0f}",
        ),
        (
            "two fold workers against one, a core for each, by processor time",
            ("1.8 x", "1.95 x"),
            f"{pair['ratio']:.2f} x ({pair['one_s']:.1f} s against {pair['two_s']:.1f} s for the busier)",
        ),
        (
            "decide CPU per decision against embedded",
            ("1.5 x", "1.2 x"),
            f"{choice['ratio']:.2f} x ({choice['cluster_us']:.0f} us against {choice['embedded_us']:.0f} us, "
            f"and {choice['redis_us']:.0f} us in Redis)",
        ),
        (
            f"restore of a worker's state, {found['profiles']:,} profiles, process start included",
            ("30 s", "8 s"),
            f"{state['seconds']:.1f} s ({state['cpu_s']:.1f} s of CPU)",
        ),
        (
            "Redis memory per 1 M profiles",
            ("1.5 GB", "0.8 GB"),
            f"{state['redis_bytes'] / 1e3:.2f} GB (leaves of {state['leaf_bytes']:.0f} bytes)",
        ),
        ("memory of a fold worker", ("", ""), f"{eos['rss_mb']:.0f} MB"),
    ]
    lines = [
        f"{about['cpu']}, {about['cores']} cores for brokers, Redis, workers and load together, others' load "
        f"{about['load_before']} before; Linux {about['kernel']}, Python {about['python']}, "
        f"quixstreams {about['quixstreams']}, Kafka 4.1, one broker; a stream of {found['events']:,} events.",
        "",
        "| what | bar | stretch | measured |",
        "|---|---|---|---|",
        *(f"| {what} | {bar} | {stretch} | {measured} |" for what, (bar, stretch), measured in rows),
    ]
    return "\n".join(lines)


def sizing(found: dict[str, Any]) -> str:
    """What the figures come to: twice the measured CPU, for peaks and for a worker that is lost."""
    eos, choice, state = found["exactly_once"], found["decisions"], found["restore"]
    worker_us = eos["fold_us"] + eos["identity_us"]
    lines = [
        "| load | worker cores | decide cores | Redis |",
        "|---|---|---|---|",
    ]
    for profiles, events_s, decisions_s in (
        (1_000_000, 500, 200),
        (1_000_000, 2_000, 1_000),
        (10_000_000, 20_000, 5_000),
    ):
        workers, deciders = 2 * events_s * worker_us / 1e6, 2 * decisions_s * choice["cluster_us"] / 1e6
        lines.append(
            f"| {profiles / 1e6:.0f} M profiles, {events_s:,} events/s, {decisions_s:,} decisions/s "
            f"| {workers:.1f} | {deciders:.1f} | {1.5 * profiles * state['redis_bytes'] / 1e9:.1f} GB |"
        )
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--people", type=int, default=2_000)
    parser.add_argument("--profiles", type=int, default=100_000)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--only", default="", help="some of the measurements, separated by commas")
    parser.add_argument("--write", action="store_true", help="put the table into the documents")
    parser.add_argument("--again", type=Path, help="write the documents from an earlier run's output")
    options = parser.parse_args()
    if options.again:
        found = json.loads(options.again.read_text(encoding="utf-8"))
        _write(found, found["about"])
        return 0
    folder = Path(tempfile.mkdtemp(prefix="cluster-bench-"))
    about = describe(folder) | {"quixstreams": _version("quixstreams")}
    bench = None
    try:
        bench = Bench(folder)
        found = measure(bench, options)
    finally:
        if bench is not None:
            bench.parts.down()
        shutil.rmtree(folder, ignore_errors=True)
    print(json.dumps({"about": about, **found}, indent=2))
    if options.write:
        _write(found, about)
    return 0


def _write(found: dict[str, Any], about: dict[str, Any]) -> None:
    for path in DOCUMENTS:
        documents.put(path, "cluster", table(found, about))
    documents.put(DOCUMENTS[1], "sizing", sizing(found))


def _version(name: str) -> str:
    from importlib.metadata import version

    return version(name)


if __name__ == "__main__":
    sys.exit(main())
