"""What a gateway counted as stored and the worker dropped is put right, in the same message as the others."""

from __future__ import annotations

from typing import Any

from tests.streams.test_folding import State
from tests.streams.test_gate import OLD, hand, worker

from opportune.events.event import Event, Tally
from opportune.privacy.order import Order
from opportune.streams import packs

NOW = 1_790_000_000_000


def passed_on(folding: Any) -> list[Any]:
    """What the journal gets of this commit."""
    [out] = [out for out in folding.outgoing() if out.topic == "t.journal"]
    return [entry for _, entry in packs.entries_of(out.value)]


def test_a_doubled_event_counts_as_a_duplicate() -> None:
    folding, _, _ = worker(OLD)
    state = State()
    hand(folding, state, 0)
    hand(folding, state, 1, messageId="m0")
    event, tally = passed_on(folding)
    assert type(event) is Event
    assert tally == Tally("shop", stored=-1, duplicate=1)


def test_what_comes_after_an_erasure_counts_as_suppressed() -> None:
    folding, _, _ = worker(OLD)
    state: Any = State()
    order = Order("0" * 16, NOW + 1, "anonymous_id:b1", ("anonymous_id:b1",))
    folding.leaves.bury(b"anonymous_id:b1", order, 1, state)
    hand(folding, state, 2)
    assert passed_on(folding) == [Tally("shop", stored=-1, suppressed=1)]


def test_where_nothing_is_dropped_the_message_is_passed_on_as_it_came() -> None:
    folding, _, _ = worker(OLD)
    hand(folding, State(), 0)
    assert [type(entry) for entry in passed_on(folding)] == [Event]
