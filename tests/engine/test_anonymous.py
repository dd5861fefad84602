"""People who refuse are counted, and nobody can be told from the counts."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from scipy.stats import chisquare

from opportune import Engine
from opportune.clock import DAY, FixedClock
from opportune.errors import Corrupt, InvalidDefinition
from opportune.privacy.anonymous import OVER_BUDGET, AnonymousRules
from opportune.privacy.laplace import epsilon_of, laplace

NO = {"personalization": False, "analytics": False, "advertising": False}
RULES = "anonymous: {events: [product_viewed, order_completed], epsilon: 0.5, budget: %s, per_person: 2}"


def exact(counts: Sequence[int], scale: float) -> Sequence[int]:
    return counts


def opened(folder: Path, clock: FixedClock, budget: float = 10) -> Engine:
    (folder / "ws").mkdir(exist_ok=True)
    (folder / "ws" / "privacy.yaml").write_text(RULES % budget)
    return Engine.open(folder / "data", workspace=folder / "ws", clock=clock)


def seen(n: int, clock: FixedClock, name: str = "Product Viewed", no: bool = True) -> dict[str, Any]:
    clock.advance(1)
    said = {"consent": {"categoryPreferences": NO}} if no else {}
    return {
        "type": "track", "event": name, "anonymousId": f"a{n}", "messageId": f"m{clock()}",
        "timestamp": clock(), "properties": {"product_id": "p1"}, "context": said,
    }  # fmt: skip


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock()


def test_each_person_counts_once_a_name_and_only_who_refuses(tmp_path: Path, clock: FixedClock) -> None:
    with opened(tmp_path, clock) as engine:
        engine.ingest([seen(n % 5, clock) for n in range(20)])
        engine.ingest([seen(1, clock, "Order Completed"), seen(2, clock, "Coupon Entered")])
        engine.ingest([seen(77, clock, no=False)])
        [counts] = engine.anonymous.counts.kept.waiting.values()
        assert counts == {"product_viewed": 5, "order_completed": 1}
        assert engine.anonymous.release(exact) == [], "the day is not over"
        clock.advance(DAY)
        [day] = engine.anonymous.release(exact)
        assert (day.counts, day.epsilon) == ({"product_viewed": 5, "order_completed": 1}, 0.5)
        assert day.half_width == pytest.approx(2 / 0.5 * math.log(20))
        assert engine.anonymous.release(exact) == [], "a day is published once"
        assert engine.anonymous.counts.kept.waiting == {}, "the exact counts are gone"


def test_the_budget_holds_over_restarts(tmp_path: Path, clock: FixedClock) -> None:
    for _ in range(3):
        with opened(tmp_path, clock, budget=1.0) as engine:
            engine.ingest([seen(1, clock)])
        clock.advance(DAY)
        with opened(tmp_path, clock, budget=1.0) as engine:
            engine.anonymous.release(exact)
    with opened(tmp_path, clock, budget=1.0) as engine:
        report = engine.anonymous.report()
        assert [day["problem"] for day in report["days"]] == [OVER_BUDGET, "", ""]
        assert (report["spent"], report["left"]) == (1.0, 0.0)
        assert "product_viewed" not in report["days"][0]["counts"]
        clock.advance(31 * DAY)
        assert engine.anonymous.report()["left"] == 1.0
        engine.ingest([seen(1, clock)])
        clock.advance(DAY)
        assert engine.anonymous.release(exact)[0].problem == ""


def test_what_is_published_is_on_disk_before_it_is_told(tmp_path: Path, clock: FixedClock) -> None:
    engine = opened(tmp_path, clock)
    engine.ingest([seen(1, clock)])
    clock.advance(DAY)
    [day] = engine.anonymous.release(exact)
    engine.abandon()
    with opened(tmp_path, clock) as again:
        assert again.anonymous.counts.kept.releases == [day]
        assert again.anonymous.report()["spent"] == 0.5
    (tmp_path / "data" / "vault" / "anonymous.json").write_text("{")
    with pytest.raises(Corrupt, match="the anonymous counts are damaged"):
        opened(tmp_path, clock)


def test_no_file_says_who_was_counted(tmp_path: Path, clock: FixedClock) -> None:
    with opened(tmp_path, clock) as engine:
        event = seen(1, clock) | {"anonymousId": "somebody-who-refuses"}
        engine.ingest([event])
        [counted] = engine.anonymous.counts._seen
        kept = tmp_path / "data" / "vault" / "anonymous.json"
        engine.anonymous.save()
        assert b"somebody" not in kept.read_bytes()
        assert counted.hex() not in kept.read_text()


def test_rules_are_checked() -> None:
    with pytest.raises(InvalidDefinition, match="an event is named twice"):
        AnonymousRules(events=("a", "a"))


@pytest.fixture(scope="module")
def noise() -> Callable[[Sequence[int], float], list[int]]:
    pytest.importorskip("opendp", reason="the extra 'privacy' is not installed")
    return laplace


def test_the_library_agrees_about_epsilon(noise: Any) -> None:
    rules = AnonymousRules(("a", "b", "c"), epsilon=0.5, per_person=2)
    assert epsilon_of(rules.scale, rules.per_person) == pytest.approx(0.5, abs=1e-9)


def test_the_noise_is_the_one_that_is_stated(noise: Any) -> None:
    """Chi-square of 4,000 draws against the discrete Laplace distribution: p(k) = (1-a)/(1+a) a^|k| with
    a = exp(-1/scale) (Inusah & Kozubowski, 2006). OpenDP takes no seed: the bound fails once in 100,000."""
    scale, n = 4.0, 4_000
    drawn = Counter(max(-12, min(12, x)) for x in noise([0] * n, scale))
    a = math.exp(-1 / scale)
    p = {k: (1 - a) / (1 + a) * a ** abs(k) for k in range(-11, 12)}
    p[-12] = p[12] = (1 - sum(p.values())) / 2
    ks = sorted(p)
    assert chisquare([drawn[k] for k in ks], [n * p[k] for k in ks]).pvalue > 1e-5
