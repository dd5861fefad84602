from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from tests.cli.conftest import Opportune

from opportune import Engine
from opportune.access.audit import AuditLog
from opportune.clock import FixedClock
from opportune.warehouse.tables import key_of


@pytest.fixture
def data(opportune: Opportune, tmp_path: Path) -> Path:
    events = tmp_path / "events.jsonl"
    who = {"userId": "ada-lovelace", "anonymousId": "browser-of-ada"}
    lines = [
        {"type": "track", "event": "Product Viewed", **who, "properties": {"product_id": f"p{n}"}}
        for n in range(3)
    ]
    events.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert opportune("import", "events", events, "--data-dir", tmp_path / "d").code == 0
    return tmp_path / "d"


def test_a_person_is_shown_and_erased_and_the_receipt_holds(
    opportune: Opportune, data: Path, tmp_path: Path
) -> None:
    held = opportune("privacy", "export", "--anonymous-id", "browser-of-ada", "--data-dir", data).json
    assert len(held["events"]) == 3
    receipt = tmp_path / "receipt.json"
    done = opportune(
        "privacy", "erase", "--user-id", "ada-lovelace", "--data-dir", data, "--receipt", receipt
    )
    assert done.code == 0
    assert "erased: 2 identifiers, 2 leaves" in done.out
    assert "2 byte patterns, 0 found" in done.out
    checked = opportune(
        "privacy", "verify", receipt, "--data-dir", data, "--user-id", "ada-lovelace", "--json"
    )
    assert (checked.code, checked.json["genuine"], checked.json["searched"]["found"]) == (0, True, 0)
    assert opportune("profile", "user_id:ada-lovelace", "--data-dir", data).code == 1
    again = opportune("privacy", "erase", "--user-id", "ada-lovelace", "--data-dir", data, "--json")
    assert (again.code, again.json["removed"]["entries"]) == (0, 0)


def test_bytes_that_are_left_are_an_error(opportune: Opportune, data: Path) -> None:
    (data / "notes.txt").write_text("call Ada-Lovelace back")
    left = opportune("privacy", "erase", "--user-id", "ada-lovelace", "--data-dir", data)
    assert left.code == 1
    assert "1 places still hold an identifier" in left.err
    assert "notes.txt at 5" in left.err


def test_one_identifier_is_needed(opportune: Opportune, data: Path) -> None:
    for arguments in ((), ("--user-id", "a1", "--email", "a@b.example")):
        refused = opportune("privacy", "erase", *arguments, "--data-dir", data)
        assert refused.code == 2
        assert "pass one of --user-id, --email, --anonymous-id, --id TYPE:VALUE" in refused.err


def test_rights_are_exercised(opportune: Opportune, data: Path) -> None:
    who = ("--user-id", "ada-lovelace", "--data-dir", data)
    put_right = opportune("privacy", "rectify", "city", "Basel", *who, "--why", "by letter")
    assert "city is 'Basel', put right by command line" in put_right.out
    assert (
        opportune("privacy", "rectify", "age", "36", *who, "--json").json["rectified"]["age"]["value"] == 36
    )
    assert "city" not in opportune("privacy", "rectify", "city", "--take-back", *who).out
    assert "restricted: yes" in opportune("privacy", "restrict", *who).out
    assert "objects to: train" in opportune("privacy", "object", "train", *who).out
    assert "restricted: no" in opportune("privacy", "lift", *who).out
    assert "objects to: nothing" in opportune("privacy", "withdraw", "train", *who).out
    assert opportune("privacy", "rights", *who, "--json").json["objections"] == []
    assert "is not taken in any more" in opportune("privacy", "suppress", *who).out
    assert "is taken in again" in opportune("privacy", "unsuppress", *who).out
    assert "give the right value, or --none, or --take-back" in opportune("privacy", "rectify", "x", *who).err


def test_what_is_past_its_time_goes(opportune: Opportune, data: Path, tmp_path: Path) -> None:
    (tmp_path / "ws").mkdir()
    where = ("--data-dir", data, "--workspace", tmp_path / "ws")
    assert "nothing says how long anything is kept" in opportune("retention", *where).err
    (tmp_path / "ws" / "privacy.yaml").write_text("retention: {events: {product_viewed: 1d}}")
    assert opportune("retention", "--dry-run", *where, "--json").json["events"] == {}
    old = {"type": "track", "event": "Product Viewed", "userId": "x", "timestamp": "2020-01-01T00:00:00Z"}
    (tmp_path / "old.jsonl").write_text(json.dumps(old))
    opportune("import", "events", tmp_path / "old.jsonl", "--data-dir", data)
    assert "would go: 1 entries" in opportune("retention", "--dry-run", *where).out
    assert "gone: 1 entries" in opportune("retention", *where).out
    assert opportune("profile", "user_id:x", "--data-dir", data).code == 1


