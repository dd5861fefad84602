from __future__ import annotations

import base64
import gzip
import json
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

SENT_AT = int(datetime(2026, 11, 21, 20, 46, 43, tzinfo=UTC).timestamp()) * 1000
EVENT = {"type": "track", "event": "Product Viewed", "userId": "u1", "messageId": "m1"}


def test_a_single_event_is_on_disk_and_folded_when_the_answer_comes(
    public: httpx.Client, engine: Any
) -> None:
    answer = public.post("/v1/track", json=EVENT)
    assert (answer.status_code, answer.content) == (200, b'{"success":true}')
    assert engine.applied == [EVENT]
    assert engine.flushes == 1
    assert answer.headers["content-type"] == "application/json"


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/v1/track", "track"),
        ("/v1/t", "track"),
        ("/t", "track"),
        ("/v1/identify", "identify"),
        ("/v1/i", "identify"),
        ("/v1/page", "page"),
        ("/v1/p", "page"),
        ("/v1/screen", "screen"),
        ("/v1/s", "screen"),
        ("/v1/group", "group"),
        ("/v1/g", "group"),
        ("/v1/alias", "alias"),
        ("/v1/a", "alias"),
    ],
)
def test_every_call_and_its_short_form(public: httpx.Client, engine: Any, path: str, kind: str) -> None:
    assert public.post(path, json=EVENT).status_code == 200
    assert engine.admitted[0]["kind"] == kind


@pytest.mark.parametrize("path", ["/v1/batch", "/v1/b", "/b", "/v1/import", "/beacon/v1/batch"])
def test_a_batch_keeps_items_raw_and_shares_sent_at_and_context(
    public: httpx.Client, engine: Any, path: str
) -> None:
    body = {"batch": [EVENT, {"type": "page"}], "sentAt": "2026-11-21T20:46:43.7Z", "context": {"ip": "0"}}
    assert public.post(path, json=body).json() == {"success": True}
    admitted = engine.admitted[0]
    assert [json.loads(item) for item in admitted["items"]] == [EVENT, {"type": "page"}]
    assert admitted["kind"] is None
    assert admitted["sent_at"] == SENT_AT + 700
    assert admitted["batch_context"] == {"ip": "0"}
    assert (admitted["dialect"], admitted["source"]) == ("segment", "default")


def test_verdicts_are_there_for_the_asking(public: httpx.Client) -> None:
    body = {"batch": [EVENT, EVENT, 5, {"no": "type"}]}
    answer = public.post("/v1/batch?verdicts=true", json=body).json()
    outcomes = [verdict["verdict"] for verdict in answer["verdicts"]]
    assert outcomes == ["stored", "duplicate", "rejected", "rejected"]
    assert [verdict["index"] for verdict in answer["verdicts"]] == [0, 1, 2, 3]
    assert (answer["received"], answer["stored"], answer["duplicate"], answer["rejected"]) == (4, 1, 1, 2)
    assert answer["verdicts"][3]["code"] == "unknown_type"
    assert answer["verdicts"][0]["messageId"] == "m1"


@pytest.mark.parametrize(
    "bad",
    [
        b'{"type":"track","n":NaN}',
        b'{"type":"track","s":"\\ud800"}',
        b'{"type":"track","deep":' + b"[" * 10_000 + b"]" * 10_000 + b"}",
        b'{"type":"track","n":01}',
        b'{"type":"track","s":"\xff\xfe"}',
    ],
)
def test_one_poison_item_does_not_spoil_its_batch(public: httpx.Client, engine: Any, bad: bytes) -> None:
    good = b'{"type":"track","event":"]},{[","messageId":"g1"}'
    body = b'{"sentAt":"2026-11-21T20:46:43Z","batch":[' + good + b"," + bad + b'],"writeKey":"wk_test"}'
    answer = public.post("/v1/batch?verdicts=1", content=body)
    assert answer.status_code == 200, answer.text
    assert answer.json()["verdicts"][0] == {"index": 0, "messageId": "g1", "verdict": "stored"}
    assert answer.json()["received"] == 2
    assert engine.admitted[0]["sent_at"] == SENT_AT


@pytest.mark.parametrize(
    "body", [b"", b"{", b'{"batch":[{}', b"nonsense", b'{"batch":[}', b"\xff", b"[]", b"7"]
)
@pytest.mark.parametrize("path", ["/v1/batch", "/v1/track"])
def test_unreadable_json_is_400_with_code_and_message(
    public: httpx.Client, engine: Any, path: str, body: bytes
) -> None:
    answer = public.post(path, content=body)
    assert answer.status_code == 400
    assert answer.json()["code"] == "invalid_request"
    assert answer.json()["message"]
    assert engine.admitted == []


def test_an_empty_batch_is_fine(public: httpx.Client) -> None:
    answer = public.post("/v1/batch?verdicts=true", content=b'{"batch":[]}')
    assert (answer.status_code, answer.json()["received"]) == (200, 0)


