"""Somebody who is erased is forgotten by every process of a cluster, and nothing brings them back."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis
from scripts.cluster.settled import settle
from tests.cluster.conftest import playing
from tests.cluster.equivalence import keep_old, person, send

from opportune.clock import FixedClock
from opportune.engine.workspace import load_workspace
from opportune.privacy.needles import needles, occurrences
from opportune.privacy.receipt import Receipt
from opportune.profiles.schema import ProfileSchema
from opportune.streams.config import ClusterConfig
from opportune.streams.engine import ClusterEngine, NotHere
from opportune.streams.leftovers import leftovers
from opportune.streams.mirror import Mirror
from opportune.streams.rebuild import changelog, rebuild
from opportune.streams.serving_copy import FADING_MS, ServingCopy
from opportune.streams.topics import DAY_MS, WEEK_MS, Topics

NOW = 1_790_000_000_000
NAMES = ["user_id:ada-lovelace", "anonymous_id:browser-ada-1", "anonymous_id:browser-ada-2"]
PATTERNS = needles(NAMES)


def _call(number: int, browser: str, user: str = "", *, at: int = NOW) -> dict[str, Any]:
    who = {"anonymousId": browser} | ({"userId": user} if user else {})
    told = _told(at)
    return who | {
        "type": "track", "event": "Product Viewed", "messageId": f"m{number}", "timestamp": told,
        "properties": {"product_id": f"i{number}"},
    }  # fmt: skip


def _told(at: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at / 1_000))


ADA = [
    _call(1, "browser-ada-1"),
    _call(2, "browser-ada-1", "ada-lovelace"),
    _call(3, "browser-ada-2", "ada-lovelace"),
]
BOB = [_call(4, "browser-bob"), _call(5, "browser-bob", "bob-the-builder")]


@contextmanager
def _scene(config: ClusterConfig, topics: Topics, folder: Path) -> Iterator[tuple[ClusterEngine, FixedClock]]:
    clock = FixedClock(NOW + 1_000)
    gateway = ClusterEngine(
        config, topics, load_workspace(None), folder=folder / "s", roles=("gateway", "decide"), clock=clock
    )
    try:
        yield gateway, clock
    finally:
        gateway.close()


def _until(holds: Callable[[], bool], *engines: ClusterEngine | Mirror) -> None:
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline, "it does not come about"
        for engine in engines:
            engine.maintain()
        time.sleep(0.01)


def _found(config: ClusterConfig) -> list[str]:
    """Keys of Redis whose values name one of them; keys themselves, once they have faded."""
    server = redis.Redis.from_url(config.redis.url)
    try:
        found = []
        for key in server.keys(f"{config.prefix}:*"):
            value = server.get(key) or b""
            kept = value if 0 < server.pttl(key) <= FADING_MS and len(value) == 8 else key + b" " + value
            if any(next(occurrences(kept.lower(), needle), -1) >= 0 for needle in PATTERNS):
                found.append(repr(key))
        return found
    finally:
        server.close()


def test_nobody_knows_them_any_more(
    config: ClusterConfig, topics: Topics, file: Path, tmp_path: Path
) -> None:
    keep_old(config, topics)
    copy = ServingCopy(config)
    with _scene(config, topics, tmp_path) as (gateway, clock):
        with playing("fold", file, tmp_path / "f"), playing("identity", file, tmp_path / "i"):
            send(gateway, ADA + BOB, NOW + 1_000)
            clock.now += 10_000
            settle(config, topics)
            assert person(gateway, NAMES[1])["events"] == {"product_viewed": 3}
            assert _found(config) != []
            bob = person(gateway, "anonymous_id:browser-bob")
            with Mirror.open(tmp_path / "m", clock=clock) as mirror:
                mirror.follow(config, topics, tmp_path / "m")
                _until(lambda: person(mirror, NAMES[1])["identifiers"] != [], mirror)
                erasing = gateway.erasing([NAMES[2]])
                erasing.begin()
                late = _admitted(gateway, _call(6, "browser-ada-1", "ada-lovelace"))
                assert late == ["suppressed"], "at this door at once, although the workers may not know yet"
                settle(config, topics)
                assert [person(gateway, name) for name in NAMES] == 3 * [{"identifiers": []}]
                _until(lambda: isinstance(_receipt(mirror, erasing.id), Receipt), mirror)
                receipt = mirror.erasure(erasing.id)
                assert isinstance(receipt, Receipt)
                assert receipt.state == "FINISHED"
                assert receipt.removed.identifiers == 3
                assert receipt.removed.entries == 3
                assert receipt.scan is not None
                assert receipt.scan.found == 0
                assert person(mirror, "anonymous_id:browser-bob") == bob
            assert _found(config) == []
            assert person(gateway, "anonymous_id:browser-bob") == bob
            with pytest.raises(NotHere, match="ask the process that plays derive"):
                gateway.erasure(erasing.id)

        _empty(config)
        rebuild(config, topics, ProfileSchema.default(), copy)
        assert _found(config) == [], "the changelogs still hold the old records, and their end"
        assert person(gateway, "anonymous_id:browser-bob") == bob

        before = [name for name in _on_disk(tmp_path / "f") if name.endswith(".sst")]
        assert before != [], "files still hold what was deleted, until the worker starts again"
        with playing("fold", file, tmp_path / "f"), playing("identity", file, tmp_path / "i2"):
            send(gateway, [_call(7, "browser-bob")], clock.now)
            settle(config, topics)
            assert [name for name in _on_disk(tmp_path / "f") if name.endswith(".sst")] == []
            assert _found(config) == [], "a worker without its disk reads the changelog"
            # A door that has not heard: what happened before stays out, what comes after is somebody new.
            with _scene(config, topics, tmp_path / "other") as (other, _):
                other._door._heard.clear()
                assert _admitted(other, _call(8, "browser-ada-1")) == ["suppressed"], "by the tombstone"
            clock.now += 60_000
            assert _admitted(gateway, _call(9, "browser-ada-1", at=clock.now)) == ["stored"]
            settle(config, topics)
            _until(lambda: person(gateway, NAMES[1])["identifiers"] != [], gateway)
            new = person(gateway, NAMES[1])
            assert [one["identifier"] for one in new["identifiers"]] == [NAMES[1]]
            assert new["events"] == {"product_viewed": 1}
    copy.close()


def _on_disk(folder: Path) -> list[str]:
    """Files that name one of them."""
    return [
        path.name
        for path in sorted(folder.rglob("*"))
        if path.is_file()
        and any(next(occurrences(path.read_bytes().lower(), needle), -1) >= 0 for needle in PATTERNS)
    ]


def _admitted(gateway: ClusterEngine, call: dict[str, Any]) -> list[str]:
    admission = gateway.admit([call], kind=None, dialect="segment", source="shop", received=gateway.clock())
    gateway.append([admission])
    gateway.flush()
    gateway.apply([admission])
    return [verdict.verdict for verdict in admission.verdicts]


def _receipt(mirror: Mirror, erasure_id: str) -> object:
    try:
        return mirror.erasure(erasure_id)
    except Exception:  # noqa: BLE001  # not there yet
        return None


def _empty(config: ClusterConfig) -> None:
    server = redis.Redis.from_url(config.redis.url)
    server.delete(*server.keys(f"{config.prefix}:*"))
    server.close()


def test_the_search_says_where_they_still_are_and_until_when(
    config: ClusterConfig, topics: Topics, file: Path, tmp_path: Path
) -> None:
    copy = ServingCopy(config)
    now = int(time.time() * 1_000)
    calls = [call | {"timestamp": _told(now)} for call in ADA]
    with _scene(config, topics, tmp_path) as (gateway, clock):
        clock.now = now
        with playing("fold", file, tmp_path / "f"), playing("identity", file, tmp_path / "i"):
            send(gateway, calls, now)
            settle(config, topics)
        found = {place.where: place for place in leftovers(config, copy, NAMES)}
    assert found["redis"].found > 0
    events = found[topics.events]
    assert 0 < events.found == events.read <= len(calls)
    assert events.until == events.newest + WEEK_MS + DAY_MS
    kept = found[changelog(config, "fold", topics.events)]
    assert kept.found > 0
    assert kept.until == kept.newest + DAY_MS + DAY_MS
    assert found[topics.items].found == 0
    copy.close()