def test_people_who_refuse_are_counted(opportune: Opportune, tmp_path: Path) -> None:
    """Discrete Laplace noise of scale 4: further off than 56 once in a million."""
    pytest.importorskip("opendp", reason="the extra 'privacy' is not installed")
    refusal = dict.fromkeys(("personalization", "analytics", "advertising"), False)
    (tmp_path / "ws").mkdir()
    where = ("--data-dir", tmp_path / "d", "--workspace", tmp_path / "ws")
    (tmp_path / "ws" / "privacy.yaml").write_text(
        "anonymous: {events: [product_viewed, order_completed], epsilon: 0.5, budget: 10, per_person: 2}"
    )
    with Engine.open(
        tmp_path / "d", workspace=tmp_path / "ws", clock=FixedClock(1_700_000_000_000)
    ) as engine:
        engine.ingest(
            [
                {
                    "type": "track", "event": "Product Viewed", "anonymousId": f"a{n}",
                    "context": {"consent": {"categoryPreferences": refusal}},
                }
                for n in range(200)
            ]
        )  # fmt: skip
    told = opportune("privacy", "counts", *where)
    assert "2023-11-14  product_viewed " in told.out
    [day] = opportune("privacy", "counts", *where, "--json").json["days"]
    assert abs(day["counts"]["product_viewed"] - 200) < 56
    assert "nothing is counted" in opportune("privacy", "counts", "--data-dir", tmp_path / "d").out


def test_what_nothing_reads_is_listed(opportune: Opportune, data: Path, tmp_path: Path) -> None:
    workspace = tmp_path / "w"
    workspace.mkdir()
    (workspace / "features.yaml").write_text(
        "extends: nothing\nfeatures:\n"
        "  - {name: views, fold: count, event: product_viewed, windows: [1d, 30d]}\n"
        "  - {name: towns, fold: last, value: traits.town}\n"
    )
    (workspace / "segments.yaml").write_text("segments: [{name: keen, when: {views_1d: {gt: 3}}}]")
    asked = ("privacy", "minimise", "--data-dir", data, "--workspace", workspace)
    told = opportune(*asked)
    assert told.code == 0
    assert "2 of 3 are read by nothing that the engine does" in told.out
    rows = [line.split() for line in told.out.splitlines()]
    assert ["feature", "towns", "nothing"] in rows
    assert ["trait", "town", "nothing"] in rows
    assert ["feature", "views", "segment", "keen", "views_30d"] in rows
    found = opportune(*asked, "--json").json
    assert (found["unread"], found["models"]) == (2, [])
    assert found["declared"][-1] == {
        "kind": "feature", "name": "views", "read_by": ["segment keen"], "unread": ["views_30d"],
        "gain": None,
    }  # fmt: skip


def test_whom_a_pseudonym_stands_for_is_told_with_the_vault_and_noted(
    opportune: Opportune, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    with Engine.open(data) as engine:
        engine.ingest([{"type": "track", "event": "x", "userId": "u7", "anonymousId": "a7"}])
        engine.checkpoint()
        key = engine.entries.with_vault().row_key
    told = opportune("privacy", "who", str(key_of("anonymous_id:a7", key)), "--data-dir", data)
    assert (told.code, told.out) == (0, "anonymous_id:a7\n")
    [entry] = AuditLog(data).newest(about="anonymous_id:a7")
    assert (entry.who, entry.did) == ("command line", "pseudonym.read")
    unknown = opportune("privacy", "who", str(key_of("anonymous_id:a7")), "--data-dir", data)
    assert unknown.code != 0
    assert "nobody is known by this pseudonym" in unknown.err
    assert len(AuditLog(data).newest()) == 1


def test_minimising_needs_a_folder(opportune: Opportune, tmp_path: Path) -> None:
    refused = opportune("privacy", "minimise", "--data-dir", tmp_path / "none")
    assert refused.code != 0
    assert "no such data folder" in refused.err


def test_a_gateway_takes_the_order_and_says_who_has_the_receipt(opportune: Opportune) -> None:
    class Gateway(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            self._answer(200, {"regulateId": "0123456789abcdef", "state": "RUNNING"})

        def do_GET(self) -> None:
            self._answer(421, {"code": "not_here", "message": "this process keeps no receipts"})

        def _answer(self, status: int, body: dict[str, str]) -> None:
            data = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: Any) -> None:
            """Quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Gateway) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        to = f"http://127.0.0.1:{server.server_port}"
        try:
            told = opportune("privacy", "erase", "--user-id", "u1", "--to", to, "--key", "sk")
        finally:
            server.shutdown()
            thread.join()
    assert told.code != 0
    assert "the erasure is under way, but this process signs no receipts" in told.err
    assert "GET /regulations/0123456789abcdef of the process that plays derive has it" in told.err
