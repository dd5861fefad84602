"""Households and accounts: the sum of their people, whoever is joined and taken apart."""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.engine.test_erasure import people

from opportune import Engine
from opportune.clock import FixedClock
from opportune.errors import InvalidRequest, NotFound
from opportune.identity.groups import household_of

SPENT = "features: [{name: spent, fold: sum, event: order_completed, value: value}]"
HOME = {"postal_code": "8004", "street": "Feldstr. 12"}


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock()


def opened(folder: Path, clock: FixedClock, **files: str) -> Engine:
    (folder / "ws").mkdir(exist_ok=True)
    for name, text in {"identity": "household: [postal_code, street]", "features": SPENT, **files}.items():
        (folder / "ws" / f"{name}.yaml").write_text(text)
    return Engine.open(folder / "data", workspace=folder / "ws", clock=clock)


@pytest.fixture
def engine(tmp_path: Path, clock: FixedClock) -> Iterator[Engine]:
    with opened(tmp_path, clock) as engine:
        yield engine


def bought(user: str, money: float, clock: FixedClock, account: str = "", **who: str) -> dict[str, Any]:
    clock.advance(1_000)
    context = {"groupId": account} if account else {}
    return {
        "type": "track", "event": "Order Completed", "userId": user, **who, "messageId": f"o{clock()}",
        "properties": {"order_id": f"o{clock()}", "revenue": money, "products": []}, "context": context,
    }  # fmt: skip


def lives(user: str, clock: FixedClock, **traits: str) -> dict[str, Any]:
    clock.advance(1_000)
    return {"type": "identify", "userId": user, "traits": traits, "messageId": f"i{clock()}"}


def money(engine: Engine, group: str) -> float:
    return float(engine.group(group)["features"]["spent"])


def members(engine: Engine, group: str) -> list[str]:
    return [person["id"] for person in engine.group(group)["people"]]


def test_an_account_is_the_sum_of_its_people(engine: Engine, clock: FixedClock) -> None:
    engine.ingest([bought("u1", 20, clock, "acme"), bought("u2", 5, clock, "acme"), bought("u2", 7, clock)])
    engine.ingest([bought("u3", 100, clock, "other")])
    assert members(engine, "account:acme") == ["user_id:u1", "user_id:u2"]
    assert money(engine, "account:acme") == 20 + 5 + 7
    assert engine.profile("user_id:u2")["groups"] == ["account:acme"]
    engine.ingest({"type": "group", "userId": "u3", "groupId": "acme", "messageId": "g1"})
    assert money(engine, "account:acme") == 20 + 5 + 7 + 100
    assert set(engine.profile("user_id:u3")["groups"]) == {"account:acme", "account:other"}


def test_a_household_is_an_address_however_it_is_written(engine: Engine, clock: FixedClock) -> None:
    engine.ingest([lives("u1", clock, **HOME), bought("u1", 20, clock)])
    engine.ingest([lives("u2", clock, postal_code=" 8004", street="FELDSTR 12"), bought("u2", 5, clock)])
    engine.ingest(
        [lives("u3", clock, postal_code="8004"), lives("u4", clock, **HOME | {"street": "Feldstr. 13"})]
    )
    [home] = engine.profile("user_id:u1")["groups"]
    assert home == household_of(HOME, ["postal_code", "street"])
    assert members(engine, home) == ["user_id:u1", "user_id:u2"]
    assert money(engine, home) == 25
    engine.ingest([lives("u2", clock, postal_code="3000", street="Gasse 1")])
    assert members(engine, home) == ["user_id:u1"], "who moves is there no more"
    assert engine.profile("user_id:u2")["groups"] != [home]
    assert engine.profile("user_id:u3")["groups"] == []


def test_joined_and_taken_apart_the_sums_stay_right(engine: Engine, clock: FixedClock) -> None:
    engine.ingest([bought("u1", 20, clock, "acme")])
    browsing = {"type": "track", "event": "Order Completed", "anonymousId": "a9", "messageId": "a"}
    engine.ingest(browsing | {"properties": {"order_id": "x", "revenue": 3, "products": []}})
    before = engine.group("account:acme")
    for action, expected in (("merge", 23), ("unmerge", 20)):
        clock.advance(1_000)
        assert action in ("merge", "unmerge")
        engine.commit(engine.relink("user_id:u1", "anonymous_id:a9", action, who="user:ada"))  # type: ignore[arg-type]  # a loop over literals
        assert money(engine, "account:acme") == expected
    assert engine.group("account:acme")["people"] == before["people"]


@pytest.mark.parametrize("seed", range(5))
def test_a_group_is_the_sum_whatever_came_in_which_order(tmp_path: Path, seed: int) -> None:
    """Against sums counted by hand; and a rebuild gives the same bytes."""
    chance, clock = random.Random(seed), FixedClock()
    events, expected, of = [], {}, {}
    for _ in range(60):
        user, amount = f"u{chance.randrange(6)}", float(chance.randrange(1, 50))
        account = chance.choice(["", "x", "y"])
        events.append(bought(user, amount, clock, account))
        expected[user] = expected.get(user, 0.0) + amount
        if account:
            of.setdefault(account, set()).add(user)
    chance.shuffle(events)
    with opened(tmp_path, clock) as engine:
        for event in events:
            engine.ingest([event])
            if chance.random() < 0.1:
                engine.checkpoint()
        for account, users in of.items():
            assert money(engine, f"account:{account}") == sum(expected[user] for user in users)
            assert members(engine, f"account:{account}") == sorted(f"user_id:{user}" for user in users)
        after = people(engine)
    shutil.rmtree(tmp_path / "data" / "state")
    with opened(tmp_path, clock) as rebuilt:
        assert people(rebuilt) == after


def test_an_experiment_on_households(tmp_path: Path, clock: FixedClock) -> None:
    experiments = "experiments: [{id: x, unit: household, placements: [home_recs], arms: [{id: a}, {id: b}]}]"
    with opened(tmp_path, clock, experiments=experiments) as engine:
        engine.ingest([{"item_id": "p1", "name": "One"}], dialect="catalog")
        for n in range(40):
            home = {"postal_code": str(n // 4), "street": "s"}
            engine.ingest([lives(f"u{n}", clock, **home)])
        arms = []
        for n in range(40):
            asked = {"placement": "home_recs", "identifiers": {"user_id": f"u{n}"}}
            [decision] = engine.decide(asked).decisions
            arms.append(decision.experiment.variant)
        assert all(len({*arms[n : n + 4]}) == 1 for n in range(0, 40, 4)), "one household, one arm"
        assert {*arms} == {"a", "b"}


def test_who_is_erased_is_in_no_group(engine: Engine, tmp_path: Path, clock: FixedClock) -> None:
    engine.ingest([bought("ada-lovelace", 20, clock, "acme"), bought("u2", 5, clock, "acme")])
    receipt = engine.erase("user_id:ada-lovelace")
    assert receipt.scan is not None
    assert receipt.scan.found == 0
    assert members(engine, "account:acme") == ["user_id:u2"]
    assert money(engine, "account:acme") == 5


def test_what_is_no_group(engine: Engine, clock: FixedClock) -> None:
    engine.ingest([bought("u1", 20, clock)])
    with pytest.raises(InvalidRequest, match="this is no account and no household"):
        engine.group("user_id:u1")
    with pytest.raises(NotFound, match="nobody is known in this group"):
        engine.group("account:nobody")
