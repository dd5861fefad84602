"""Running a worker role of a cluster in this process."""

from __future__ import annotations

import gc
import logging
from pathlib import Path

from confluent_kafka import KafkaException
from quixstreams.exceptions import QuixException

from opportune.engine.workspace import Workspace
from opportune.errors import StorageError
from opportune.profiles.schema import ProfileSchema
from opportune.streams.config import ClusterConfig
from opportune.streams.lag import sources
from opportune.streams.merging import merge_away
from opportune.streams.rebuild import changelog
from opportune.streams.topics import ensure, ensure_changelog
from opportune.streams.workers import fold_worker, identity_worker

COLLECT = (50_000, 20, 100)
"""Folding makes no cycles: the collector looks seldom (see docs/decisions/0004-cycle-collector.md)."""

log = logging.getLogger("opportune.streams")


def run_worker(
    role: str, config: ClusterConfig, workspace: Workspace, folder: Path, revision: int = 0
) -> None:
    """Work until SIGTERM or SIGINT, local state under ``folder``. Waits for Kafka and Redis at the start.
    ``revision`` is that of the definitions in PostgreSQL, where they come from there.

    Raises :class:`StorageError` when the worker cannot go on by itself (Kafka took its partitions away while
    it slept, or aborted its transaction): nothing is lost, whoever watches over the process starts it again.
    """
    topics = ensure(config, say=log.warning)
    schema = ProfileSchema.of(workspace.features, "person")
    schema.survivorship = workspace.identity.traits
    ensure_changelog(config, changelog(config, role, sources(topics)[role]))
    merge_away(folder / role)
    version = max(config.generation, revision)
    if role == "fold":
        session = ProfileSchema.of(workspace.features, "session")
        app = fold_worker(config, topics, schema, folder, version, session=session)
    else:
        app = identity_worker(config, topics, schema, folder, version)
    log.info("%s worker at work", role)
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECT)
    try:
        app.run()
    except (QuixException, KafkaException) as error:
        raise StorageError(
            f"the {role} worker cannot go on ({type(error).__name__}: {error})",
            remedy="start it again: it goes on after its last commit",
        ) from error
