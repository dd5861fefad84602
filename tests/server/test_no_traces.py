"""Personal data stays where it belongs: not in logs, not in metrics, not in the audit log."""

from __future__ import annotations

import logging
from pathlib import Path

import httpx
import pytest
from tests.server.conftest import KEYS, RunningServer

from opportune import Engine
from opportune.access.audit import AuditLog
from opportune.server.app import create_app
from opportune.server.metrics import Metrics
from opportune.server.protocol import Patience
from opportune.server.writer import GroupWriter

MARK = "zzmarkedzz"
SECRET = {"authorization": f"Bearer {KEYS.secret}"}


def traffic(client: httpx.Client) -> int:
    """Everything that carries an identifier somewhere, good and bad; how many requests failed on purpose."""
    who = {
        "userId": f"{MARK}-u",
        "anonymousId": f"{MARK}-a",
        "context": {"traits": {"email": f"{MARK}@x.example"}},
    }
    public = {"authorization": f"Bearer {KEYS.write}"}
    answers = [
        client.post(
            "/v1/identify", json={**who, "traits": {"name": MARK, "phone": f"+1{MARK}"}}, headers=public
        ),
        client.post("/v1/track", json={**who, "event": f"Bought {MARK}"}, headers=public),
        client.post("/v1/track", json={**who, "properties": {"q": MARK}}, headers=public),
        client.post("/v1/track", content=f'{{"userId": "{MARK}'.encode(), headers=public),
        client.post("/v1/track", json=who, headers={"authorization": f"Bearer {MARK}"}),
        client.get(f"/pixel/v1/page?writeKey={KEYS.write}&userId={MARK}"),
        client.post("/v1/decide", json={"placement": MARK, "identifiers": {"user_id": MARK}}, headers=public),
        client.post(
            "/v1/decide",
            json={"placement": "home_recs", "identifiers": {"user_id": MARK}, "context": {"search": MARK}},
            headers=SECRET,
        ),
        client.get(f"/v1/profiles/user_id:{MARK}-u", headers=SECRET),
        client.get(f"/v1/profiles/user_id:{MARK}-nobody", headers=SECRET),
        client.get(f"/v1/profiles/{MARK}", headers=SECRET),
        client.get(f"/v1/{MARK}", headers=SECRET),
        client.post(
            "/v1/identity/merge",
            json={"a": f"user_id:{MARK}-u", "b": f"anonymous_id:{MARK}-b", "why": f"{MARK} said so"},
            headers=SECRET,
        ),
        client.post("/v1/identity/unmerge", json={"a": f"user_id:{MARK}", "b": MARK}, headers=SECRET),
        client.get(f"/v1/audit?about=user_id:{MARK}-u", headers=SECRET),
        client.get("/v1/dead-letters", headers=SECRET),
    ]
    return sum(answer.status_code >= 400 for answer in answers)


def test_marked_identifiers_leave_no_trace(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    audit = AuditLog(tmp_path / "log")
    with Engine.open(tmp_path / "data") as engine:
        app = create_app(engine, GroupWriter(engine, Metrics()), keys=KEYS, audit=audit)
        server = RunningServer(app, Patience(), sweep_s=1.0)
        try:
            with httpx.Client(base_url=server.url, timeout=10) as client:
                assert traffic(client) >= 6
                metrics = client.get("/metrics").text
                assert client.get(f"/v1/profiles/user_id:{MARK}-u", headers=SECRET).json()["identifiers"]
        finally:
            server.stop()
    own = [record for record in caplog.records if record.name.startswith(("opportune", "uvicorn"))]
    assert MARK not in "\n".join(record.getMessage() for record in own)
    assert 'route="/v1/profiles/{identifier:path}"' in metrics or "/v1/profiles" in metrics
    assert MARK not in metrics
    assert audit.verify().entries >= 6
    assert audit.newest(about=f"user_id:{MARK}-u")
    assert MARK.encode() not in (tmp_path / "log" / "audit" / "log.jsonl").read_bytes()
