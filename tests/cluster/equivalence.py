"""One stream through one machine and through the cluster: what comes of it must be the same, field by field.

``python -m tests.cluster.equivalence --data FOLDER`` takes 200,000 real events (see
:mod:`tests.cluster.real_events`); ``make cluster-test`` takes a made stream of some thousands. Between two
windows of the stream both have seen the same events; then both are asked for the same decisions, while an
experiment runs, and some follow what they were shown or say what they consent to. In the end every profile
with its exposures, every identity component and the outcomes of every decision are compared.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource
from scripts.cluster.kafka import Kafka
from scripts.cluster.parts import Parts
from scripts.cluster.redis import Redis
from scripts.cluster.settled import settle
from tests.cluster.conftest import playing

from benchmarks import documents
from opportune.clock import FixedClock, Millis
from opportune.engine import keys
from opportune.engine.engine import Engine
from opportune.engine.workspace import load_workspace
from opportune.errors import NotFound
from opportune.streams.config import ClusterConfig, KafkaConfig, RedisConfig
from opportune.streams.engine import ClusterEngine
from opportune.streams.sessions import MOST_SESSIONS
from opportune.streams.topics import Topics, ensure

DOCUMENT = Path("docs/explanation/cluster.md")
EXPERIMENTS = """
experiments:
  - id: front
    placements: [home_recs]
    arms: [{id: control}, {id: popular, change: {sources: [{source: popular}]}}]
"""
FEATURES = """
features:
  - {name: session_items, entity: session, fold: distinct, event: product_viewed, value: item_id}
  - {name: session_events, entity: session, fold: count}
"""
AT_ONCE = 100
"""Calls of one post."""

WITHIN = ("people of several browsers", "sessions with events", "exposures", "outcomes attributed")
"""Counted, and compared as parts of profiles and decisions."""

Call = dict[str, Any]


class _Numbered(Engine):
    """Decision ids are counted, so that both engines give the same ones."""

    decided = 0

    def _decision_id(self, now: Millis) -> str:
        self.decided += 1
        return numbered(self.decided)


class _NumberedCluster(ClusterEngine):
    decided = 0

    def _decision_id(self, now: Millis) -> str:
        self.decided += 1
        return numbered(self.decided)


def numbered(count: int) -> str:
    return hashlib.sha256(str(count).encode()).hexdigest()[:24]


class Outcome:
    """What was compared, and what differed."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.differ: list[str] = []

    def same(self, what: str, where: str, one: Any, many: Any) -> None:
        self.counts[what] += 1
        if one != many:
            self.counts[f"{what} that differ"] += 1
            if len(self.differ) < 20:
                self.differ.append(f"{what} {where}\n   one: {one!s:.600}\n  many: {many!s:.600}")


