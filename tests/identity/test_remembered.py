"""A remembered component is the one that would be resolved now."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from opportune import Engine
from opportune.clock import DAY, FixedClock
from opportune.events.event import Event
from opportune.identity.components import resolve
from opportune.identity.links import Evidence, fold_links
from opportune.identity.remembered import Components
from opportune.identity.rules import IdentityRules

NODES = ("user_id:u1", "user_id:u2", "email:e@x.yz", "anonymous_id:a1", "anonymous_id:a2", "account:acme")
SEEN = st.lists(
    st.tuples(
        st.lists(st.sampled_from(NODES), min_size=2, max_size=3, unique=True).map(
            lambda found: tuple(sorted(found, key=NODES.index))
        ),
        st.sampled_from(("product_viewed", "product_viewed", "identity_unlinked", "identity_linked")),
        st.integers(1, 6),
    ),
    max_size=12,
)
TIGHT = IdentityRules(limits={"user_id": 1, "anonymous_id": 1}, crowded={"anonymous_id": 3})


class Leaves:
    """Links by identifier, and who asks about them."""

    def __init__(self, rules: IdentityRules) -> None:
        self.links: dict[str, dict[str, Evidence]] = {}
        self.reads = 0
        self.components = Components(self, rules, capacity=4)

    def __call__(self, key: str) -> dict[str, Evidence]:
        self.reads += 1
        return self.links.get(key, {})

    def see(self, identifiers: tuple[str, ...], name: str, time: int) -> None:
        event = Event("track", name, f"m{time}", "web", time, time, identifiers)
        for key in identifiers:
            if fold_links(self.links.setdefault(key, {}), event, key):
                self.components.forget(key)


@settings(max_examples=200, deadline=None, derandomize=True, database=None)
@given(SEEN, st.sampled_from((IdentityRules(), TIGHT)))
def test_it_is_forgotten_exactly_when_it_changes(seen, rules):
    leaves = Leaves(rules)
    for identifiers, name, time in seen:
        leaves.see(identifiers, name, time)
        for node in NODES:
            expected = resolve(node, lambda key: leaves.links.get(key, {}), rules).identifiers
            assert leaves.components.members(node) == expected
        assert len(leaves.components) <= 4


def test_being_seen_together_again_costs_no_new_answer():
    leaves = Leaves(IdentityRules())
    leaves.see(("user_id:u1", "anonymous_id:a1", "account:acme"), "product_viewed", 1)
    assert leaves.components.members("anonymous_id:a1") == ("user_id:u1", "anonymous_id:a1")
    leaves.reads = 0
    leaves.see(("user_id:u1", "anonymous_id:a1", "account:acme"), "product_viewed", 2)
    assert leaves.components.members("anonymous_id:a1") == ("user_id:u1", "anonymous_id:a1")
    assert leaves.reads == 0
    assert leaves.links["user_id:u1"]["anonymous_id:a1"].count == 2
    leaves.see(("user_id:u1", "anonymous_id:a1"), "identity_unlinked", 3)
    assert leaves.components.members("anonymous_id:a1") == ("anonymous_id:a1",)


def test_evidence_that_comes_again_lets_a_device_go_on(tmp_path: Path) -> None:
    (tmp_path / "ws").mkdir()
    (tmp_path / "ws" / "identity.yaml").write_text("expires: {device_id: 180d}")
    clock = FixedClock()
    with Engine.open(tmp_path / "data", workspace=tmp_path / "ws", clock=clock) as engine:
        for n, user in enumerate(["u1", "u2", "u2"]):
            device = {"device": {"id": "d1"}}
            engine.ingest(
                {"type": "track", "event": "Seen", "userId": user, "messageId": f"m{n}", "context": device}
            )
            members = engine.state.components.members("user_id:u1")
            assert ("device_id:d1" in members) is (n < 2)
            clock.advance(100 * DAY)
