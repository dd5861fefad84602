"""What the processes of a cluster share in PostgreSQL, when its configuration names one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from opportune.access import shared_audit
from opportune.errors import InvalidRequest, StorageError
from opportune.stores.postgres import Postgres
from opportune.streams import definitions
from opportune.streams.config import ClusterConfig
from opportune.streams.definitions import Revisions, write_folder

FOLDER = "definitions"
NUMBER = ".revision"


def opened(config: ClusterConfig) -> Postgres:
    """The connection. Raises :class:`InvalidRequest` when the configuration names no PostgreSQL."""
    if config.postgres is None:
        raise InvalidRequest(
            "this cluster has no PostgreSQL", where="cluster.yaml $.postgres", remedy="name its url there"
        )
    return Postgres(
        config.postgres.url,
        password=config.postgres.password(),
        timeout_s=config.postgres.timeout_s,
        tables=(*definitions.TABLES, *shared_audit.TABLES),
    )


def workspace_of(
    postgres: Postgres, data_dir: Path, *, wait_s: float = 120.0, say: Callable[[str], None]
) -> Path | None:
    """The newest definitions in a folder under ``data_dir``; None when none were ever pushed.

    When PostgreSQL does not answer, the definitions that this process had last, told by ``say``: a replica
    that starts again must not wait for it. Raises :class:`StorageError` when there are none.
    """
    folder = data_dir / FOLDER
    has_old = (folder / NUMBER).exists()
    try:
        postgres.wait(0.0 if has_old else wait_s, say=say)
        revisions = Revisions(postgres)
        number = revisions.newest()
        files = revisions.files(number) if number else None
    except StorageError as error:
        if not has_old:
            raise
        say(f"{error}; going on with revision {(folder / NUMBER).read_text()} of the definitions")
        return folder
    if files is None:
        return None
    write_folder(folder, {**files, NUMBER: b"%d" % number})
    say(f"definitions revision {number}")
    return folder


def revision_of(workspace: Path | None) -> int:
    """The revision that these definitions are; 0 when they did not come from PostgreSQL."""
    if workspace is None or not (workspace / NUMBER).exists():
        return 0
    return int((workspace / NUMBER).read_text(encoding="ascii"))