def compare(
    calls: Sequence[Call],
    config: ClusterConfig,
    topics: Topics,
    file: Path,
    folder: Path,
    *,
    window: int,
    decisions: int,
) -> Outcome:
    """Play ``calls`` to both; after every ``window`` of them, ``decisions`` people who will come again are
    shown something by both."""
    workspace = folder / "workspace"
    workspace.mkdir(parents=True)
    (workspace / "experiments.yaml").write_text(EXPERIMENTS, encoding="utf-8")
    (workspace / "features.yaml").write_text(FEATURES, encoding="utf-8")
    definitions = load_workspace(workspace)
    calls = [_in_a_session(call) for call in calls]
    keep_old(config, topics)
    clock, found, began = FixedClock(0), Outcome(), time.monotonic()
    options = {"workspace": workspace}
    one = _Numbered.open(folder / "one", workspace=workspace, clock=clock, warm=True)
    many = _NumberedCluster(
        config, topics, definitions, folder=folder / "scratch", roles=("gateway", "decide"), clock=clock
    )
    for engine in (one, many):
        engine._world.timer = lambda: 0  # a stage that is late on a busy machine is no difference
    try:
        with (
            playing("fold", file, folder / "f", **options),
            playing("identity", file, folder / "i", **options),
        ):
            for begin in range(0, len(calls), window):
                now = calls[begin : begin + window]
                for start in range(0, len(now), AT_ONCE):
                    _post(one, many, now[start : start + AT_ONCE], clock)
                _meet(many, config, topics)
                coming = calls[begin + window : begin + 2 * window]
                clicks = _decide(one, many, _some(coming, decisions), found)
                _meet(many, config, topics)
                said = [_consent(call) for call in coming[:: max(1, window // 8)]]
                if clicks or said:
                    _post(one, many, clicks + said, clock)
                _meet(many, config, topics)
                took = f"{time.monotonic() - began:.0f} s"
                print(
                    f"{begin + len(now):,} calls, {took}, {dict(found.counts)}", file=sys.stderr, flush=True
                )
            _people(one, many, calls, found)
            _sessions(one, many, calls, found)
            for number in range(1, one.decided + 1):
                key = keys.OUTCOMES + numbered(number)
                mine, theirs = one.state.records.get(key), many.state.records.get(key)
                found.same("decisions with their outcomes", key, _told(mine), _told(theirs))
                found.counts["outcomes attributed"] += sum(mine.counts.values())
    finally:
        many.close()
        one.close()
    return found


def send(engine: Engine, calls: Sequence[Call], received: Millis | None = None) -> None:
    """What the server does with posts of one call that came within one flush, a millisecond apart."""
    first = engine.clock() if received is None else received
    admissions = [
        engine.admit([call], kind=None, dialect="segment", source="shop", received=first + place)
        for place, call in enumerate(calls)
    ]
    engine.append(admissions)
    engine.flush()
    engine.apply(admissions)


def _post(one: Engine, many: Engine, calls: Sequence[Call], clock: FixedClock) -> None:
    first = max(clock.now + 1, *(_time(call) + 1_000 for call in calls))
    clock.now = first + len(calls)
    send(one, calls, first)
    send(many, calls, first)


def keep_old(config: ClusterConfig, topics: Topics) -> None:
    """A recorded stream carries the times of its recording: no broker may find it too old."""
    keep = ConfigEntry("retention.ms", "-1", incremental_operation=AlterConfigOpType.SET)
    resources = [
        ConfigResource(ConfigResource.Type.TOPIC, name, incremental_configs=[keep])
        for name in msgspec.structs.astuple(topics)
    ]
    admin = AdminClient(dict(config.kafka.client()))
    for changed in admin.incremental_alter_configs(resources).values():
        changed.result(timeout=30)


def _meet(many: ClusterEngine, config: ClusterConfig, topics: Topics) -> None:
    """Until the workers have folded everything, and the replica has read it."""
    many.flush()
    settle(config, topics, within_s=300)
    ends = many.tail.ends()
    while not many.tail.reached(ends):
        many.maintain()


def _decide(one: Engine, many: ClusterEngine, people: Sequence[Call], found: Outcome) -> list[Call]:
    """Every other one of them follows the first thing that was shown."""
    clicks: list[Call] = []
    for place, call in enumerate(people):
        identifiers = {"anonymous_id": call["anonymousId"]}
        if "userId" in call:
            identifiers["user_id"] = call["userId"]
        request = {"placement": "home_recs", "identifiers": identifiers}
        [mine], [theirs] = one.decide(request).decisions, many.decide(request).decisions
        found.same("assignments", str(identifiers), mine.experiment, theirs.experiment)
        lists = [[item.item_id for item in decision.items] for decision in (mine, theirs)]
        found.same("decisions", str(identifiers), *lists)
        found.same("degraded", str(identifiers), mine.degraded, theirs.degraded)
        if place % 2 and mine.items:
            clicks.append(_click(call, mine.items[0].item_id, one.clock()))
    return clicks


def _people(one: Engine, many: ClusterEngine, calls: Sequence[Call], found: Outcome) -> None:
    for name in sorted({name for call in calls for name in named(call)}):
        mine = person(one, name)
        found.same("profiles", name, mine, person(many, name))
        found.same("components", name, one.component(name), many.component(name))
        found.counts["people of several browsers"] += len(mine["identifiers"]) > 2
        found.counts["exposures"] += len(mine.get("exposures", ()))


def _in_a_session(call: Call) -> Call:
    """Every other browser tells a session id, one a day."""
    if hashlib.sha256(str(call["anonymousId"]).encode()).digest()[1] % 2:
        return call
    told = {"sessionId": f"{call['anonymousId']}|{str(call['timestamp'])[:10]}"}
    return {**call, "context": {**call.get("context", {}), **told}}


def _sessions(one: Engine, many: ClusterEngine, calls: Sequence[Call], found: Outcome) -> None:
    """The features of every session, of leaves that have no more than workers keep."""
    of: dict[str, set[str]] = {}
    for call in calls:
        if session := call.get("context", {}).get("sessionId"):
            of.setdefault(named(call)[0], set()).add(session)
    schema = one.state.session
    for name, sessions in of.items():
        if len(sessions) <= MOST_SESSIONS:
            for session in sessions:
                key = f"{keys.SESSION}{name}|{session}"
                records = (one.state.records.get(key), many.state.records.get(key))
                mine, theirs = (schema.read(record, one.clock()) for record in records)
                found.same("sessions", key, mine, theirs)
                found.counts["sessions with events"] += mine["session_events"] > 0


def _told(outcomes: Any) -> dict[str, Any]:
    return {"outcomes": outcomes.to_list(), "counts": outcomes.counts, "micros": outcomes.micros}


def _some(calls: Sequence[Call], count: int) -> list[Call]:
    """People of these calls, each once."""
    people = list({str(call["anonymousId"]): call for call in calls}.values())
    return people[:: max(1, len(people) // count)][:count] if count else []


def person(engine: Engine, name: str) -> dict[str, Any]:
    try:
        return engine.profile(name)
    except NotFound:
        return {"identifiers": []}


def named(call: Call) -> list[str]:
    found = [f"anonymous_id:{call['anonymousId']}"]
    return [f"user_id:{call['userId']}", *found] if "userId" in call else found


def _time(call: Call) -> Millis:
    return int(datetime.fromisoformat(str(call["timestamp"])).timestamp() * 1_000)


def _click(call: Call, item_id: str, now: Millis) -> Call:
    told = datetime.fromtimestamp(now / 1_000, UTC).isoformat(timespec="milliseconds")
    who = {name: call[name] for name in ("anonymousId", "userId") if name in call}
    return who | {
        "type": "track",
        "event": "Product Viewed",
        "messageId": f"click-{call['messageId']}-{now}",
        "timestamp": told,
        "properties": {"product_id": item_id},
    }


def _consent(call: Call) -> Call:
    """The person of a call says what may be done; a third forbids to be recognised."""
    allowed = hashlib.sha256(str(call["anonymousId"]).encode()).digest()[0] % 3 > 0
    return {
        "type": "track",
        "event": "Consent Given",
        "messageId": f"consent-{call['messageId']}",
        "anonymousId": call["anonymousId"],
        "timestamp": call["timestamp"],
        "context": {"consent": {"categoryPreferences": {"personalization": allowed, "marketing": False}}},
    }


def told(real: int, calls: int, found: Outcome, seconds: float) -> str:
    """The outcome as a table for the document."""
    rows = [(what, count) for what, count in found.counts.items() if not what.endswith("that differ")]
    return "\n".join(
        [
            f"`python -m tests.cluster.equivalence`: {real:,} real events, {calls:,} calls with what was "
            f"added, {seconds:.0f} s.",
            "",
            "| what | compared | differ |",
            "|---|---|---|",
            *(
                f"| {what} | {count:,} | {'' if what in WITHIN else found.counts[f'{what} that differ']} |"
                for what, count in rows
            ),
        ]
    )


def main() -> int:
    from tests.cluster.real_events import real

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="the folder with the four logs")
    parser.add_argument("--events", type=int, help="so many real events at most")
    parser.add_argument("--window", type=int, default=5_000)
    parser.add_argument("--decisions", type=int, default=60, help="people asked about between two windows")
    parser.add_argument("--partitions", type=int, default=4)
    parser.add_argument("--write", action="store_true", help="put the outcome into the document")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    began = time.monotonic()
    count, calls = real(options.data, options.events)
    with tempfile.TemporaryDirectory(prefix="equivalence-") as name:
        folder = Path(name)
        parts = Parts(folder / "servers")
        try:
            brokers, url = Kafka(parts).up(), Redis(parts).up()
            config = ClusterConfig(
                KafkaConfig(brokers),
                RedisConfig(url, timeout_s=5.0),
                prefix="same",
                partitions=options.partitions,
            )
            file = folder / "cluster.yaml"
            file.write_text(
                f"kafka: {{brokers: '{brokers}'}}\nredis: {{url: '{url}', timeout_s: 5.0}}\n"
                f"prefix: same\npartitions: {options.partitions}\n"
            )
            found = compare(
                calls, config, ensure(config), file, folder / "both",
                window=options.window, decisions=options.decisions,
            )  # fmt: skip
        finally:
            parts.down()
    for text in found.differ:
        print(text)
    print(json.dumps({"real": count, "calls": len(calls), **found.counts}, indent=2))
    if options.write:
        documents.put(DOCUMENT, "equivalence", told(count, len(calls), found, time.monotonic() - began))
    return int(bool(found.differ))


if __name__ == "__main__":
    sys.exit(main())
