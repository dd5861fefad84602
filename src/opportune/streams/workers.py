"""The stateful workers, on Quix Streams: partition assignment, state, changelogs and transactions are its.

What happens to one message is in ``folding.py``; :func:`fold_worker` and :func:`identity_worker` make
applications of it.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from quixstreams import Application
from quixstreams.kafka import ConnectionConfig
from quixstreams.processing import ProcessingContext
from quixstreams.sinks.base import BaseSink, SinkBackpressureError

from opportune.errors import StorageError
from opportune.profiles.schema import ProfileSchema
from opportune.streams.config import ClusterConfig
from opportune.streams.folding import Ends, Folding
from opportune.streams.lineage import FoldVersion
from opportune.streams.merging import mark
from opportune.streams.serving_copy import END, LEAF, SESSIONS, STONE, ServingCopy
from opportune.streams.shards import Shards
from opportune.streams.stones import Hashes
from opportune.streams.topics import Topics

log = logging.getLogger("opportune.streams")

REDIS_PAUSE_S = 1
"""How long a worker rests when Redis does not answer; the messages stay in Kafka."""

REPLACED_PAUSE_S = 5
"""How long a worker rests that was given a partition of a newer version."""

GONE_MS = 6_000
"""A worker that says nothing for so long has lost its partitions; the shortest that brokers allow."""

UNFINISHED_MS = 10_000
"""After so long a transaction that a dead worker left open is aborted; until then readers wait before it."""


class AtCommit(BaseSink):
    """What a worker does once per commit, before it: each leaf that changed is written into the state and the
    serving copy, and what was accepted is sent on within the commit's transaction. A commit that fails
    afterwards is folded again from the same messages to the same bytes."""

    def __init__(
        self,
        folding: Folding | Ends,
        context: ProcessingContext,
        copy: ServingCopy,
        kind: bytes,
        folder: Path,
    ) -> None:
        """``folder`` is where the worker's state is, to be marked when somebody is erased from it."""
        super().__init__()
        self._folder = folder
        self._folding = folding
        self._context = context
        self._copy = copy
        self._kind = kind

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
        """Nothing: the leaves know what has changed."""

    def flush(self) -> None:
        folding, commit = self._folding, self._context.checkpoint
        refused = folding.gate.refused
        folding.gate.close()
        if refused is not None:
            folding.forget()
            log.warning("nothing is folded here: %s", refused)
            raise SinkBackpressureError(retry_after=REPLACED_PAUSE_S) from refused
        key, outgoing = self._copy.key, folding.outgoing()
        changed = {key(self._kind, name): data for name, data in folding.leaves.encoded().items()}
        stones = folding.leaves.stones()
        if stones:
            mark(self._folder)
        if isinstance(folding, Folding):
            changed |= {key(STONE, mark): data for mark, data in stones.items()}
            changed |= {key(SESSIONS, name): data for name, data in folding.sessions.changed().items()}
        if changed:
            try:
                self._copy.put(changed)
            except StorageError as error:
                log.warning("%s; trying again in %d s", error, REDIS_PAUSE_S)
                raise SinkBackpressureError(retry_after=REDIS_PAUSE_S) from error
        if self._context.checkpoint is not commit:
            raise StorageError("the commit was given up while Redis was waited for")
        for out in outgoing:
            self._context.producer.produce(out.topic, out.value, out.key, timestamp=out.time)

    def on_paused(self) -> None:
        self._folding.gate.close()
        self._folding.forget()


def fold_worker(
    config: ClusterConfig,
    topics: Topics,
    schema: ProfileSchema,
    folder: Path,
    generation: int = 0,
    *,
    session: ProfileSchema,
) -> Application:
    """Leaf state: reads ``events``, writes ``journal``, ``ends`` and the serving copy."""
    app = application(config, "fold", folder)
    source = app.topic(topics.events, key_deserializer="bytes", value_deserializer="bytes")
    folding = Folding(
        schema,
        topics,
        Shards(config.partitions),
        FoldVersion.of(schema, generation, session=session),
        Hashes(config.erasure_key()),
        session,
    )
    folded = app.dataframe(source).apply(folding, stateful=True, metadata=True)
    folded.sink(AtCommit(folding, folded.processing_context, ServingCopy(config), LEAF, folder / "fold"))
    return app


def identity_worker(
    config: ClusterConfig, topics: Topics, schema: ProfileSchema, folder: Path, generation: int = 0
) -> Application:
    """Ends of links: reads ``ends``, keeps them in a compacted changelog and the serving copy."""
    app = application(config, "identity", folder)
    source = app.topic(topics.ends, key_deserializer="bytes", value_deserializer="bytes")
    ends = Ends(schema, FoldVersion.of_links(generation), Hashes(config.erasure_key()))
    folded = app.dataframe(source).apply(ends, stateful=True, metadata=True)
    folded.sink(AtCommit(ends, folded.processing_context, ServingCopy(config), END, folder / "identity"))
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
