"""identity.yaml."""

from __future__ import annotations

import re

import pytest

from opportune.errors import InvalidDefinition
from opportune.identity.rules import IdentityRules, parse_rules


def test_what_the_file_does_not_mention_keeps_its_default():
    rules = parse_rules("limits: {email: 2}\ncrowded: {device_id: 3}\nblocked: [shared@shop.example]\n")
    assert (rules.limit("email"), rules.limit("user_id"), rules.limit("braze_id")) == (2, 1, 16)
    assert (rules.crowded_at("device_id"), rules.crowded_at("email")) == (3, 32)
    assert rules.is_blocked("email:shared@shop.example")
    assert not rules.is_blocked("email:ada@shop.example")
    assert parse_rules("") == IdentityRules()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("limits: {user_id: 0}", "a limit must be 1 to 1000, saw 0, at $.limits.user_id"),
        ("crowded: {email: 130}", "a limit must be 1 to 129, saw 130, at $.crowded.email"),
        ("max_identifiers: 1", "max_identifiers must be 2 to 10000, saw 1"),
        ("limits: {user_id: many}", "Expected `int`, got `str`"),
        (
            "expires: {device_id: 3 months}",
            "Expected `str` matching regex '^[1-9][0-9]{0,4}d$'",
        ),
        ("joins: yes", "Object contains unknown field `joins`"),
    ],
)
def test_a_wrong_file_is_refused_with_its_place(text, message):
    with pytest.raises(InvalidDefinition, match=re.escape(message)):
        parse_rules(text)
