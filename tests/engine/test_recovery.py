"""State is a fold of the journal: however it was checkpointed, killed and reopened, it is the same bytes."""

from __future__ import annotations

import random
import shutil
from pathlib import Path
from typing import Any

import pytest

from opportune import Engine
from opportune.clock import DAY, HOUR, FixedClock
from opportune.engine.dump import dump, fingerprint
from opportune.errors import Corrupt
from opportune.testing.sources import query


def random_event(rng: random.Random, n: int, now: int) -> dict[str, Any]:
    """Anything a shop may send: late, out of order, joined, broken, repeated."""
    user = f"u{rng.randrange(8)}"
    event: dict[str, Any] = {
        "messageId": f"m{rng.randrange(n + 20)}",
        "timestamp": now - rng.choice((0, HOUR, 3 * DAY)),
    }
    roll = rng.random()
    if roll < 0.1:
        return {
            **event,
            "type": "identify",
            "userId": user,
            "anonymousId": f"a{rng.randrange(8)}",
            "traits": {"n": n},
        }
    if roll < 0.15:
        return {"item_id": "ignored", "broken": True}
    name = rng.choice(("Product Viewed", "Product Added", "Order Completed", "Products Searched"))
    properties: dict[str, Any] = {
        "product_id": f"p{rng.randrange(12)}",
        "name": " ".join(rng.sample(("red", "tea", "cup", "oak", "lamp"), 2)),
        "price": rng.randrange(1, 9),
        "query": "red",
    }
    if name == "Order Completed":
        properties = {
            "products": [{"product_id": f"p{rng.randrange(12)}", "price": 2, "quantity": 2}],
            "total": 4,
        }
    who = {"userId": user} if rng.random() < 0.5 else {"anonymousId": f"a{rng.randrange(8)}"}
    return {**event, **who, "type": "track", "event": name, "properties": properties}


def live(folder: Path, clock: FixedClock, rng: random.Random, steps: int) -> Engine:
    """An engine after a random life: posts, decisions, checkpoints (whole, or interleaved), deaths."""
    engine = Engine.open(folder, clock=clock)
    for n in range(steps):
        clock.advance(rng.randrange(1, 20_000))
        roll = rng.random()
        if roll < 0.55:
            engine.ingest([random_event(rng, n, clock()) for _ in range(rng.randrange(1, 6))])
        elif roll < 0.75:
            who = {"user_id": f"u{rng.randrange(8)}", "anonymous_id": f"a{rng.randrange(8)}"}
            engine.decide({"placements": ["home_recs", "cart_upsell"], "identifiers": who})
        elif roll < 0.8:
            engine.checkpoint()
        elif roll < 0.95:
            engine.maintain(0.00001)
            clock.advance(61_000)
        else:
            engine.flush()
            engine.abandon()
            engine = Engine.open(folder, clock=clock)
    return engine


@pytest.mark.parametrize("seed", range(6))
def test_a_rebuild_from_the_journal_alone_gives_the_same_bytes(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    clock = FixedClock()
    engine = live(tmp_path / "a", clock, rng, 60)
    expected = dict(dump(engine.state))
    whole = fingerprint(engine.state)
    engine.state.models.learn()
    alike = similar(engine)
    assert alike
    engine.close()
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    shutil.rmtree(tmp_path / "b" / "state")
    for folder in ("a", "b"):
        with Engine.open(tmp_path / folder, clock=clock) as reopened:
            found = dict(dump(reopened.state))
            assert found.keys() == expected.keys(), f"seed {seed}"
            different = [key for key in expected if found[key] != expected[key]]
            assert not different, f"seed {seed}"
            assert fingerprint(reopened.state) == whole, f"seed {seed}"
            assert reopened.accounting()["balanced"]
            assert similar(reopened) == pytest.approx(alike), f"seed {seed}"


def test_items_that_come_while_a_checkpoint_is_encoded_are_numbered_in_it(tmp_path: Path) -> None:
    clock = FixedClock()
    engine = Engine.open(tmp_path, clock=clock)
    colours = ("red", "blue", "oak", "tin")

    def catalogue(first: int, last: int, what: str) -> None:
        items = [{"item_id": f"p{n}", "name": f"{colours[n % 4]} {what} {n}"} for n in range(first, last)]
        engine.ingest(items, dialect="catalog")

    catalogue(0, 8, "cup")
    engine.checkpoint()
    catalogue(0, 8, "mug")  # known numbers, new words
    clock.advance(61_000)
    assert engine.maintain(0.0), "a checkpoint has begun and is not encoded yet"
    catalogue(8, 16, "pot")
    engine.state.models.learn()
    reached = engine.store.offset
    while engine.store.offset == reached:
        engine.maintain(0.01)
    expected = fingerprint(engine.state)
    engine.flush()
    engine.abandon()
    with Engine.open(tmp_path, clock=clock) as reopened:
        assert len(reopened.state.catalog) == 16
        assert fingerprint(reopened.state) == expected


def similar(engine: Engine) -> dict[tuple[int, int], float]:
    """How much every item is like every other, by what the catalogue says of them."""
    found: dict[tuple[int, int], float] = {}
    for number in range(len(engine.state.catalog)):
        answer = engine.state.models.content.recommend(query(number, count=100))
        found.update(((number, int(i)), float(s)) for i, s in zip(answer.item, answer.score, strict=True))
    return found


def test_the_fingerprint_tells_states_apart(tmp_path: Path) -> None:
    clock = FixedClock()
    with Engine.open(tmp_path / "a", clock=clock) as a, Engine.open(tmp_path / "b", clock=clock) as b:
        assert fingerprint(a.state) == fingerprint(b.state)
        for engine in (a, b):
            engine.ingest(
                [
                    {
                        "type": "track",
                        "event": "x",
                        "userId": "u",
                        "messageId": "1",
                        "timestamp": 1_700_000_000_000,
                    }
                ]
            )
        assert fingerprint(a.state) == fingerprint(b.state)
        a.ingest(
            [{"type": "track", "event": "x", "userId": "u", "messageId": "2", "timestamp": 1_700_000_000_000}]
        )
        assert fingerprint(a.state) != fingerprint(b.state)


def test_a_checkpoint_newer_than_the_journal_is_said_and_nothing_is_touched(tmp_path: Path) -> None:
    clock = FixedClock()
    with Engine.open(tmp_path, clock=clock) as engine:
        for n in range(3):
            engine.ingest([{"type": "track", "event": "x", "userId": "u", "messageId": str(n)}])
    journal = sorted((tmp_path / "journal").glob("*.log"))[-1]
    journal.write_bytes(journal.read_bytes()[: journal.stat().st_size // 2])
    before = sorted(p.name for p in (tmp_path / "state").iterdir())
    with pytest.raises(Corrupt, match="lost its tail"):
        Engine.open(tmp_path, clock=clock)
    assert sorted(p.name for p in (tmp_path / "state").iterdir()) == before
