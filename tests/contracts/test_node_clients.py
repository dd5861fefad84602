"""@segment/analytics-node, and @segment/analytics-next under jsdom, unmodified, on Node.js."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

pytestmark = pytest.mark.node

EVERY_CALL = {
    "alias": 1,
    "group": 1,
    "identify": 1,
    "order_completed": 1,
    "page": 1,
    "product_viewed": 1,
    "screen": 1,
}


def run(node_clients: Path, script: str, **given: Any) -> dict[str, Any]:
    done = subprocess.run(
        ["node", script, json.dumps(given)],
        cwd=node_clients,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2_000:]
    answer = json.loads(done.stdout.splitlines()[-1])
    assert isinstance(answer, dict)
    return answer


@pytest.fixture
def person() -> str:
    return f"js-{uuid4().hex[:12]}"


def linked(profile: dict[str, Any]) -> set[str]:
    return {known["identifier"] for known in profile["identifiers"]}


class TestNode:
    def drive(self, node_clients: Path, way: Any, served: Any, person: str, **more: Any) -> None:
        answer = run(
            node_clients, "node_client.mjs", host=way.url, writeKey=served.write_key, person=person, **more
        )
        assert answer == {"errors": []}

    def test_every_call_is_stored_once(
        self, node_clients: Path, way: Any, served: Any, since: Any, person: str
    ) -> None:
        self.drive(node_clients, way, served, person)
        since.wait_for({"received": 7, "stored": 7})
        profile = served.profile(f"user_id:{person}")
        assert profile["events"] == EVERY_CALL
        assert profile["traits"]["plan"]["value"] == "pro"
        assert {f"anonymous_id:anon-{person}", f"email:{person}@shop.example"} <= linked(profile)
        assert {post.path for post in way.posts()} == {"/v1/batch"}

    @pytest.mark.parametrize("trouble", [503, 429])
    def test_a_refused_batch_comes_again(
        self, node_clients: Path, way: Any, served: Any, since: Any, person: str, trouble: int
    ) -> None:
        way.script = [trouble]
        self.drive(node_clients, way, served, person)
        since.wait_for({"received": 7, "stored": 7})
        assert way.statuses()[0] == trouble

    def test_a_lost_acknowledgement_stores_nothing_twice(
        self, node_clients: Path, way: Any, served: Any, since: Any, person: str
    ) -> None:
        way.script = ["lost"]
        self.drive(node_clients, way, served, person)
        since.wait_for({"received": 14, "stored": 7, "duplicate": 7})
        assert served.profile(f"user_id:{person}")["events"] == EVERY_CALL

    def test_a_large_backlog(
        self, node_clients: Path, way: Any, served: Any, since: Any, person: str
    ) -> None:
        self.drive(node_clients, way, served, person, many=200)
        since.wait_for({"received": 200, "stored": 200})
        assert served.profile(f"user_id:{person}")["events"] == {"product_viewed": 200}


@pytest.mark.parametrize("batching", [False, True])
def test_the_browser_client_under_jsdom(
    node_clients: Path, way: Any, served: Any, since: Any, person: str, batching: bool
) -> None:
    answer = run(
        node_clients,
        "browser_client_jsdom.mjs",
        url=way.url,
        host=way.host,
        writeKey=served.write_key,
        person=person,
        batching=batching,
    )
    assert answer["messages"] == []
    since.wait_for({"received": 7, "stored": 7})
    profile = served.profile(f"user_id:{person}")
    assert profile["events"] == EVERY_CALL
    assert f"anonymous_id:{answer['anonymousId']}" in linked(profile)
    assert way.seen[0].path == f"/v1/projects/{served.write_key}/settings"
    tracked = [post for post in way.posts() if not post.path.endswith("/m")]
    assert {post.headers["content-type"] for post in tracked} == {"text/plain"}
    expected = {"/v1/b"} if batching else {"/v1/t", "/v1/p", "/v1/i", "/v1/s", "/v1/g", "/v1/a"}
    assert {post.path for post in tracked} == expected
