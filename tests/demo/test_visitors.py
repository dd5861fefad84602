"""Simulated shoppers: repeatable, believable, and through the public endpoint only."""

from __future__ import annotations

import http.client
from itertools import islice, pairwise
from typing import Any

import pytest

from opportune.demo.retail import Retail
from opportune.demo.visitors import Step, Visitor, crowd

KNOWN = {
    "", "Products Searched", "Product List Viewed", "Product Viewed", "Product Clicked", "Product Added",
    "Cart Viewed", "Order Completed",
}  # fmt: skip


def test_the_same_seed_is_the_same_visit(retail: Retail) -> None:
    one, two = Visitor(retail, 5), Visitor(retail, 5)
    assert one.anonymous_id == two.anonymous_id
    assert list(one.steps()) == list(two.steps())
    assert Visitor(retail, 6).session_id != one.session_id


def test_a_visit_begins_at_home_and_keeps_to_one_kind_of_thing(retail: Retail) -> None:
    for seed in range(50):
        steps = list(Visitor(retail, seed).steps())
        assert steps[0] == Step(0.0, "", {}, "home_recs")
        assert {step.event for step in steps} <= KNOWN
        viewed = {step.properties["product_id"][0] for step in steps if step.event == "Product Viewed"}
        assert len(viewed) == 1, "a basket of the small shop has one kind"
        assert all(step.wait_s >= 0 for step in steps)


def test_orders_hold_what_was_put_into_the_basket(retail: Retail) -> None:
    orders = 0
    for seed in range(200):
        steps = list(Visitor(retail, seed).steps())
        added = [step.properties for step in steps if step.event == "Product Added"]
        for step in steps:
            if step.event == "Order Completed":
                orders += 1
                assert step.properties["products"] == added
                assert step.properties["total"] == pytest.approx(sum(p["price"] for p in added))
    assert 20 < orders < 120


def test_visitors_follow_recommendations_with_the_decision_they_came_from(retail: Retail) -> None:
    clicks = []
    for seed in range(100):
        visitor = Visitor(retail, seed)
        for step in visitor.steps():
            if step.placement:
                visitor.follow("d1", ["30001", "30002"])
            if step.event == "Product Clicked":
                clicks.append(step.properties)
    assert clicks
    assert all(click["decision_id"] == "d1" and click["product_id"] in ("30001", "30002") for click in clicks)


class FakeBrowser:
    def __init__(self) -> None:
        self.acts: list[tuple[str, str]] = []

    def act(self, visitor: Visitor, step: Step) -> None:
        self.acts.append((visitor.session_id, step.event or step.placement))


def test_a_crowd_takes_turns_and_newcomers_arrive(retail: Retail) -> None:
    now = [0.0]
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        now[0] += seconds

    browser: Any = FakeBrowser()
    crowd_ = crowd(retail, browser, seed=3, at_once=4, sleep=sleep, monotonic=lambda: now[0])
    assert len(list(islice(crowd_, 300))) == 300
    sessions = [session for session, _ in browser.acts]
    assert len(set(sessions)) > 8
    assert sum(a != b for a, b in pairwise(sessions)) > 100, "they take turns"
    assert 0.2 < 300 / now[0] < 4, "steps a second"
    assert min(slept) > 0


def test_a_closed_shop_is_an_error_that_says_so(retail: Retail) -> None:
    from opportune.demo.visitors import Browser

    browser = Browser("http://127.0.0.1:9", "wk")
    with pytest.raises((OSError, http.client.HTTPException)):
        next(crowd(retail, browser, seed=1, at_once=1, sleep=lambda s: None))
