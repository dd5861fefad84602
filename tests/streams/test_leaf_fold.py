from __future__ import annotations

import random
from typing import Any

from scripts.cluster.recorded import recorded

from opportune.events.event import Event
from opportune.events.segment import normalize
from opportune.identity.links import Evidence
from opportune.profiles.leaf import Leaf
from opportune.profiles.schema import ProfileSchema
from opportune.streams.leaf_fold import end_of, fold_end, fold_event, whole

SCHEMA = ProfileSchema.default()


def typed(call: dict[str, Any], received: int = 1_790_000_000_000) -> Event:
    return normalize(call, kind=None, source="shop", received=received)


def test_two_halves_make_the_leaf_of_one_machine() -> None:
    """Every identifier's leaf, folded in one place and in two: encoded, they are the same bytes."""
    one: dict[str, Leaf] = {}
    own: dict[str, Leaf] = {}
    ends: dict[str, Leaf] = {}
    for seq, call in enumerate(recorded(40), 1):
        event = typed(call)
        first, *others = event.identifiers
        SCHEMA.fold(one.setdefault(first, SCHEMA.zero()), event, seq)
        fold_event(SCHEMA, own.setdefault(first, SCHEMA.zero()), event, seq)
        for other in others:
            SCHEMA.fold_link(one.setdefault(other, SCHEMA.zero()), event, other, seq)
            fold_end(SCHEMA, ends.setdefault(other, SCHEMA.zero()), end_of(event), other, seq)
    assert len(ends) > 10
    for name, expected in one.items():
        found = whole(own.get(name, SCHEMA.zero()), ends.get(name, SCHEMA.zero()))
        found.offset = expected.offset
        assert SCHEMA.encode(found) == SCHEMA.encode(expected), name


def test_who_is_in_a_group_is_in_its_other_half() -> None:
    call = {
        "type": "track",
        "event": "Seen",
        "userId": "u1",
        "messageId": "m1",
        "context": {"groupId": "acme"},
    }
    event = typed(call)
    assert event.identifiers == ("user_id:u1", "account:acme")
    end = SCHEMA.zero()
    fold_end(SCHEMA, end, end_of(event), "account:acme", 1)
    assert whole(SCHEMA.zero(), end).members == {"user_id:u1": event.time}


def test_the_other_half_is_not_changed() -> None:
    end = SCHEMA.zero()
    end.links["user_id:u1"] = Evidence("together", 5, "m1", "shop", 5)
    leaf = SCHEMA.zero()
    whole(leaf, end)
    leaf.links["user_id:u1"].count += 1
    assert end.links["user_id:u1"].count == 1


def test_the_later_word_on_consent_stands_whichever_half_has_it() -> None:
    said = [
        typed(
            {
                "type": "track",
                "event": "Consent Given",
                "messageId": f"m{time}",
                "anonymousId": "b1",
                "userId": "u1",
                "timestamp": f"2026-03-20T10:00:{time:02d}Z",
                "context": {"consent": {"categoryPreferences": {"marketing": time % 2 == 0}}},
            }
        )
        for time in range(6)
    ]
    for seed in range(20):
        draw = random.Random(seed)
        draw.shuffle(said)
        leaf, end = SCHEMA.zero(), SCHEMA.zero()
        for seq, event in enumerate(said, 1):
            if draw.random() < 0.5:
                fold_event(SCHEMA, leaf, event, seq)
            else:
                fold_end(SCHEMA, end, end_of(event), "anonymous_id:b1", seq)
        found = whole(leaf, end).consent
        assert found is not None
        assert not found.choices["marketing"].allowed, "the last word, at second 5, was no"
        assert found.choices["marketing"].message_id == "m5"
