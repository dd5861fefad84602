"""Contexts of OpenFeature as requests, and answers in its words."""

from __future__ import annotations

import re

import pytest

from opportune.decide.flags import of_experiment, request_of
from opportune.errors import InvalidRequest
from opportune.experiments.assignment import NOT_ASSIGNED, Assigned, Assignment
from opportune.experiments.definitions import parse_experiments

T = parse_experiments(
    "experiments: [{id: t, arms: [{id: control, value: 1.0}, {id: large, value: 2.5}]}]"
).get("t")


def test_who_asks():
    asked = request_of({"targetingKey": "u1", "anonymousId": "a1", "sessionId": "s1", "country": "DE"})
    assert asked.identifiers == {"user_id": "u1", "anonymous_id": "a1"}
    assert (asked.session_id, asked.context) == ("s1", {"country": "DE"})
    assert request_of({"targetingKey": "anonymous_id:a1"}).identifiers == {"anonymous_id": "a1"}
    assert request_of({"targetingKey": "urn:x"}).identifiers == {"user_id": "urn:x"}
    assert request_of({"targetingKey": 7}).identifiers == {"user_id": "7"}
    with pytest.raises(InvalidRequest, match=re.escape("at $.context.targetingKey: send a targetingKey")):
        request_of({"country": "DE"})


def test_what_is_answered():
    def told(*words, held=False):
        found = of_experiment(T, Assigned(words, held))
        return found.reason, found.variant, found.value

    assert told(Assignment("t", "large", "u", 0.5)) == ("SPLIT", "large", 2.5)
    assert told(Assignment("t", "large", "u", 1.0, "shipped")) == ("STATIC", "large", 2.5)
    from msgspec import UNSET

    assert told(Assignment("t", "gone", "u", 1.0, "removed")) == ("UNKNOWN", "", UNSET)
    assert told(Assignment("holdout", "held", "u", 0.1), held=True) == ("SPLIT", "", UNSET)
    assert of_experiment(T, NOT_ASSIGNED).reason == "UNKNOWN"
