"""Regulations over HTTP, and Global Privacy Control at the decision, with a real engine."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.server.conftest import KEYS, RunningServer

from opportune import Engine

SECRET = {"authorization": f"Bearer {KEYS.secret}"}
WRITE = {"authorization": f"Bearer {KEYS.write}"}


@pytest.fixture
def client(tmp_path: Path, start: Callable[..., RunningServer]) -> Iterator[httpx.Client]:
    (tmp_path / "ws").mkdir()
    (tmp_path / "ws" / "consent.yaml").write_text("gpc_denies: [personalize]\n")
    (tmp_path / "ws" / "privacy.yaml").write_text("retention: {events: {product_viewed: 1d}}\n")
    with Engine.open(tmp_path / "data", workspace=tmp_path / "ws") as engine:
        engine.ingest([{"item_id": f"p{n}", "name": f"Product {n}"} for n in range(8)], dialect="catalog")
        server = start(engine)
        with httpx.Client(base_url=server.url, timeout=20) as client:
            yield client
        server.stop()


def seen(client: httpx.Client, user: str, message_id: str) -> dict[str, Any]:
    event = {
        "type": "track", "event": "Product Viewed", "userId": user, "messageId": message_id,
        "properties": {"product_id": "p1"},
    }  # fmt: skip
    answer = client.post("/v1/import?verdicts=true", json={"batch": [event]}, headers=WRITE)
    told: dict[str, Any] = answer.json()
    return told


def test_a_regulation_is_carried_out_and_its_receipt_is_kept(client: httpx.Client) -> None:
    for user in ("ada-lovelace", "bob-the-other"):
        seen(client, user, f"m-{user}")
    assert client.get("/v1/privacy/export/user_id:ada-lovelace", headers=SECRET).json()["events"]
    asked = {
        "regulationType": "SUPPRESS_WITH_DELETE",
        "subjectType": "USER_ID",
        "subjectIds": ["ada-lovelace"],
    }
    assert client.post("/regulations", json=asked, headers=WRITE).status_code == 403
    told = client.post("/regulations", json=asked, headers=SECRET).json()
    assert told["state"] == "RUNNING"
    assert client.get("/v1/profiles/user_id:ada-lovelace", headers=SECRET).status_code == 404
    until = time.monotonic() + 20
    while told["state"] == "RUNNING" and time.monotonic() < until:
        time.sleep(0.02)
        told = client.get(f"/regulations/{told['regulateId']}", headers=SECRET).json()
    assert (told["state"], told["receipt"]["scan"]["found"]) == ("FINISHED", 0)
    assert seen(client, "ada-lovelace", "m-later")["verdicts"][0]["verdict"] == "suppressed"
    assert seen(client, "bob-the-other", "m-later-2")["verdicts"][0]["verdict"] == "stored"


def test_a_right_is_exercised_and_taken_back(client: httpx.Client) -> None:
    seen(client, "ada-lovelace", "m-1")
    who = {"identifier": "user_id:ada-lovelace"}

    def ask(**asked: Any) -> dict[str, Any]:
        time.sleep(0.002)  # one word a millisecond
        answer = client.post("/v1/privacy/rights", json=who | asked, headers=SECRET)
        assert answer.status_code == 200, answer.text
        told: dict[str, Any] = answer.json()
        return told

    assert (
        client.post("/v1/privacy/rights", json=who | {"right": "restrict"}, headers=WRITE).status_code == 403
    )
    put_right = ask(right="rectify", trait="city", value="Basel", why="by letter")["rectified"]["city"]
    assert (put_right["value"], put_right["who"], put_right["why"]) == ("Basel", "secret key", "by letter")
    assert ask(right="restrict")["restricted"]
    assert ask(right="object", uses=["train"])["objections"] == ["train"]
    assert not ask(right="lift")["restricted"]
    ask(right="withdraw", uses=["train"])
    held = client.get("/v1/privacy/rights/user_id:ada-lovelace", headers=SECRET).json()
    assert (held["restricted"], held["objections"]) == (False, [])
    refused = client.post("/v1/privacy/rights", json=who | {"right": "lift"}, headers=SECRET)
    assert (refused.status_code, refused.json()["message"]) == (400, "there is nothing to take back")


def test_what_is_past_its_time_goes(client: httpx.Client) -> None:
    old = {
        "type": "track", "event": "Product Viewed", "userId": "u1", "messageId": "old",
        "timestamp": "2020-01-01T00:00:00Z", "properties": {"product_id": "p1"},
    }  # fmt: skip
    client.post("/v1/import", json={"batch": [old]}, headers=WRITE)
    seen(client, "u1", "new")
    assert client.get("/v1/privacy/retention", headers=SECRET).json()["state"] == "NEVER"
    for body, left in ((b'{"dry_run": true}', 2), (b"", 1)):
        told = client.post("/v1/privacy/retention", content=body, headers=SECRET).json()
        until = time.monotonic() + 20
        while told["state"] == "RUNNING" and time.monotonic() < until:
            time.sleep(0.02)
            told = client.get("/v1/privacy/retention", headers=SECRET).json()
        assert (told["state"], told["report"]["events"]) == ("FINISHED", {"product_viewed": 1})
        known = client.get("/v1/profiles/user_id:u1", headers=SECRET).json()
        assert known["events"] == {"product_viewed": left}


def test_kept_out_and_let_in_again(client: httpx.Client) -> None:
    asked = {"subjectType": "USER_ID", "subjectIds": ["ada-lovelace"]}
    for kind, verdict in (("SUPPRESS_ONLY", "suppressed"), ("UNSUPPRESS", "stored")):
        told = client.post("/regulations", json=asked | {"regulationType": kind}, headers=SECRET).json()
        assert told["state"] == "FINISHED"
        again = client.get(f"/regulations/{told['regulateId']}", headers=SECRET).json()
        assert again == told
        assert seen(client, "ada-lovelace", f"m-{kind}")["verdicts"][0]["verdict"] == verdict


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"regulationType": "DELETE_ONLY", "subjectIds": []}, "one to 5000 subjects"),
        ({"regulationType": "FORGET", "subjectIds": ["a"]}, "Invalid enum value 'FORGET'"),
        ({"regulationType": "DELETE_ONLY", "subjectIds": ["null"]}, "this names nobody"),
    ],
)
def test_what_cannot_be_meant_is_refused(client: httpx.Client, asked: dict[str, Any], message: str) -> None:
    answer = client.post("/regulations", json=asked, headers=SECRET)
    assert answer.status_code == 400
    assert message in answer.json()["message"]
    assert client.get("/regulations/0123456789abcdef", headers=SECRET).status_code == 404


def test_global_privacy_control_is_heard_at_the_decision(client: httpx.Client) -> None:
    asked = {"placement": "home_recs", "identifiers": {"user_id": "ada-lovelace"}}
    for value, consent in ((None, "personal"), ("0", "personal"), ("1", "contextual")):
        headers = WRITE | ({} if value is None else {"sec-gpc": value})
        decision = client.post("/v1/decide", json=asked, headers=headers).json()["decisions"][0]
        assert decision["consent"] == consent
