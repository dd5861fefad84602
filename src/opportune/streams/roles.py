"""Running a worker role of a cluster in this process."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

from quixstreams import Application

from opportune.engine.workspace import Workspace
from opportune.profiles.schema import ProfileSchema
from opportune.streams.config import ClusterConfig
from opportune.streams.topics import Topics, ensure
from opportune.streams.workers import fold_worker, identity_worker

WORKERS: dict[str, Callable[[ClusterConfig, Topics, ProfileSchema, Path], Application]] = {
    "fold": fold_worker,
    "identity": identity_worker,
}

log = logging.getLogger("opportune.streams")


def run_worker(role: str, config: ClusterConfig, workspace: Workspace, folder: Path) -> None:
    """Work until SIGTERM or SIGINT, with local state under ``folder``. Waits for Kafka and Redis at the
    start."""
    topics = ensure(config, say=log.warning)
    schema = ProfileSchema.of(workspace.features, "person")
    app = WORKERS[role](config, topics, schema, folder)
    log.info("%s worker at work", role)
    app.run()
