from __future__ import annotations

from opportune.events.segment import normalize
from opportune.profiles.leaf import Leaf
from opportune.profiles.schema import ProfileSchema
from opportune.streams.decoded import Decoded
from opportune.streams.leaf_fold import fold_event

SCHEMA = ProfileSchema.default()


def folded(leaf: Leaf, seq: int) -> Leaf:
    call = {"type": "track", "event": "Product Viewed", "messageId": f"m{seq}", "anonymousId": "b1"}
    fold_event(SCHEMA, leaf, normalize(call, kind=None, source="shop", received=1_790_000_000_000), seq)
    return leaf


def test_the_leaf_of_the_same_bytes_is_at_hand() -> None:
    decoded = Decoded(SCHEMA)
    leaf = folded(decoded.take(b"b1", b""), 1)
    data = decoded.encode(b"b1", leaf)
    assert decoded.take(b"b1", data) is leaf


def test_a_commit_that_failed_is_not_seen() -> None:
    """The state went back to older bytes, or to none: so does the leaf."""
    decoded = Decoded(SCHEMA)
    first = decoded.encode(b"b1", folded(SCHEMA.zero(), 1))
    decoded.encode(b"b1", folded(decoded.take(b"b1", first), 2))
    assert decoded.take(b"b1", first).events == 1
    decoded.encode(b"b1", folded(SCHEMA.decode(first), 2))
    assert decoded.take(b"b1", b"").events == 0


def test_a_leaf_that_was_taken_and_not_given_back_is_forgotten() -> None:
    decoded = Decoded(SCHEMA)
    first = decoded.encode(b"b1", folded(SCHEMA.zero(), 1))
    folded(decoded.take(b"b1", first), 2)
    assert decoded.take(b"b1", first).events == 1


def test_memory_is_bounded() -> None:
    decoded = Decoded(SCHEMA, capacity=1)
    leaf = folded(SCHEMA.zero(), 1)
    data = decoded.encode(b"b1", leaf)
    decoded.encode(b"b2", folded(SCHEMA.zero(), 1))
    assert decoded.take(b"b1", data) is not leaf