def test_a_batch_larger_than_customary_is_taken_in_pieces(public: httpx.Client, engine: Any) -> None:
    body = {"batch": [{"type": "track", "messageId": f"m{n}"} for n in range(2501)]}
    answer = public.post("/v1/batch?verdicts=true", json=body)
    assert answer.status_code == 200
    assert [verdict["index"] for verdict in answer.json()["verdicts"]] == list(range(2501))
    assert [event["messageId"] for event in engine.applied] == [f"m{n}" for n in range(2501)]
    assert max(len(admitted["items"]) for admitted in engine.admitted) <= 128


def test_10001_events_are_too_many(public: httpx.Client, engine: Any) -> None:
    answer = public.post("/v1/batch", json={"batch": [{"type": "track"}] * 10_001})
    assert (answer.status_code, answer.json()["where"]) == (400, "$.batch")
    assert answer.json()["message"] == "a batch holds at most 10000 events"
    assert engine.applied == []


def test_a_body_over_the_limit_is_400(public: httpx.Client) -> None:
    answer = public.post("/v1/track", content=b'{"a":"' + b"x" * (4 << 20) + b'"}')
    assert answer.status_code == 400
    assert answer.json()["code"] == "too_large"
    assert answer.headers["connection"] == "close"


def test_chunked_bodies_are_counted_too(public: httpx.Client, engine: Any) -> None:
    text = json.dumps(EVENT).encode()
    assert public.post("/v1/track", content=iter([text[:10], text[10:]])).status_code == 200
    assert engine.applied == [EVENT]
    answer = public.post("/v1/track", content=(b"x" * 65_536 for _ in range(70)))
    assert answer.json()["code"] == "too_large"


@pytest.mark.parametrize("encoding", ["gzip", "x-gzip"])
def test_gzip(public: httpx.Client, engine: Any, encoding: str) -> None:
    packed = gzip.compress(json.dumps({"batch": [EVENT]}).encode())
    assert public.post("/v1/batch", content=packed, headers={"content-encoding": encoding}).status_code == 200
    assert engine.applied == [EVENT]


def test_gzip_bombs_are_refused(public: httpx.Client) -> None:
    bomb = gzip.compress(b"[" * (20 << 20), 9)
    answer = public.post("/v1/batch", content=bomb, headers={"content-encoding": "gzip"})
    assert answer.status_code == 400
    assert answer.json()["message"] == "the body is larger than 4194304 bytes once decompressed"
    members = gzip.compress(b"") * 1_000
    answer = public.post("/v1/batch", content=members, headers={"content-encoding": "gzip"})
    assert answer.json()["message"] == "the body has more than 16 gzip members"


def test_what_is_not_gzip_is_unreadable(public: httpx.Client) -> None:
    answer = public.post("/v1/batch", content=b"{}", headers={"content-encoding": "gzip"})
    assert (answer.status_code, answer.json()["code"]) == (400, "unreadable_json")
    assert answer.json()["message"].startswith("the body is not valid gzip")
    cut = gzip.compress(b'{"batch":[]}' * 100)[:-12]
    answer = public.post("/v1/batch", content=cut, headers={"content-encoding": "gzip"})
    assert answer.json()["message"] == "the gzip body ends early"


def test_unknown_encodings_are_named(public: httpx.Client) -> None:
    answer = public.post("/v1/batch", content=b"{}", headers={"content-encoding": "br"})
    assert (answer.status_code, answer.json()["seen"]) == (415, "br")


BASIC = base64.b64encode(b"wk_test:").decode()
BARE = base64.b64encode(b"wk_test").decode()


@pytest.mark.parametrize(
    ("headers", "body", "query"),
    [
        ({"authorization": f"Basic {BASIC}"}, EVENT, ""),
        ({"authorization": f"Basic {BARE}"}, EVENT, ""),
        ({"authorization": "Bearer wk_test"}, EVENT, ""),
        ({"authorization": "bearer sk_test"}, EVENT, ""),
        ({"x-api-key": "wk_test"}, EVENT, ""),
        ({}, {**EVENT, "writeKey": "wk_test"}, ""),
        ({"authorization": "Bearer an.oauth.token"}, {**EVENT, "writeKey": "wk_test"}, ""),
        ({}, EVENT, "?writeKey=wk_test"),
    ],
)
def test_every_way_to_present_a_key(
    anonymous: httpx.Client, headers: dict[str, str], body: dict[str, Any], query: str
) -> None:
    answer = anonymous.post(f"/v1/track{query}", content=json.dumps(body), headers=headers)
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize(
    ("headers", "query"),
    [
        ({}, ""),
        ({"authorization": "Bearer wrong"}, ""),
        ({"authorization": "Basic %%%"}, ""),
        ({"authorization": "Digest wk_test"}, ""),
        ({"x-api-key": "wrong"}, ""),
        ({}, "?writeKey=sk_test"),
    ],
)
def test_without_a_good_key_nothing_is_taken(
    anonymous: httpx.Client, engine: Any, headers: dict[str, str], query: str
) -> None:
    answer = anonymous.post(f"/v1/track{query}", json=EVENT, headers=headers)
    assert answer.status_code == 401
    assert answer.json()["code"] == "unauthorized"
    assert engine.admitted == []


