"""Nothing that names a person lies in the clear in a data folder: not in tables, not in state."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from opportune.access.audit import AuditLog
from opportune.clock import FixedClock
from opportune.engine.engine import Engine
from opportune.identity.likely import Proposal
from opportune.stores.likely import PROPOSALS, LikelyStore
from opportune.warehouse.reports import Reports
from opportune.warehouse.tables import connect, key_of, open_tables

EXPERIMENTS = """
holdout: {share: 0.3}
experiments:
  - id: t
    placements: [home_recs]
    arms: [{id: control}, {id: popular, change: {sources: [{source: popular}]}}]
    metrics: [conversion, revenue]
  - id: hero
    placements: [home_recs]
    arms: [{id: calm}, {id: bold}]
    bandit: {}
"""
MARKS = (
    b"marked-login", b"marked-browser", b"marked@example.org", b"+491701234567", b"192.0.2.77",
    b"marked-session", b"marked-order",
)  # fmt: skip
WHO = {
    "userId": "marked-login",
    "anonymousId": "marked-browser",
    "sessionId": "marked-session",
    "context": {
        "ip": "192.0.2.77",
        "traits": {"email": "Marked@Example.org", "phone": "+49 170 1234567"},
    },
}


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[tuple[Engine, Reports]]:
    """One person looks, is refused, is answered and buys; everything that follows them follows."""
    clock = FixedClock()
    (tmp_path / "ws").mkdir()
    (tmp_path / "ws" / "experiments.yaml").write_text(EXPERIMENTS, encoding="utf-8")
    data = tmp_path / "data"
    with Engine.open(data, workspace=tmp_path / "ws", clock=clock) as engine:
        engine.ingest([{"item_id": f"p{n}", "name": f"Product {n}"} for n in range(4)], dialect="catalog")
        reports = Reports.of(engine, data)
        for n in range(6):
            clock.advance(1_000)
            viewed = {"type": "track", "event": "Product Viewed", "properties": {"product_id": f"p{n % 4}"}}
            engine.ingest([viewed | WHO])
        engine.ingest([{"type": "track", "userId": "marked-login", "email": "marked@example.org"}])
        asked = {
            "placement": "home_recs",
            "identifiers": {"user_id": "marked-login", "anonymous_id": "marked-browser"},
            "session_id": "marked-session",
            "context": {
                "device": "mobile",
                "ip": "192.0.2.77",
                "mail": "marked@example.org",
                "visitor": "Marked-Browser",
            },
        }
        [decision] = engine.decide(asked).decisions
        clock.advance(1_000)
        order = {"order_id": "marked-order", "revenue": 20.0, "products": [{"product_id": "p1", "price": 20}]}
        bought = {"type": "track", "event": "Order Completed", "properties": order}
        engine.ingest([bought | WHO | {"decision_id": decision.decision_id}])
        engine.flush()
        reports.catch_up()
        AuditLog(data, clock).note("user:officer", "person.read", ["user_id:marked-login"])
        proposal = Proposal("user_id:marked-login", "email:marked@example.org", 7.0, 0.99, [])
        LikelyStore(data).save(PROPOSALS, [proposal])
        engine.checkpoint()
        yield engine, reports
        reports.close()


def places(folder: Path) -> list[str]:
    return [
        f"{path.relative_to(folder)}: {mark.decode()}"
        for path in sorted(folder.rglob("*"))
        if path.is_file()
        for mark in MARKS
        if mark in path.read_bytes().lower()
    ]


def test_no_file_of_a_folder_says_who_was_there(shop: tuple[Engine, Reports]) -> None:
    engine, reports = shop
    reports.close()
    assert engine.data_dir is not None
    assert len(list(engine.data_dir.rglob("*"))) > 20
    assert places(engine.data_dir) == []
    [proposal] = LikelyStore(engine.data_dir).read(PROPOSALS, list[Proposal]) or []
    assert proposal.b == "email:marked@example.org"
    engine.erase("user_id:marked-login")
    assert LikelyStore(engine.data_dir).read(PROPOSALS, list[Proposal]) is None


def test_tables_know_people_by_a_keyed_pseudonym_and_what_they_count_is_the_same(
    shop: tuple[Engine, Reports],
) -> None:
    engine, reports = shop
    leaf = "user_id:marked-login"
    rows = reports.tables.connection.execute("select distinct leaf from events").fetchall()
    assert rows == [(reports.tables.key_of(leaf),)]
    assert reports.tables.key_of(leaf) == key_of(leaf, engine.entries.with_vault().row_key)
    assert reports.tables.key_of(leaf) != key_of(leaf), "nobody finds them without the key"
    assert sum(reports.report("t").arms.values()) + reports.business().held == 1
    said = reports.tables.connection.execute("select dimensions from exposures").fetchall()
    assert {row for (row,) in said} <= {'{"placement":"home_recs","device":"mobile"}'}


def test_tables_of_another_format_or_key_are_made_anew_from_the_journal(
    shop: tuple[Engine, Reports], tmp_path: Path
) -> None:
    engine, reports = shop
    taken = reports.tables.reached
    counted = reports.tables.connection.execute("select count(*) from events").fetchone()
    reports.close()
    path = tmp_path / "data" / "derived" / "experiments.duckdb"
    before = connect(path)
    before.execute("delete from made")
    before.execute("update events set leaf = ?", [key_of("user_id:marked-login")])
    before.close()
    assert reports.tables.reached == 1
    assert reports.catch_up() == taken - 1
    assert reports.tables.connection.execute("select count(*) from events").fetchone() == counted
    rows = reports.tables.connection.execute("select distinct leaf from events").fetchall()
    assert rows == [(reports.tables.key_of("user_id:marked-login"),)]
    reports.close()
    again = open_tables(path, engine.entries.with_vault().row_key)
    assert again.reached == taken
    again.close()
    other = open_tables(path, bytes(32))
    assert other.reached == 1
    other.close()
