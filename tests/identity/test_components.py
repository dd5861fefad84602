"""Who is who: guards, determinism, retraction, and the same answer from every member."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from opportune.events.event import Event
from opportune.identity import components
from opportune.identity.components import Component, resolve
from opportune.identity.links import Evidence, assert_together, fold_links
from opportune.identity.rules import IdentityRules

RULES = IdentityRules()
A1, A2, A3, U1, U2, E1 = (
    "anonymous_id:a1", "anonymous_id:a2", "anonymous_id:a3", "user_id:u1", "user_id:u2", "email:e@x.yz",
)  # fmt: skip


class Graph:
    """The links of every leaf, as events made them."""

    def __init__(self, *seen: tuple[str, ...], name: str = "product_viewed") -> None:
        self.links: dict[str, dict[str, Evidence]] = {}
        self.time = 0
        for identifiers in seen:
            self.see(*identifiers, name=name)

    def see(self, *identifiers: str, name: str = "product_viewed", time: int | None = None) -> Graph:
        self.time += 1
        at = self.time if time is None else time
        event = Event("track", name, f"m{at}", "web", at, at, identifiers)
        for key in identifiers:
            fold_links(self.links.setdefault(key, {}), event, key)
        return self

    def __call__(self, key: str) -> dict[str, Evidence]:
        return self.links.get(key, {})

    def who(self, seed: str, rules: IdentityRules = RULES) -> tuple[str, ...]:
        return resolve(seed, self, rules).identifiers


def test_an_unknown_identifier_is_alone():
    assert resolve(A1, Graph(), RULES) == Component((A1,))
    assert resolve(A1, Graph(), RULES).person_id == A1


def test_login_joins_the_anonymous_history():
    graph = Graph((U1, A1))
    for seed in (U1, A1):
        found = resolve(seed, graph, RULES)
        assert found.identifiers == (U1, A1)
        assert [(x.a, x.b, x.evidence.message_id) for x in found.links] == [(U1, A1, "m1")]
        assert (found.refused, found.truncated, found.person_id) == ((), False, U1)


def test_a_device_that_has_gone_on_to_somebody_else_is_nobodys():
    device, day = "device_id:d1", 86_400_000
    rules = IdentityRules(expires={"device_id": "180d"})
    graph = Graph().see(U1, device, time=0).see(U1, A1, device, time=day).see(U2, device, time=100 * day)
    assert graph.who(U1, rules) == (U1, A1, device), "two who share it: it stays with the first"
    graph.see(U2, device, time=182 * day)
    assert (graph.who(U1, rules), graph.who(U2, rules), graph.who(device, rules)) == (
        (U1, A1),
        (U2,),
        (device,),
    )
    refused = resolve(U1, graph, rules).refused
    assert [reason for _, reason in refused] == [f"expired:{device}"]
    assert graph.who(U1) == (U1, A1, device), "without the rule it is the first one's for ever"
    graph.see(U1, device, time=183 * day)
    assert graph.who(U1, rules) == (U1, A1, device), "who still uses it has not given it away"
    graph.see(U2, device, time=400 * day).see(U2, device, name="identity_confirmed", time=401 * day)
    assert graph.who(U2, rules) == (U2, device), "somebody says whose it is"


def test_new_cookies_of_one_owner_are_no_new_owner():
    device, day = "device_id:d1", 86_400_000
    rules = IdentityRules(expires={"device_id": "180d"})
    graph = Graph().see(U1, A1, device, time=0).see(U1, A2, device, time=900 * day)
    assert graph.who(A1, rules) == (U1, A1, A2, device)


def test_two_logins_are_never_joined_and_the_browser_stays_with_the_first():
    graph = Graph((U1, A1), (U2, A1))
    assert graph.who(U1) == graph.who(A1) == (U1, A1)
    second = resolve(U2, graph, RULES)
    assert second.identifiers == (U2,)
    assert [(x.a, x.b, reason) for x, reason in second.refused] == [(U2, A1, "limit:user_id")]


def test_an_alias_of_one_login_to_another_is_refused():
    graph = Graph((U1, U2))
    found = resolve(U1, graph, RULES)
    assert found.identifiers == (U1,)
    assert [reason for _, reason in found.refused] == ["limit:user_id"]
    assert graph.who(U1, IdentityRules(limits={"user_id": 2})) == (U1, U2)


def test_two_logins_are_not_joined_through_a_chain():
    graph = Graph((U1, E1), (E1, A1), (U2, A2), (A1, A2), (U2, E1))
    groups = {graph.who(seed) for seed in (U1, U2, E1, A1, A2)}
    assert sum(U1 in g or U2 in g for g in groups) == 2
    assert not any(U1 in g and U2 in g for g in groups)
    assert sorted(i for g in groups for i in g) == sorted((U1, U2, E1, A1, A2))


def test_arrival_order_does_not_matter_evidence_time_does():
    late = Graph().see(U2, A1, time=5).see(U1, A1, time=3)
    assert late.who(A1) == (U1, A1)
    assert late.who(U2) == (U2,)


def test_limit_per_type():
    graph = Graph(*((U1, f"device_id:d{n:02}") for n in range(20)))
    rules = IdentityRules(limits={"user_id": 1, "device_id": 3})
    found = resolve(U1, graph, rules)
    assert found.identifiers == (U1, "device_id:d00", "device_id:d01", "device_id:d02")
    assert {reason for _, reason in found.refused} == {"limit:device_id"}
    assert graph.who("device_id:d19", rules) == ("device_id:d19",)


def test_a_crowded_identifier_connects_nobody():
    kiosk = "email:kiosk@shop.example"
    graph = Graph(*((kiosk, f"anonymous_id:a{n}") for n in range(32)))
    assert graph.who(kiosk) == (kiosk,)
    found = resolve("anonymous_id:a7", graph, RULES)
    assert found.identifiers == ("anonymous_id:a7",)
    assert [reason for _, reason in found.refused] == [f"crowded:{kiosk}"]
    assert len(graph.who(kiosk, IdentityRules(crowded={"email": 33}))) == 33


@pytest.mark.parametrize("blocked", ["email:e@x.yz", "e@x.yz"])
def test_blocked_values_connect_nobody(blocked):
    rules = IdentityRules(blocked=(blocked,))
    graph = Graph((U1, E1), (E1, A1))
    assert graph.who(U1, rules) == (U1,)
    assert [reason for _, reason in resolve(A1, graph, rules).refused] == [f"blocked:{E1}"]
    pair = Graph((U1, E1))
    assert pair.who(U1, rules) == (U1,)
    assert [reason for _, reason in resolve(U1, pair, rules).refused] == [f"blocked:{E1}"]


def test_unlinking_takes_two_apart_and_stands_whatever_browsers_send():
    graph = Graph((U1, A1), (U1, A2)).see(U1, A1, name="identity_unlinked").see(U1, A1)
    assert graph.who(U1) == (U1, A2)
    assert graph.who(A1) == (A1,)
    assert [reason for _, reason in resolve(A1, graph, RULES).refused] == ["retracted"]
    graph.see(U1, A1, name="identity_linked")
    assert graph.who(A1) == (U1, A1, A2)


def test_a_request_that_names_both_is_believed_for_that_request():
    graph = Graph((U2, A2))
    asserted = assert_together((U1, A1), 99)
    assert resolve(U1, graph, RULES, asserted=asserted).identifiers == (U1, A1)
    assert graph.who(U1) == (U1,)
    # What is stored comes first: this browser is somebody else's.
    claimed = resolve(U1, graph, RULES, asserted=assert_together((U1, A2), 99))
    assert claimed.identifiers == (U1,)
    assert [reason for _, reason in claimed.refused] == ["limit:user_id"]


def test_more_than_can_be_looked_at_is_said():
    graph = Graph(*((f"anonymous_id:a{n}", f"anonymous_id:a{n + 1}") for n in range(30)))
    found = resolve("anonymous_id:a0", graph, IdentityRules(max_identifiers=10))
    assert (len(found.identifiers), found.truncated) == (10, True)
    assert not resolve("anonymous_id:a0", graph, RULES).truncated


def test_the_person_id_is_the_strongest_and_earliest():
    assert resolve(A1, Graph((A2, A3), (A2, A1)), RULES).person_id == A2
    assert resolve(A1, Graph((U1, A1), (U1, A2)), RULES).person_id == U1
    graph = Graph().see(A2, E1, time=9).see(E1, A1, time=3)
    assert graph.who(A1)[0] == E1 == resolve(A1, graph, RULES).person_id


def test_a_crowd_of_ten_thousand_is_answered_from_its_bound():
    graph = Graph(*((U1, f"anonymous_id:a{n}") for n in range(10_000)))
    assert len(graph(U1)) == 128
    assert len(graph.who(U1)) == 1 + RULES.limit("anonymous_id")


NODES = (U1, U2, E1, A1, A2, A3, "device_id:d1")
PAIRS = st.tuples(st.sampled_from(NODES), st.sampled_from(NODES)).filter(lambda p: p[0] < p[1])
SEEN = st.lists(
    st.tuples(
        PAIRS.map(lambda p: tuple(sorted(p, key=NODES.index))),
        st.sampled_from(("product_viewed", "product_viewed", "identity_unlinked", "identity_linked")),
        st.integers(1, 6),
    ),
    max_size=10,
)
TIGHT = IdentityRules(limits={"user_id": 1, "anonymous_id": 2}, crowded={"anonymous_id": 4}, blocked=("d1",))


def graph_of(seen) -> Graph:
    graph = Graph()
    for identifiers, name, time in seen:
        graph.see(*identifiers, name=name, time=time)
    return graph


@settings(max_examples=200, deadline=None, derandomize=True, database=None)
@given(SEEN, st.integers(0, 1000), st.sampled_from((RULES, TIGHT)))
def test_everybody_is_in_one_component_which_every_member_agrees_on(seen, seed, rules):
    graph = graph_of(seen)
    shuffled = graph_of(random.Random(seed).sample(seen, len(seen)))
    for node in NODES:
        found = resolve(node, graph, rules)
        assert node in found.identifiers
        assert sum(i.startswith("user_id:") for i in found.identifiers) <= 1
        for member in found.identifiers:
            assert resolve(member, graph, rules).identifiers == found.identifiers
            assert resolve(member, graph, rules).person_id == found.person_id
            assert shuffled.who(member, rules) == found.identifiers
        for link in found.links:
            assert link.evidence.active
            assert {link.a, link.b} <= set(found.identifiers)


@settings(max_examples=200, deadline=None, derandomize=True, database=None)
@given(SEEN, st.sampled_from((RULES, TIGHT)))
def test_the_short_cut_for_pairs_answers_as_the_general_way_does(seen, rules):
    graph = graph_of(seen)
    for node in NODES:
        reached, edges, refused, truncated = components._reach(node, graph, rules, ())
        group, joined, over = components._join(reached, edges, rules)
        mine = group[node]
        found = resolve(node, graph, rules)
        assert set(found.identifiers) == set(mine.members)
        assert {(x.a, x.b) for x in found.links} == {(x.a, x.b) for x in joined if group[x.a] is mine}
        reasons = {(x.a, x.b, why) for x, why in refused + over if node in (x.a, x.b)}
        assert {(x.a, x.b, why) for x, why in found.refused if node in (x.a, x.b)} == reasons
        assert truncated is found.truncated is False