def test_a_text_plain_body_from_a_browser(anonymous: httpx.Client, engine: Any) -> None:
    body = json.dumps({**EVENT, "writeKey": "wk_test", "sentAt": "2026-11-21T20:46:43Z", "_metadata": {}})
    headers = {"content-type": "text/plain", "origin": "https://shop.example"}
    answer = anonymous.post("/v1/t", content=body, headers=headers)
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == "*"
    assert engine.admitted[0]["sent_at"] == SENT_AT


def test_preflight(anonymous: httpx.Client) -> None:
    for path in ("/v1/t", "/v1/batch", "/v1/decide", "/v1/whatever", "/b"):
        answer = anonymous.options(path, headers={"origin": "https://shop.example"})
        assert (answer.status_code, answer.content) == (204, b"")
        assert answer.headers["access-control-allow-methods"] == "POST,OPTIONS"
        assert set(answer.headers["access-control-allow-headers"].split(",")) >= {
            "authorization",
            "content-type",
            "x-retry-count",
        }
        assert int(answer.headers["access-control-max-age"]) >= 3600


def test_refusals_can_be_read_by_a_page(anonymous: httpx.Client) -> None:
    answer = anonymous.post("/v1/track", json=EVENT, headers={"origin": "https://shop.example"})
    assert answer.status_code == 401
    assert answer.headers["access-control-allow-origin"] == "*"


@pytest.mark.parametrize(("value", "context"), [("1", {"gpc": True}), ("0", None), ("true", None)])
def test_global_privacy_control_is_noted_when_exactly_1(
    public: httpx.Client, engine: Any, value: str, context: dict[str, bool] | None
) -> None:
    public.post("/v1/track", json=EVENT, headers={"sec-gpc": value})
    assert engine.admitted[0]["batch_context"] == context


def test_integrations_of_a_batch_travel_in_its_context(public: httpx.Client, engine: Any) -> None:
    public.post("/v1/batch", json={"batch": [EVENT], "integrations": {"All": False}, "context": {"ip": "0"}})
    assert engine.admitted[0]["batch_context"] == {"ip": "0", "integrations": {"All": False}}


def test_client_metrics_are_taken_and_dropped(anonymous: httpx.Client, engine: Any) -> None:
    assert anonymous.post("/v1/m", json={"series": []}).status_code == 200
    assert engine.admitted == []


def test_pixels(anonymous: httpx.Client, engine: Any) -> None:
    packed = (
        base64.urlsafe_b64encode(json.dumps({**EVENT, "writeKey": "wk_test"}).encode()).decode().rstrip("=")
    )
    answer = anonymous.get(f"/pixel/v1/track?data={packed}")
    assert answer.headers["content-type"] == "image/gif"
    assert answer.content[:6] == b"GIF89a"
    assert json.loads(engine.admitted[0]["items"][0]) == {**EVENT, "writeKey": "wk_test"}
    answer = anonymous.get(
        '/pixel/v1/page?writeKey=wk_test&userId=u1&properties.url=/x&context={"ip":"0"}&properties.a.b=1'
    )
    assert answer.status_code == 200
    assert engine.admitted[1]["kind"] == "page"
    assert json.loads(engine.admitted[1]["items"][0]) == {
        "writeKey": "wk_test",
        "userId": "u1",
        "properties": {"url": "/x", "a.b": "1"},
        "context": {"ip": "0"},
    }
    assert anonymous.get("/pixel/v1/track?data=%25%25").json()["message"] == "the pixel's data is not base64"
    assert anonymous.get("/pixel/v1/track?userId=u1").status_code == 401


def test_settings_hold_the_segment_integration_only(anonymous: httpx.Client, server: Any) -> None:
    answer = anonymous.get("/v1/projects/wk_test/settings")
    host = f"127.0.0.1:{server.port}"
    assert answer.json() == {
        "integrations": {"Segment.io": {"apiKey": "wk_test", "apiHost": f"{host}/v1", "protocol": "http"}}
    }
    assert answer.headers["access-control-allow-origin"] == "*"
    assert anonymous.get("/v1/projects/sk_test/settings").status_code == 404


def test_the_engine_is_told_which_key_an_event_came_under(
    public: httpx.Client, private: httpx.Client, engine: Any
) -> None:
    for client in (public, private):
        assert client.post("/v1/track", json={**EVENT, "messageId": ""}).status_code == 200
    assert [admitted["is_public"] for admitted in engine.admitted] == [True, False]
