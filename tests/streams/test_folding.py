"""Leaves between the events of a worker: encoded once per commit, believed only while the state agrees."""

from __future__ import annotations

from opportune.events.segment import normalize
from opportune.profiles.schema import ProfileSchema
from opportune.streams.folding import Leaves
from opportune.streams.leaf_fold import fold_event
from opportune.streams.marks import packed, unpacked
from opportune.streams.serving_copy import STAMP_BYTES
from opportune.streams.stones import Hashes

SCHEMA = ProfileSchema.default()
HASHES = Hashes(b"key")


class State:
    """What Quix keeps of one partition: ``committed``, and what a transaction has written over it."""

    def __init__(self) -> None:
        self.committed: dict[bytes, bytes] = {}
        self.written: dict[bytes, bytes | None] = {}

    def get_bytes(self, key: bytes) -> bytes | None:
        return self.written.get(key, self.committed.get(key))

    def set_bytes(self, key: bytes, value: bytes) -> None:
        self.written[key] = value

    def delete(self, key: bytes) -> None:
        self.written[key] = None

    def commit(self) -> None:
        for key, value in self.written.items():
            if value is None:
                self.committed.pop(key, None)
            else:
                self.committed[key] = value
        self.written = {}

    def abort(self) -> None:
        self.written = {}


def fold(leaves: Leaves, state: State, seq: int, key: bytes = b"b1") -> None:
    call = {"type": "track", "event": "Product Viewed", "messageId": f"m{seq}", "anonymousId": "b1"}
    held = leaves.take(key, state)  # type: ignore[arg-type]  # all of a State that leaves ask for
    held.marks += b"8 bytes "
    event = normalize(call, kind=None, source="shop", received=1_790_000_000_000)
    fold_event(SCHEMA, held.leaf, event, seq)
    leaves.keep(key, held, state)  # type: ignore[arg-type]  # as above


def test_a_leaf_is_encoded_once_per_commit_with_its_marks() -> None:
    leaves, state = Leaves(SCHEMA, HASHES), State()
    for seq in range(3):
        fold(leaves, state, seq)
    [(key, served)] = leaves.encoded().items()
    assert key == b"b1"
    assert int.from_bytes(served[:STAMP_BYTES], "big") == 2, "stamped with the last event"
    assert SCHEMA.decode(served[STAMP_BYTES:]).events == 3
    assert unpacked(state.get_bytes(b"b1") or b"") == (3 * b"8 bytes ", served[STAMP_BYTES:])
    assert leaves.encoded() == {}, "nothing has changed since"


def test_the_leaf_stays_at_hand_from_commit_to_commit() -> None:
    leaves, state = Leaves(SCHEMA, HASHES), State()
    fold(leaves, state, 0)
    leaf = leaves.take(b"b1", state).leaf  # type: ignore[arg-type]  # as above
    leaves.encoded()
    state.commit()
    assert leaves.take(b"b1", state).leaf is leaf  # type: ignore[arg-type]  # as above


def test_a_commit_that_failed_is_not_seen() -> None:
    """Whether it failed before the leaves were encoded, or after."""
    leaves, state = Leaves(SCHEMA, HASHES), State()
    fold(leaves, state, 0)
    leaves.encoded()
    state.commit()
    for was_encoded in (False, True):
        fold(leaves, state, 1)
        if was_encoded:
            leaves.encoded()
        else:
            leaves.forget()
        state.abort()
        assert leaves.take(b"b1", state).leaf.events == 1  # type: ignore[arg-type]  # as above
        assert leaves.encoded() == {}


def test_a_partition_that_was_lost_without_a_word_is_not_seen() -> None:
    leaves, state = Leaves(SCHEMA, HASHES), State()
    fold(leaves, state, 0)
    state.abort()
    fold(leaves, state, 1)
    [served] = leaves.encoded().values()
    assert SCHEMA.decode(served[STAMP_BYTES:]).events == 1
    assert unpacked(state.get_bytes(b"b1") or b"")[0] == b"8 bytes "


def test_memory_is_bounded_and_what_has_changed_is_kept() -> None:
    leaves, state = Leaves(SCHEMA, HASHES, capacity=1), State()
    for key in (b"b1", b"b2"):
        fold(leaves, state, 0, key)
    leaf = leaves.take(b"b1", state).leaf  # type: ignore[arg-type]  # as above
    assert leaf.events == 1
    assert len(leaves.encoded()) == 2
    assert leaves.take(b"b1", state).leaf is not leaf  # type: ignore[arg-type]  # as above


def test_a_record_of_no_leaf_begins_a_new_one() -> None:
    leaves, state = Leaves(SCHEMA, HASHES), State()
    state.committed[b"b1"] = packed(b"", b"")
    assert leaves.take(b"b1", state).leaf.events == 0  # type: ignore[arg-type]  # as above
