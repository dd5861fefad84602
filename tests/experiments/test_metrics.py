"""metrics.yaml."""

from __future__ import annotations

import re

import pytest

from opportune.errors import InvalidDefinition, NotFound
from opportune.experiments.metrics import Metrics, parse_metrics


def test_a_metric_replaces_the_shipped_one():
    found = parse_metrics("metrics: [{id: revenue, kind: sum, event: paid, window: 3d}]")
    assert found.get("revenue").event == "paid"
    assert found.get("conversion").kind == "conversion"
    with pytest.raises(NotFound, match="known are: conversion, order_value, orders, revenue"):
        Metrics().get("x")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("metrics: [{id: a, kind: sum}]", "sum needs an event, saw '', at metrics.yaml $.metrics[0].event"),
        ("metrics: [{id: a, kind: ratio}]", "a ratio needs both halves"),
        ("metrics: [{id: a, kind: count, event: x, since: 1d}]", "since belongs to retention"),
        (
            "metrics: [{id: a, kind: count, event: x}, {id: a, kind: count, event: x}]",
            "two metrics have one id",
        ),
        ("metrics: [{id: a, kind: count, event: x, window: 3w}]", "Expected `str` matching regex"),
    ],
)
def test_a_wrong_file_is_refused_with_its_place(text, message):
    with pytest.raises(InvalidDefinition, match=re.escape(message)):
        parse_metrics(text)
