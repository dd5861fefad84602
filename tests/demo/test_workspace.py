"""What the demo tries: its shoppers are in experiments, whoever looks at the shop is not."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

import pytest
from tests.demo.conftest import NOW

from opportune import Engine
from opportune.clock import DAY, FixedClock
from opportune.demo.load import load
from opportune.demo.retail import Retail


@pytest.fixture
def engine(tmp_path: Path, retail: Retail) -> Iterator[Engine]:
    workspace = Path(str(files("opportune.demo") / "workspace"))
    with Engine.open(tmp_path, workspace=workspace, clock=FixedClock(NOW + DAY)) as engine:
        load(engine, retail, NOW)
        yield engine


def arms(engine: Engine, placement: str, people: int, **context: str) -> list[str]:
    found = []
    for n in range(people):
        request = {"identifiers": {"anonymous_id": f"a{n}"}, "session_id": f"s{n}", "context": context}
        [decision] = engine.decide({"placement": placement, **request}).decisions
        found.append(decision.experiment.variant)
    return found


def test_shoppers_are_tried_on(engine: Engine) -> None:
    cart = arms(engine, "cart_upsell", 60, shopper="simulated")
    assert set(cart) == {"held", "popular", "together"}
    assert set(arms(engine, "pdp_similar", 60, shopper="simulated")) == {
        "held", "blend", "together", "alike", "popular",
    }  # fmt: skip
    assert {n for n, arm in enumerate(arms(engine, "home_recs", 60, shopper="simulated")) if arm} == {
        n for n, arm in enumerate(cart) if arm == "held"
    }, "who is held out is held out everywhere"


def test_visitors_of_the_shop_are_not(engine: Engine) -> None:
    assert set(arms(engine, "cart_upsell", 20) + arms(engine, "home_recs", 20)) == {""}
