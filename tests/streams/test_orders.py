"""What an order to erase does to the records of a worker: gone, and what came before stays out."""

from __future__ import annotations

from typing import Any

import msgspec
from tests.streams.test_folding import HASHES, SCHEMA, State

from opportune.events.segment import normalize
from opportune.privacy.order import Order
from opportune.profiles.leaf import Leaf
from opportune.streams.folding import Leaves
from opportune.streams.leaf_fold import end_of, fold_end, fold_event, forget
from opportune.streams.serving_copy import stamped
from opportune.streams.stones import NEVER, STATE, Stone, packed, unpacked

THEN = 1_790_000_000_000
ORDER = Order("0" * 16, THEN, "anonymous_id:b1", ("user_id:u1", "anonymous_id:b1"))
B1 = b"anonymous_id:b1"


def _event(number: int, at: int = THEN - 1) -> Any:
    call = {"type": "track", "event": "Product Viewed", "messageId": f"m{number}"}
    return normalize(call | {"anonymousId": "b1", "userId": "u1"}, kind=None, source="shop", received=at)


def _told(leaves: Leaves, state: State, seq: int, at: int) -> Leaf:
    """An end of a link to u1, folded into b1 at ``at``."""
    held = leaves.take(B1, state)  # type: ignore[arg-type]  # all of a State that leaves ask for
    fold_end(SCHEMA, held.leaf, end_of(_event(seq, at)), "anonymous_id:b1", seq)
    leaves.keep(B1, held, state)  # type: ignore[arg-type]  # as above
    return held.leaf


def test_the_leaf_goes_and_a_tombstone_stays() -> None:
    leaves, state = Leaves(SCHEMA, HASHES), State()
    _told(leaves, state, 1, THEN - 1)
    leaves.encoded()
    state.commit()
    leaves.bury(B1, ORDER, 2, state)  # type: ignore[arg-type]  # as above
    assert leaves.encoded() == {B1: stamped(2, b"")}
    stone = Stone(THEN, 2, suppressed=False)
    assert leaves.stones() == {HASHES.of(B1): stamped(2, packed(stone))}
    state.commit()
    assert state.committed == {STATE + HASHES.of(B1): packed(stone)}
    held = leaves.take(B1, state)  # type: ignore[arg-type]  # as above
    assert held.leaf.offset < 0
    assert held.stone == stone


def test_what_is_folded_after_the_order_in_the_same_commit_is_somebody_new() -> None:
    leaves, state = Leaves(SCHEMA, HASHES), State()
    _told(leaves, state, 1, THEN - 1)
    leaves.bury(B1, ORDER, 2, state)  # type: ignore[arg-type]  # as above
    _told(leaves, state, 3, THEN + 1)
    [served] = leaves.encoded().values()
    leaf = SCHEMA.decode(served[8:])
    assert leaf.offset == 3
    assert leaf.links["user_id:u1"].count == 1


def test_the_same_order_by_another_way_leaves_links_that_were_told_of_since() -> None:
    leaves, state = Leaves(SCHEMA, HASHES), State()
    leaves.bury(B1, ORDER, 1, state)  # type: ignore[arg-type]  # as above
    _told(leaves, state, 2, THEN + 5)
    leaves.bury(B1, ORDER, 3, state)  # type: ignore[arg-type]  # as above
    assert leaves.take(B1, state).leaf.links["user_id:u1"].time == THEN + 5  # type: ignore[arg-type]  # as above


def test_a_commit_that_failed_erased_nobody() -> None:
    leaves, state = Leaves(SCHEMA, HASHES), State()
    _told(leaves, state, 1, THEN - 1)
    leaves.encoded()
    state.commit()
    leaves.bury(B1, ORDER, 2, state)  # type: ignore[arg-type]  # as above
    leaves.forget()
    state.abort()
    assert leaves.encoded() == {}
    assert leaves.stones() == {}
    held = leaves.take(B1, state)  # type: ignore[arg-type]  # as above
    assert held.leaf.links["user_id:u1"].count == 1
    assert held.stone.at == NEVER


def test_keeping_out_leaves_what_is_known_and_is_taken_back() -> None:
    leaves, state = Leaves(SCHEMA, HASHES), State()
    _told(leaves, state, 1, THEN - 1)
    kept_out = msgspec.structs.replace(ORDER, erases=False, suppress=True)
    leaves.bury(B1, kept_out, 2, state)  # type: ignore[arg-type]  # as above
    held = leaves.take(B1, state)  # type: ignore[arg-type]  # as above
    assert held.leaf.links["user_id:u1"].count == 1
    assert held.stone.refuses(THEN + 99), "whenever it happens"
    leaves.bury(B1, msgspec.structs.replace(kept_out, suppress=False, lifted=True), 3, state)  # type: ignore[arg-type]  # as above
    assert not leaves.take(B1, state).stone.refuses(THEN - 99)  # type: ignore[arg-type]  # as above


def test_a_neighbour_forgets_them() -> None:
    leaf = SCHEMA.zero()
    fold_event(SCHEMA, leaf, _event(1), 1)
    assert forget(leaf, ["anonymous_id:b1"], 2)
    assert leaf.links == {}
    assert leaf.offset == 2
    assert not forget(leaf, ["anonymous_id:b1"], 3), "it knows nobody of them"
    assert leaf.offset == 2


def test_what_happened_or_came_up_to_the_order_stays_out() -> None:
    stone = Stone(THEN)
    assert stone.refuses(THEN, THEN + 5), "it happened before"
    assert stone.refuses(THEN + 5, THEN), "it came before"
    assert not stone.refuses(THEN + 1, THEN + 1)
    assert unpacked(packed(stone)) == stone
