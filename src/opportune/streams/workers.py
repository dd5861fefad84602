"""The stateful workers, on Quix Streams: partition assignment, state, changelogs and transactions are its.

:class:`Folding` and :class:`Ends` are what happens to one message; :func:`fold_worker` and
:func:`identity_worker` make applications of them.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
from quixstreams import Application, message_context
from quixstreams.kafka import ConnectionConfig
from quixstreams.models.serializers import SerializationContext, Serializer
from quixstreams.sinks.base import BaseSink, SinkBackpressureError
from quixstreams.state import State

from opportune.decide.request import DecisionRecord
from opportune.engine import entries
from opportune.errors import StorageError
from opportune.events.event import Event
from opportune.profiles.leaf import Leaf
from opportune.profiles.schema import ProfileSchema
from opportune.streams import leaf_fold
from opportune.streams.config import ClusterConfig
from opportune.streams.decoded import Decoded
from opportune.streams.marks import has, mark_of, packed, unpacked, with_mark
from opportune.streams.serving_copy import END, LEAF, ServingCopy, stamped
from opportune.streams.topics import Topics

log = logging.getLogger("opportune.streams")

RECORD = b"l"
"""The state's key under an identifier: the messages that it has had, then the leaf."""

REDIS_PAUSE_S = 1
"""How long a worker rests when Redis does not answer; the messages stay in Kafka."""


GONE_MS = 6_000
"""A worker that says nothing for so long has lost its partitions; the shortest that brokers allow."""

UNFINISHED_MS = 10_000
"""After so long a transaction that a dead worker left open is aborted; until then readers wait before it."""


class Out(msgspec.Struct, frozen=True, gc=False):
    """One message to send on, and the leaf as it is after it, where there is one."""

    topic: str
    key: bytes
    value: bytes
    served: bytes = b""


class Folding:
    """An entry of ``events``: dropped when it was there before, folded into the leaf, sent on."""

    def __init__(self, schema: ProfileSchema, topics: Topics) -> None:
        self._schema = schema
        self._decoded = Decoded(schema)
        self._journal = topics.journal
        self._ends = topics.ends

    def __call__(
        self, value: bytes, key: bytes, timestamp: int, headers: object, state: State[bytes, Any]
    ) -> list[Out]:
        try:
            entry = entries.decode(value)
        except msgspec.MsgspecError as error:
            # A message that nobody can read must not stop the partition.
            log.error("a message that is no entry was passed over: %s", error)
            return []
        if type(entry) is Event:
            return self._event(entry, value, key, state)
        if type(entry) is DecisionRecord and entry.identifiers:
            marks, leaf = self._read(state, key)
            seq = message_context().offset + 1
            leaf_fold.fold_decision(self._schema, leaf, entry, seq)
            return [self._keep(state, marks, leaf, key, value, seq)]
        return [Out(self._journal, key, value)]

    def _event(self, event: Event, value: bytes, key: bytes, state: State[bytes, Any]) -> list[Out]:
        marks, leaf = self._read(state, key)
        mark = mark_of(event.source, event.message_id)
        if has(marks, mark):
            return []
        marks = with_mark(marks, mark)
        if not event.identifiers:
            # Of no person: only that it was here before is kept.
            state.set_bytes(RECORD, packed(marks, b""))
            return [Out(self._journal, key, value)]
        seq = message_context().offset + 1
        leaf_fold.fold_event(self._schema, leaf, event, seq)
        out = [self._keep(state, marks, leaf, key, value, seq)]
        if len(event.identifiers) > 1:
            end = entries.encode(leaf_fold.end_of(event))
            out += [
                Out(self._ends, other.encode("utf-8", "surrogatepass"), end)
                for other in event.identifiers[1:]
            ]
        return out

    def _read(self, state: State[bytes, Any], key: bytes) -> tuple[bytes, Leaf]:
        record = state.get_bytes(RECORD)
        marks, data = (b"", b"") if record is None else unpacked(record)
        return marks, self._decoded.take(key, data)

    def _keep(
        self, state: State[bytes, Any], marks: bytes, leaf: Leaf, key: bytes, value: bytes, seq: int
    ) -> Out:
        data = self._decoded.encode(key, leaf)
        state.set_bytes(RECORD, packed(marks, data))
        return Out(self._journal, key, value, stamped(seq, data))


