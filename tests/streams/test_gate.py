"""A partition of a newer version is not folded, and nothing else until the commit has been given up."""

from __future__ import annotations

from contextvars import copy_context
from typing import Any

import msgspec
import pytest
from quixstreams import MessageContext
from quixstreams.context import set_message_context
from quixstreams.sinks.base import SinkBackpressureError
from tests.streams.test_folding import State

from opportune.events.segment import normalize
from opportune.profiles.definitions import Feature
from opportune.profiles.schema import ProfileSchema
from opportune.streams import lineage, packs
from opportune.streams.folding import Folding
from opportune.streams.lineage import FoldVersion
from opportune.streams.serving_copy import LEAF
from opportune.streams.shards import Shards
from opportune.streams.stones import Hashes
from opportune.streams.topics import Topics
from opportune.streams.workers import IntoServingCopy

OLD, NEW = (
    ProfileSchema(
        [Feature(name=name, fold="count", event="product_viewed", windows=("7d",)) for name in names]
    )
    for names in (["views"], ["views", "looks"])
)


class Copy:
    def __init__(self) -> None:
        self.put: Any = {}.update

    def key(self, kind: bytes, name: bytes) -> bytes:
        return kind + name


def worker(schema: ProfileSchema) -> tuple[Folding, IntoServingCopy]:
    folding = Folding(schema, Topics.of("t"), Shards(3), FoldVersion.of(schema), Hashes(b"key"))
    copy: Any = Copy()
    return folding, IntoServingCopy(folding, copy, LEAF)


def handed(folding: Folding, state: State, offset: int, partition: int = 0) -> int:
    """One message; how many were sent on."""
    call = {"event": "Product Viewed", "messageId": f"m{offset}", "anonymousId": "b1"}
    event = normalize(call, kind="track", source="shop", received=1_790_000_000_000)
    context = copy_context()
    context.run(set_message_context, MessageContext("t.events", partition, offset, 1))
    anyhow: Any = state
    out = context.run(folding, packs.encode([(1, event)]), b"%d" % partition, 1, None, anyhow)
    return len(out)


def test_a_new_version_takes_over_with_the_leaves_and_the_old_one_is_refused() -> None:
    state = State()
    old, old_sink = worker(OLD)
    new, new_sink = worker(NEW)
    assert handed(old, state, 0) == 1
    old_sink.flush()
    state.commit()
    assert handed(new, state, 1) == 1
    new_sink.flush()
    state.commit()
    versions = lineage.read(state.committed[lineage.KEY])
    assert [(version.layout, version.since) for version in versions] == [(OLD.layout, 0), (NEW.layout, 1)]
    before = dict(state.committed)
    assert handed(old, state, 2) == 0
    with pytest.raises(SinkBackpressureError):
        old_sink.flush()
    assert state.written == {}
    assert state.committed == before


def test_what_is_folded_after_a_refusal_would_be_lost_so_nothing_is() -> None:
    state, other = State(), State()
    other.committed[lineage.KEY] = lineage.written([FoldVersion.of(OLD), FoldVersion.of(NEW)])
    old, sink = worker(OLD)
    assert handed(old, state, 0) == 1
    assert handed(old, other, 5, partition=1) == 0
    assert handed(old, state, 1) == 0
    with pytest.raises(SinkBackpressureError):
        sink.flush()
    state.abort()
    assert handed(old, state, 0) == 1, "the engine goes back to the first message of the commit"
    sink.flush()


def test_a_partition_that_goes_and_comes_back_is_looked_at_again() -> None:
    state = State()
    old, sink = worker(OLD)
    assert handed(old, state, 0) == 1
    sink.flush()
    state.commit()
    newer = msgspec.structs.replace(FoldVersion.of(NEW), since=1)
    state.committed[lineage.KEY] = lineage.written([FoldVersion.of(OLD), newer])
    assert handed(old, state, 2) == 0
