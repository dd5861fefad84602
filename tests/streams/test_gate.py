"""A partition of a newer version is not folded, and nothing else until the commit has been given up."""

from __future__ import annotations

from contextvars import copy_context
from pathlib import Path
from typing import Any

import msgspec
import pytest
from quixstreams import MessageContext
from quixstreams.context import set_message_context
from quixstreams.sinks.base import SinkBackpressureError
from tests.streams.test_folding import State

from opportune.errors import StorageError
from opportune.events.event import Event
from opportune.events.segment import normalize
from opportune.profiles.definitions import Feature, FeatureSet
from opportune.profiles.schema import ProfileSchema
from opportune.streams import lineage, packs
from opportune.streams.folding import Folding
from opportune.streams.lineage import FoldVersion
from opportune.streams.serving_copy import LEAF
from opportune.streams.shards import Shards
from opportune.streams.stones import Hashes
from opportune.streams.topics import Topics
from opportune.streams.workers import AtCommit

OLD, NEW = (
    ProfileSchema(
        [Feature(name=name, fold="count", event="product_viewed", windows=("7d",)) for name in names]
    )
    for names in (["views"], ["views", "looks"])
)


SESSION = ProfileSchema.of(FeatureSet(), "session")


class Copy:
    """A serving copy in memory."""

    def __init__(self) -> None:
        self.put: Any = {}.update

    def key(self, kind: bytes, name: bytes) -> bytes:
        return kind + name


class Context:
    """The engine's: the commit that is open, and who sends what belongs to it."""

    def __init__(self) -> None:
        self.checkpoint = object()
        self.producer = self
        self.sent: list[tuple[str, bytes, bytes, int]] = []

    def produce(self, topic: str, value: bytes, key: bytes, *, timestamp: int) -> None:
        self.sent.append((topic, value, key, timestamp))


def worker(schema: ProfileSchema) -> tuple[Folding, AtCommit, Context]:
    context = Context()
    folding = Folding(schema, Topics.of("t"), Shards(3), FoldVersion.of(schema), Hashes(b"key"), SESSION)
    anyhow: Any = context
    copy: Any = Copy()
    return folding, AtCommit(folding, anyhow, copy, LEAF, Path("unused")), context


def hand(folding: Folding, state: State, offset: int, partition: int = 0, **about: str) -> None:
    """One message of one event."""
    call = {"event": "Product Viewed", "messageId": f"m{offset}", "anonymousId": "b1", **about}
    event = normalize(call, kind="track", source="shop", received=1_790_000_000_000)
    message = copy_context()
    message.run(set_message_context, MessageContext("t.events", partition, offset, 1))
    anyhow: Any = state
    message.run(folding, packs.encode([(1, event)]), b"%d" % partition, 100 + offset, None, anyhow)


def test_a_new_version_takes_over_with_the_leaves_and_the_old_one_is_refused() -> None:
    state = State()
    old, old_sink, sent_on = worker(OLD)
    new, new_sink, _ = worker(NEW)
    hand(old, state, 0)
    old_sink.flush()
    state.commit()
    hand(new, state, 1)
    new_sink.flush()
    state.commit()
    versions = lineage.read(state.committed[lineage.KEY])
    assert [(version.layout, version.since) for version in versions] == [(OLD.layout, 0), (NEW.layout, 1)]
    before = dict(state.committed)
    hand(old, state, 2)
    with pytest.raises(SinkBackpressureError):
        old_sink.flush()
    assert state.written == {}
    assert state.committed == before
    assert len(sent_on.sent) == 1


def test_what_is_folded_after_a_refusal_would_be_lost_so_nothing_is() -> None:
    state, other = State(), State()
    other.committed[lineage.KEY] = lineage.written([FoldVersion.of(OLD), FoldVersion.of(NEW)])
    old, sink, sent_on = worker(OLD)
    hand(old, state, 0)
    hand(old, other, 5, partition=1)
    hand(old, state, 1)
    with pytest.raises(SinkBackpressureError):
        sink.flush()
    state.abort()
    assert sent_on.sent == []
    hand(old, state, 0)
    sink.flush()
    [(_, value, _, _)] = sent_on.sent
    assert len(packs.split(value)) == 1, "the engine goes back to the first message of the commit"


def test_a_partition_that_goes_and_comes_back_is_looked_at_again() -> None:
    state = State()
    old, sink, _ = worker(OLD)
    hand(old, state, 0)
    sink.flush()
    state.commit()
    newer = msgspec.structs.replace(FoldVersion.of(NEW), since=1)
    state.committed[lineage.KEY] = lineage.written([FoldVersion.of(OLD), newer])
    hand(old, state, 2)
    assert old.gate.refused is not None


def test_what_a_commit_holds_is_sent_on_together() -> None:
    """Three messages, one of them a duplicate: two entries of the journal in one message, and what they told
    of another identifier in one."""
    state = State()
    folding, sink, sent_on = worker(OLD)
    for offset in (0, 1, 1):
        hand(folding, state, offset, userId="u1")
    sink.flush()
    [(journal, entries, key, time), (ends, told, _, _)] = sent_on.sent
    assert (journal, key, time) == ("t.journal", b"0", 101)
    assert [entry.message_id for _, entry in packs.entries_of(entries) if isinstance(entry, Event)] == [
        "m0",
        "m1",
    ]
    assert ends == "t.ends"
    assert [name for name, _ in packs.ends_of(told)] == 2 * [b"anonymous_id:b1"]
    sink.flush()
    assert len(sent_on.sent) == 2, "nothing waits any more"


def test_what_waits_is_not_sent_with_another_commit() -> None:
    """The engine gave a commit up while Redis was waited for."""
    folding, sink, sent_on = worker(OLD)
    hand(folding, State(), 0)

    def put(records: object) -> None:
        sent_on.checkpoint = object()

    sink._copy.put = put  # type: ignore[method-assign]  # a Redis that takes its time
    with pytest.raises(StorageError, match="the commit was given up"):
        sink.flush()
    assert sent_on.sent == []