class Ends:
    """An entry of ``ends``: what an event said of one of its other identifiers."""

    def __init__(self, schema: ProfileSchema) -> None:
        self._schema = schema
        self._decoded = Decoded(schema)

    def __call__(
        self, value: bytes, key: bytes, timestamp: int, headers: object, state: State[bytes, Any]
    ) -> Out:
        event = entries.decode(value)
        assert isinstance(event, Event), "only fold workers write here"
        seq = message_context().offset + 1
        leaf = self._decoded.take(key, state.get_bytes(RECORD) or b"")
        leaf_fold.fold_end(self._schema, leaf, event, key.decode("utf-8", "surrogatepass"), seq)
        data = self._decoded.encode(key, leaf)
        state.set_bytes(RECORD, data)
        return Out("", key, b"", stamped(seq, data))


class IntoServingCopy(BaseSink):
    """Writes each leaf once per commit, as it is then, before the commit. A commit that fails afterwards is
    folded again from the same messages to the same bytes."""

    def __init__(self, copy: ServingCopy, kind: bytes) -> None:
        super().__init__()
        self._copy = copy
        self._kind = kind
        self._waiting: dict[bytes, bytes] = {}

    def setup(self) -> None:
        self._copy.wait(say=log.warning)

    def add(
        self,
        value: Any,
        key: Any,
        timestamp: int,
        headers: Any,
        topic: str,
        partition: int,
        offset: int,
    ) -> None:
        if value.served:
            self._waiting[self._copy.key(self._kind, key)] = value.served

    def flush(self) -> None:
        if self._waiting:
            try:
                self._copy.put(self._waiting)
            except StorageError as error:
                log.warning("%s; trying again in %d s", error, REDIS_PAUSE_S)
                self._waiting.clear()
                raise SinkBackpressureError(retry_after=REDIS_PAUSE_S) from error
            self._waiting.clear()

    def on_paused(self) -> None:
        self._waiting.clear()


class _Value(Serializer):
    """The bytes of an :class:`Out`."""

    def __call__(self, value: Out, ctx: SerializationContext) -> bytes:
        return value.value


def fold_worker(config: ClusterConfig, topics: Topics, schema: ProfileSchema, folder: Path) -> Application:
    """Leaf state: reads ``events``, writes ``journal``, ``ends`` and the serving copy."""
    app = application(config, "fold", folder)
    targets = {
        name: app.topic(name, key_serializer="bytes", value_serializer=_Value())
        for name in (topics.journal, topics.ends)
    }
    source = app.topic(topics.events, key_deserializer="bytes", value_deserializer="bytes")
    folded = app.dataframe(source).apply(Folding(schema, topics), stateful=True, expand=True, metadata=True)
    sent = folded.to_topic(lambda out, *_: targets[out.topic], key=lambda out: out.key)
    sent.sink(IntoServingCopy(ServingCopy(config), LEAF))
    return app


def identity_worker(
    config: ClusterConfig, topics: Topics, schema: ProfileSchema, folder: Path
) -> Application:
    """Ends of links: reads ``ends``, keeps them in a compacted changelog and the serving copy."""
    app = application(config, "identity", folder)
    source = app.topic(topics.ends, key_deserializer="bytes", value_deserializer="bytes")
    folded = app.dataframe(source).apply(Ends(schema), stateful=True, metadata=True)
    folded.sink(IntoServingCopy(ServingCopy(config), END))
    return app


def application(config: ClusterConfig, role: str, folder: Path) -> Application:
    """A Quix application of one role; several processes of a role share its partitions.
    Local state lies in ``folder`` and is made again from the changelog topics when it is lost."""
    settings: Mapping[str, str] = config.kafka.client()
    name = f"{config.prefix}-{role}-{instance_of(folder)}"
    return Application(
        ConnectionConfig.from_librdkafka_dict(dict(settings)),
        consumer_group=f"{config.prefix}-{role}",
        auto_offset_reset="earliest",
        commit_interval=config.commit_s,
        consumer_poll_timeout=config.commit_s,
        processing_guarantee="exactly-once" if config.exactly_once else "at-least-once",
        state_dir=folder / role,
        auto_create_topics=True,
        loglevel=None,
        consumer_extra_config={
            "fetch.wait.max.ms": 100,
            "session.timeout.ms": GONE_MS,
            "group.instance.id": name,
        },
        producer_extra_config={
            "linger.ms": 1,
            "compression.type": "lz4",
            "transaction.timeout.ms": UNFINISHED_MS,
            "transactional.id": name,
        },
    )


def instance_of(folder: Path) -> str:
    """The name of the worker whose local state lies here, made at the first start. One that was killed and
    comes back under its name takes over from itself at once: its open transaction is aborted, its partitions
    are still its own."""
    path = folder / "instance"
    try:
        return path.read_text(encoding="ascii").strip()
    except FileNotFoundError:
        folder.mkdir(parents=True, exist_ok=True)
        name = uuid.uuid4().hex[:12]
        path.write_text(name, encoding="ascii")
        return name
