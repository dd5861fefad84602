from __future__ import annotations

from typing import Any

import httpx
import pytest


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/profiles/user_id:u1"),
        ("GET", "/v1/profiles/user_id:u1/traits"),
        ("GET", "/v1/decisions/d-home_recs"),
        ("GET", "/v1/accounting"),
        ("GET", "/v1/dead-letters"),
        ("POST", "/v1/dead-letters/dl1/replay"),
        ("POST", "/v1/dead-letters/dl1/discard"),
    ],
)
def test_reads_need_the_secret_key(
    anonymous: httpx.Client, public: httpx.Client, private: httpx.Client, method: str, path: str
) -> None:
    assert anonymous.request(method, path).status_code == 401
    refused = public.request(method, path)
    assert (refused.status_code, refused.json()["code"]) == (403, "forbidden")
    assert private.request(method, path).status_code in (200, 404)
    assert "access-control-allow-origin" not in private.request(method, path).headers


@pytest.mark.parametrize(
    ("path", "identifier"),
    [
        ("user_id:u1", "user_id:u1"),
        ("email:a%40b.c", "email:a@b.c"),
        ("url:https%3A%2F%2Fx%2Fy", "url:https://x/y"),
        ("user_id:a/b", "user_id:a/b"),
        ("user_id:%E2%82%AC", "user_id:€"),
        ("user_id:events", "user_id:events"),
    ],
)
def test_identifiers_may_hold_anything(private: httpx.Client, path: str, identifier: str) -> None:
    answer = private.get(f"/v1/profiles/{path}")
    assert answer.json()["identifiers"][0]["identifier"] == identifier


@pytest.mark.parametrize("name", ["u1", "user_id:", ":u1", "%20"])
def test_a_profile_is_named_by_type_and_value(private: httpx.Client, name: str) -> None:
    answer = private.get(f"/v1/profiles/{name}")
    assert (answer.status_code, answer.json()["message"]) == (400, "a profile is named by type:value")


def test_an_unknown_person(private: httpx.Client) -> None:
    assert private.get("/v1/profiles/user_id:ghost").json()["code"] == "not_found"


def test_traits_plain_and_verbose(private: httpx.Client) -> None:
    plain = private.get("/v1/profiles/user_id:u1/traits").json()
    assert plain["traits"] == {"t0": 0, "t1": 1, "t2": 2}
    assert plain["cursor"] == {
        "url": "/v1/profiles/user_id:u1/traits",
        "has_more": False,
        "next": "",
        "limit": 100,
    }
    verbose = private.get("/v1/profiles/user_id:u1/traits?verbose=true&limit=1").json()
    assert verbose["traits"] == {"t0": {"value": 0, "source_id": "default", "updated_at": 5}}


def test_events_are_paged(private: httpx.Client) -> None:
    seen, following = [], ""
    while True:
        page = private.get(f"/v1/profiles/user_id:u1/events?limit=2&next={following}").json()
        seen += [touch["item_id"] for touch in page["data"]]
        following = page["cursor"]["next"]
        if not page["cursor"]["has_more"]:
            break
    assert seen == [f"sku{n}" for n in range(5)]


def test_other_parts(private: httpx.Client) -> None:
    at = "/v1/profiles/user_id:u1"
    assert private.get(f"{at}/links").json()["data"][0]["evidence"] == "identify"
    ids = private.get(f"{at}/external_ids").json()
    assert ids["data"] == [{"id": "u1", "type": "user_id", "created_at": 1, "encoding": "none"}]
    expected = {"id": "user_id:u1", "created_at": 1, "updated_at": 2}
    assert private.get(f"{at}/metadata").json() == {"metadata": expected}


@pytest.mark.parametrize("limit", ["0", "1001", "x", "-1", "1e3", "99999999999999999999", "²"])
def test_limits_are_checked(private: httpx.Client, limit: str) -> None:
    answer = private.get("/v1/dead-letters", params={"limit": limit})
    assert answer.status_code == 400
    assert answer.json()["message"] == "limit must be a whole number from 1 to 1000"


def test_decisions_and_accounting(private: httpx.Client) -> None:
    assert private.get("/v1/decisions/d-home_recs").json() == {"decision_id": "d-home_recs"}
    assert private.get("/v1/decisions/other").status_code == 404
    assert private.get("/v1/accounting").json()["sources"]["default"]["received"] == 0


def test_a_dead_letter_is_found_fixed_and_replayed(private: httpx.Client, engine: Any) -> None:
    private.post("/v1/batch", content=b'{"batch":[{"no":"type"}]}')
    page = private.get("/v1/dead-letters?code=unknown_type&cursor=c").json()
    assert page["cursor"] == {"next": "", "code": "unknown_type", "from": "c"}
    letter_id = page["letters"][0]["letter_id"]
    again = private.post(f"/v1/dead-letters/{letter_id}/replay").json()
    assert again["verdicts"][0]["verdict"] == "rejected"
    fixed = private.post(f"/v1/dead-letters/{letter_id}/replay", json={"event": {"type": "track"}})
    assert fixed.json() == {"success": True, "verdicts": [{"index": 0, "messageId": "", "verdict": "stored"}]}
    assert engine.applied == [{"type": "track"}]
    unclear = private.post(f"/v1/dead-letters/{letter_id}/replay", json={"type": "track"})
    assert (unclear.status_code, unclear.json()["message"]) == (400, "the fix has no event")
    assert private.post(f"/v1/dead-letters/{letter_id}/replay", content=b"[").status_code == 400
    assert private.post(f"/v1/dead-letters/{letter_id}/discard").json()["success"] is True
    assert private.post(f"/v1/dead-letters/{letter_id}/discard").status_code == 404


def test_probes(anonymous: httpx.Client, engine: Any) -> None:
    assert anonymous.get("/health").json()["status"] == "ok"
    assert anonymous.get("/ready").json() == {"ready": True, "checkpoint_offset": 7, "queued_events": 0}
    engine.is_ready = False
    assert anonymous.get("/ready").status_code == 503
    assert anonymous.get("/.well-known/gpc.json").json()["gpc"] is True


def test_docs_are_self_hosted(anonymous: httpx.Client) -> None:
    page = anonymous.get("/docs")
    assert "/v1/decide" in page.text
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert "http://" not in page.text
    assert "https://" not in page.text


def test_unknown_paths_and_wrong_methods_are_json(anonymous: httpx.Client) -> None:
    answer = anonymous.get("/nothing/here")
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    answer = anonymous.get("/v1/track")
    assert (answer.status_code, answer.json()["code"]) == (405, "method_not_allowed")
    assert answer.headers["allow"] == "OPTIONS, POST"
    answer = anonymous.post("/v1/decisions/x")
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD, OPTIONS")
    assert anonymous.get("/v1/profiles").status_code == 404
    assert anonymous.request("BREW", "/health").status_code in (400, 405)


def test_head(anonymous: httpx.Client) -> None:
    full = anonymous.get("/.well-known/gpc.json")
    head = anonymous.head("/.well-known/gpc.json")
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == full.headers["content-length"]
