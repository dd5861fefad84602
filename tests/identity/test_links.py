"""What events say about who is who, and how leaves remember it."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from opportune.events.event import Event
from opportune.identity.links import (
    MAX_LINKS,
    Evidence,
    Link,
    add,
    assert_together,
    fold_links,
    links_of,
    merge,
    ordered,
)


def event(
    *identifiers: str, kind: str = "track", name: str = "product_viewed", time: int = 10, id_: str = "m1"
):
    return Event(kind, name, id_, "web", time, time, identifiers)


def test_the_strongest_identifier_is_linked_to_each_of_the_others():
    links = links_of(event("user_id:u1", "email:a@b.c", "anonymous_id:a1"))
    assert [(link.a, link.b) for link in links] == [
        ("user_id:u1", "email:a@b.c"),
        ("user_id:u1", "anonymous_id:a1"),
    ]
    assert links[0].evidence == Evidence("together", 10, "m1", "web", last=10, count=1)


@pytest.mark.parametrize(
    ("kind", "name", "rule"),
    [
        ("track", "product_viewed", "together"),
        ("identify", "identify", "identify"),
        ("alias", "alias", "alias"),
        ("track", "identity_linked", "linked"),
        ("track", "identity_unlinked", "unlinked"),
    ],
)
def test_the_rule_says_what_kind_of_event_it_was(kind, name, rule):
    (link,) = links_of(event("user_id:u1", "anonymous_id:a1", kind=kind, name=name))
    assert link.evidence.rule == rule


@pytest.mark.parametrize(
    "identifiers",
    [
        (),
        ("user_id:u1",),
        ("user_id:u1", "account:acme"),
        ("user_id:null", "anonymous_id:a1"),
        ("user_id:-1", "anonymous_id:a1"),
        ("user_id:0000", "anonymous_id:anonymous"),
        ("user_id:u1", "user_id:u1"),
    ],
)
def test_shared_blocked_and_single_identifiers_link_nothing(identifiers):
    assert links_of(event(*identifiers)) == []


def test_a_blocked_strongest_identifier_leaves_the_others_linked():
    (link,) = links_of(event("user_id:null", "email:a@b.c", "anonymous_id:a1"))
    assert (link.a, link.b) == ("email:a@b.c", "anonymous_id:a1")


def test_ends_are_ordered_by_strength_then_key():
    assert ordered("anonymous_id:a", "user_id:z") == ("user_id:z", "anonymous_id:a")
    assert ordered("user_id:2", "user_id:1") == ("user_id:1", "user_id:2")


def test_a_request_asserts_links_that_are_never_stored():
    (link,) = assert_together(("user_id:u1", "anonymous_id:a1"), 99)
    assert link == Link("user_id:u1", "anonymous_id:a1", Evidence("asserted", 99, "", "", 99))
    assert assert_together(("user_id:u1",), 99) == []


def test_the_earliest_evidence_stands_and_the_latest_is_noted():
    links: dict[str, Evidence] = {}
    for time, id_ in ((20, "late"), (10, "early"), (30, "later")):
        fold_links(links, event("user_id:u1", "anonymous_id:a1", time=time, id_=id_), "user_id:u1")
    assert links == {"anonymous_id:a1": Evidence("together", 10, "early", "web", last=30, count=3)}


def test_the_weaker_end_links_to_the_strongest_only():
    both = event("user_id:u1", "email:a@b.c", "anonymous_id:a1")
    links: dict[str, Evidence] = {}
    fold_links(links, both, "anonymous_id:a1")
    assert list(links) == ["user_id:u1"]
    fold_links(links, both, "anonymous_id:a1")
    assert links["user_id:u1"].count == 2


def test_evidence_is_active_until_unlinked_and_again_when_linked_by_hand():
    together = Evidence("together", 10, "m1", "web", 10)
    parted = merge(together, Evidence("unlinked", 20, "m2", "web", 20, 0, parted=20))
    assert together.active
    assert not parted.active
    assert not merge(parted, Evidence("together", 30, "m3", "web", 30)).active
    assert merge(parted, Evidence("linked", 30, "m4", "web", 30, joined=30)).active
    assert not merge(parted, Evidence("linked", 20, "m4", "web", 20, joined=20)).active
    assert (parted.rule, parted.count, parted.last) == ("together", 1, 20)


def test_a_retraction_alone_is_no_link():
    (link,) = links_of(event("user_id:u1", "anonymous_id:a1", name="identity_unlinked"))
    assert (link.evidence.count, link.evidence.active) == (0, False)


def test_beyond_the_bound_the_smallest_keys_stay_in_any_order():
    keys = [f"anonymous_id:{n:04}" for n in range(MAX_LINKS + 40)]
    for seed in (1, 2):
        links: dict[str, Evidence] = {}
        for key in random.Random(seed).sample(keys, len(keys)):
            add(links, key, Evidence("together", 1, "m", "web", 1))
        assert sorted(links) == keys[:MAX_LINKS]


def test_plain_json_for_evidence_pages():
    (link,) = links_of(event("user_id:u1", "anonymous_id:a1", name="identity_unlinked"))
    assert link.to_dict() == {
        "a": "user_id:u1", "b": "anonymous_id:a1", "rule": "unlinked", "time": 10, "message_id": "m1",
        "source": "web", "last": 10, "count": 0, "active": False, "joined": None, "parted": 10,
        "confirmed": None,
    }  # fmt: skip


EVENTS = st.builds(
    event,
    st.sampled_from(("user_id:u1", "user_id:u2")),
    st.sampled_from(("anonymous_id:a1", "anonymous_id:a2")),
    kind=st.sampled_from(("track", "identify", "alias")),
    name=st.sampled_from(("product_viewed", "identity_linked", "identity_unlinked")),
    time=st.integers(1, 5),
    id_=st.sampled_from(("m1", "m2", "m3")),
)


@dataclass
class Ends:
    """The leaves' links of everybody in a list of events."""

    of: dict[str, dict[str, Evidence]] = field(default_factory=dict)

    def fold(self, events: list[Event]) -> Ends:
        for e in events:
            for key in e.identifiers:
                fold_links(self.of.setdefault(key, {}), e, key)
        return self


@settings(max_examples=200, deadline=None, derandomize=True, database=None)
@given(st.lists(EVENTS, max_size=12), st.integers(0, 1000), st.integers(0, 12))
def test_evidence_does_not_depend_on_order_or_grouping(events, seed, cut):
    whole = Ends().fold(events)
    assert Ends().fold(random.Random(seed).sample(events, len(events))) == whole
    merged = Ends().fold(events[:cut])
    for key, links in Ends().fold(events[cut:]).of.items():
        for other, evidence in links.items():
            add(merged.of.setdefault(key, {}), other, evidence)
    assert merged == whole


@settings(max_examples=100, deadline=None, derandomize=True, database=None)
@given(st.lists(EVENTS, min_size=1, max_size=12))
def test_both_ends_hold_the_same_evidence(events):
    ends = Ends().fold(events).of
    for key, links in ends.items():
        for other, evidence in links.items():
            assert ends[other][key] == evidence


def test_evidence_goes_through_bytes():
    evidence = Evidence("together", 10, "m1", "web", 20, 3, 0, 15)
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(evidence), type=Evidence) == evidence
