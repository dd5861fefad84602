"""What no client should send and some do: every answer is 200 or 400, and every event is accounted for."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import httpx
import pytest


@pytest.fixture
def post(served: Any) -> Iterator[Any]:
    with httpx.Client(base_url=served.url, auth=(served.write_key, ""), timeout=20) as client:

        def send(path: str, body: Any, **headers: str) -> httpx.Response:
            content = body if isinstance(body, bytes) else json.dumps(body).encode()
            return client.post(path, content=content, headers=headers)

        yield send


def track(**fields: Any) -> dict[str, Any]:
    return {"type": "track", "event": "Product Viewed", "userId": "u1", "messageId": uuid4().hex, **fields}


NESTED = (
    b'{"type":"track","event":"x","userId":"u1","properties":{"a":' + b"[" * 10_000 + b"]" * 10_000 + b"}}"
)

STORED_OR_REJECTED = [
    pytest.param(
        track(properties=None, context=None, integrations=None, anonymousId=None), "stored", id="nulls"
    ),
    pytest.param(track(properties={"text": "x" * 1_000_000}), "stored", id="megabyte"),
    pytest.param(track(timestamp="1970-01-01T00:00:00Z"), "stored", id="1970"),
    pytest.param(track(timestamp="2100-01-01T00:00:00Z"), "stored", id="2100"),
    pytest.param(
        track(event="Order Completed", properties={"quantity": -5, "price": -1}), "stored", id="negative"
    ),
    pytest.param(track(properties={"n": 10**30, "m": -(10**30)}), "stored", id="long number"),
    pytest.param(track(messageId="m" * 5_000), "stored", id="long message id"),
    pytest.param(track(event="\u0000\U0001f600", properties={"\u0000": "\u0000"}), "stored", id="odd text"),
    pytest.param(
        json.dumps(track(properties={"t": "\ud83d"})).encode(), "stored", id="half a surrogate pair"
    ),
    pytest.param(track(userId=7, anonymousId=8.5), "stored", id="numbers as ids"),
    pytest.param(track(userId={"id": 1}), "rejected", id="object as id"),
    pytest.param(track(userId="u" * 10_000), "rejected", id="endless id"),
    pytest.param(track(properties=[1, 2]), "rejected", id="list as properties"),
    pytest.param(track(type="charge"), "rejected", id="unknown type"),
    pytest.param(track(timestamp="yesterday"), "rejected", id="unreadable time"),
    pytest.param(track(userId=None), "rejected", id="nobody"),
    pytest.param(track(event=None), "rejected", id="no name"),
    pytest.param(NESTED, "rejected", id="10,000 levels"),
    pytest.param(b'{"type":"track","event":"x","userId":"\xff"}', "rejected", id="not utf-8"),
    pytest.param(
        b'{"type":"track","event":"x","userId":"u1","properties":{"a":1e999}}', "rejected", id="1e999"
    ),
    pytest.param(b"null", "rejected", id="null"),
    pytest.param(b"7", "rejected", id="number"),
    pytest.param(b"[]", "rejected", id="list"),
    pytest.param(b'"text"', "rejected", id="text"),
]


@pytest.mark.parametrize(("item", "verdict"), STORED_OR_REJECTED)
def test_a_bad_item_in_a_good_batch_gets_its_own_verdict(
    post: Any, since: Any, item: Any, verdict: str
) -> None:
    raw = item if isinstance(item, bytes) else json.dumps(item).encode()
    good = json.dumps(track()).encode()
    answer = post(
        "/v1/batch?verdicts=1", b'{"batch":[' + good + b"," + raw + b"," + good.replace(b"u1", b"u2") + b"]}"
    )
    assert answer.status_code == 200
    verdicts = answer.json()["verdicts"]
    assert [(v["index"], v["verdict"]) for v in verdicts] == [(0, "stored"), (1, verdict), (2, "duplicate")]
    if verdict == "rejected":
        assert verdicts[1]["code"]
        assert verdicts[1]["reason"]
        assert verdicts[1]["where"].startswith("$")
    expected = {"received": 3, "stored": 1, "duplicate": 1}
    expected[verdict] = expected.get(verdict, 0) + 1
    assert since.moved() == expected


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"nonsense",
        b"\xff\xff",
        b'{"batch":[',
        b'{"batch":[{"type":"track",]}',
        b'{"batch":{}}',
        b"{}",
        b"null",
        b"[" * 100_000,
        b'{"batch":[NaN]}',
    ],
)
def test_an_unreadable_batch_is_400_in_the_shape_that_clients_index(
    post: Any, since: Any, body: bytes
) -> None:
    answer = post("/v1/batch", body)
    assert answer.status_code == 400
    assert {"code", "message"} <= answer.json().keys()
    assert since.moved() == {}


@pytest.mark.parametrize(
    "path", ["/v1/track", "/v1/identify", "/v1/page", "/v1/screen", "/v1/group", "/v1/alias"]
)
def test_single_endpoints_answer_200_to_what_they_cannot_store(post: Any, since: Any, path: str) -> None:
    answer = post(path, {"userId": None})
    assert (answer.status_code, answer.json()["success"]) == (200, True)
    assert since.moved() == {"received": 1, "rejected": 1}
    assert post(path, b"nonsense").status_code == 400


def test_2501_events_in_a_batch_are_all_accounted_for(post: Any, since: Any) -> None:
    body = {"batch": [track() for _ in range(2_501)]}
    answer = post("/v1/batch", gzip.compress(json.dumps(body).encode()), **{"content-encoding": "gzip"})
    assert answer.status_code in (200, 400)
    assert since.moved() == ({"received": 2_501, "stored": 2_501} if answer.status_code == 200 else {})


def test_a_gzip_bomb_is_refused(post: Any, since: Any) -> None:
    bomb = gzip.compress(b'{"batch":[' + b" " * 200_000_000 + b"]}")
    answer = post("/v1/batch", bomb, **{"content-encoding": "gzip"})
    assert answer.status_code in (400, 413)
    assert since.moved() == {}


def test_a_broken_gzip_is_refused(post: Any) -> None:
    assert post("/v1/batch", b"not gzip", **{"content-encoding": "gzip"}).status_code == 400


def test_a_reused_message_id_with_another_payload_is_a_duplicate(post: Any, served: Any, since: Any) -> None:
    person = f"re-{uuid4().hex[:12]}"
    post("/v1/track", track(userId=person, messageId=person))
    post("/v1/track", track(userId=person, messageId=person, event="Order Completed"))
    assert since.moved() == {"received": 2, "stored": 1, "duplicate": 1}
    assert served.profile(f"user_id:{person}")["events"] == {"product_viewed": 1}


def test_the_pixel_and_the_beacon(served: Any, since: Any) -> None:
    data = base64.urlsafe_b64encode(json.dumps({**track(), "writeKey": served.write_key}).encode()).decode()
    assert httpx.get(f"{served.url}/pixel/v1/track", params={"data": data}).status_code == 200
    beacon = httpx.post(
        f"{served.url}/beacon/v1/batch",
        params={"writeKey": served.write_key},
        content=json.dumps({"batch": [track()]}),
        headers={"content-type": "text/plain"},
    )
    assert beacon.status_code == 200
    assert since.moved() == {"received": 2, "stored": 2}


def test_a_dead_letter_is_fixed_and_replayed(post: Any, served: Any, since: Any) -> None:
    person = f"dead-{uuid4().hex[:12]}"
    answer = post("/v1/batch?verdicts=1", {"batch": [track(userId=person, event=7)]})
    verdict = answer.json()["verdicts"][0]
    assert (verdict["code"], verdict["where"]) == ("wrong_type", "$.event")
    letter = next(one for one in served.letters() if one["id"] == verdict["letterId"])
    fixed = {**json.loads(letter["raw"]), "event": "Order Completed"}
    replayed = served.post(f"/v1/dead-letters/{letter['id']}/replay", {"event": fixed})
    assert replayed.status_code == 200, replayed.text
    assert since.moved() == {"received": 1, "stored": 1}
    assert served.profile(f"user_id:{person}")["events"] == {"order_completed": 1}
    assert letter["id"] not in {one["id"] for one in served.letters()}
