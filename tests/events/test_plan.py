"""Tracking plans: what is noted, what is refused, and how a wrong plan says where it is wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import yaml

from opportune.errors import InvalidDefinition
from opportune.events.event import Event
from opportune.events.plan import EMPTY, MAX_VIOLATIONS, Violation, load_plan, parse_plan, plan_schema
from opportune.events.rejected import Rejected

PLAN = """
name: shop
mode: warn
unknown_events: warn
events:
  Product Viewed:
    description: a product page was opened
    mode: reject
    properties:
      type: object
      required: [product_id]
      properties:
        product_id: {type: string, minLength: 1}
        price: {type: number, minimum: 0}
  identify:
    traits:
      type: object
      properties:
        age: {type: integer}
"""


def event(name: str, *, kind: str = "track", **parts: Any) -> Event:
    return Event(kind, name, "m1", "web", 1, 1, ("user_id:u1",), **parts)


def test_an_event_as_planned_passes() -> None:
    plan = parse_plan(PLAN)
    assert plan.check(event("product_viewed", properties={"product_id": "p1", "price": 5, "extra": 1})) == []
    assert plan.admit(event("identify", kind="identify", traits={"age": 30})) == []


def test_any_spelling_of_the_event_is_checked_and_every_violation_has_its_path() -> None:
    found = parse_plan(PLAN).check(event("product_viewed", properties={"price": -1}))
    assert found == [
        Violation("$.properties", '"product_id" is a required property', "reject"),
        Violation("$.properties.price", "-1 is less than the minimum of 0", "reject"),
    ]


def test_reject_refuses_and_warn_only_notes() -> None:
    plan = parse_plan(PLAN)
    with pytest.raises(Rejected) as caught:
        plan.admit(event("product_viewed", properties={"product_id": ""}))
    assert (caught.value.code, caught.value.where) == ("plan_violation", "$.properties.product_id")
    assert caught.value.reason == '"" is shorter than 1 character'
    noted = plan.admit(event("identify", kind="identify", traits={"age": "30"}))
    assert noted == [Violation("$.traits.age", '"30" is not of type "integer"', "warn")]


def test_events_that_the_plan_does_not_name() -> None:
    plan = parse_plan(PLAN)
    assert plan.check(event("Song Played")) == [
        Violation("$.event", "the event 'Song Played' is not in the plan", "warn")
    ]
    assert plan.check(event("page", kind="page")) == []
    assert parse_plan("unknown_events: allow").check(event("Song Played")) == []
    with pytest.raises(Rejected, match="the event 'Song Played' is not in the plan"):
        parse_plan("unknown_events: reject").admit(event("Song Played"))
    assert EMPTY.check(event("Song Played")) == []


def test_violations_are_bounded() -> None:
    plan = parse_plan("events: {x: {properties: {additionalProperties: {type: string}}}}")
    found = plan.check(event("x", properties={f"p{i}": i for i in range(50)}))
    assert len(found) == MAX_VIOLATIONS


def test_paths_reach_into_lists() -> None:
    schema = "{properties: {products: {items: {required: [product_id]}}}}"
    plan = parse_plan(f"events: {{order_completed: {{properties: {schema}}}}}")
    found = plan.check(event("order_completed", properties={"products": [{"product_id": 1}, {}]}))
    assert [v.path for v in found] == ["$.properties.products[1]"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("events: []", "Expected `object`, got `array`, at tracking_plan.yaml $.events"),
        ("mode: shout", "Invalid enum value 'shout', at tracking_plan.yaml $.mode"),
        (
            "events: {x: {propertys: {}}}",
            "Object contains unknown field `propertys`, at tracking_plan.yaml $.events",
        ),
        (
            "events: {x: {properties: {type: text}}}",
            "not a JSON Schema: ",
        ),
        (
            "events: {Product Viewed: {}, product_viewed: {}}",
            "the event is in the plan twice (as product_viewed)",
        ),
        ("a: [", "not valid YAML"),
    ],
)
def test_a_wrong_plan_says_where(text: str, message: str) -> None:
    with pytest.raises(InvalidDefinition) as caught:
        parse_plan(text)
    assert message in str(caught.value)
    assert caught.value.where.startswith("tracking_plan.yaml")


def test_the_path_of_a_wrong_schema() -> None:
    with pytest.raises(InvalidDefinition) as caught:
        parse_plan("events: {x: {properties: {properties: {price: {type: money}}}}}")
    assert caught.value.where == "tracking_plan.yaml $.events['x'].properties.properties.price.type"
    with pytest.raises(InvalidDefinition, match="not a JSON Schema"):
        parse_plan("events: {x: {properties: {$ref: 'https://schemas.example/x.json'}}}")


def test_a_plan_is_a_file(tmp_path: Path) -> None:
    path = tmp_path / "tracking_plan.yaml"
    path.write_text(PLAN, encoding="utf-8")
    assert load_plan(path).definition.name == "shop"
    with pytest.raises(InvalidDefinition, match="cannot read the definition file"):
        load_plan(tmp_path / "absent.yaml")


def test_the_published_schema_accepts_what_we_accept() -> None:
    schema = jsonschema_rs.validator_for(plan_schema())
    assert schema.is_valid(yaml.safe_load(PLAN))
    assert schema.is_valid({})
    assert not schema.is_valid({"mode": "shout"})
    assert not schema.is_valid({"events": {"x": {"propertys": {}}}})
