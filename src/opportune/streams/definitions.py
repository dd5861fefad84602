"""The definitions of a cluster in PostgreSQL: every revision kept, attributed, and restorable."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

import msgspec

from opportune.clock import Clock, Millis, system_clock
from opportune.errors import InvalidRequest, NotFound
from opportune.stores.postgres import Connection, Postgres

TABLES = (
    """create table if not exists opportune_revisions (n bigint primary key, time bigint not null,
    who text not null, why text not null)""",
    """create table if not exists opportune_definitions (revision bigint not null
    references opportune_revisions (n), name text not null, data bytea not null,
    primary key (revision, name))""",
)
MOST_BYTES = 16_000_000
"""Of all files together: definitions and the models that they name."""

LEFT_OUT = frozenset({"schemas"})
"""Folders of a workspace that are for editors."""


class Revision(msgspec.Struct, frozen=True):
    """``n`` counts from 1; ``time`` in milliseconds; ``files`` is how many there are."""

    n: int
    time: Millis
    who: str
    why: str
    files: int


class Revisions:
    """The newest is what processes start with. Restoring an old one makes it the newest again."""

    def __init__(self, postgres: Postgres, clock: Clock = system_clock) -> None:
        self._postgres = postgres
        self._clock = clock

    def push(self, files: Mapping[str, bytes], *, who: str, why: str) -> int:
        """Keep these files as the newest revision; its number."""
        now = self._clock()

        def keep(connection: Connection) -> int:
            connection.execute("select pg_advisory_xact_lock(hashtext('opportune_revisions'))")
            row = connection.execute("select coalesce(max(n), 0) + 1 from opportune_revisions").fetchone()
            assert row is not None, "an aggregate has one row"
            number = int(row[0])
            connection.execute(
                "insert into opportune_revisions (n, time, who, why) values (%s, %s, %s, %s)",
                (number, now, who, why),
            )
            with connection.cursor() as cursor:
                cursor.executemany(
                    "insert into opportune_definitions (revision, name, data) values (%s, %s, %s)",
                    [(number, name, data) for name, data in sorted(files.items())],
                )
            return number

        return self._postgres.run(keep)

    def newest(self) -> int:
        """The number of the newest revision; 0 when there is none."""
        return self._postgres.run(
            lambda connection: int(
                (connection.execute("select max(n) from opportune_revisions").fetchone() or (0,))[0] or 0
            )
        )

    def files(self, number: int) -> dict[str, bytes]:
        """Name -> bytes. Raises :class:`NotFound`."""

        def read(connection: Connection) -> dict[str, bytes] | None:
            if not connection.execute("select from opportune_revisions where n = %s", (number,)).fetchall():
                return None
            rows = connection.execute(
                "select name, data from opportune_definitions where revision = %s order by name", (number,)
            )
            return {name: bytes(data) for name, data in rows}

        found = self._postgres.run(read)
        if found is None:
            raise NotFound("no such revision", seen=number, remedy="opportune cluster definitions list")
        return found

    def listed(self, limit: int = 50) -> list[Revision]:
        """The newest first."""
        return self._postgres.run(
            lambda connection: [
                Revision(*row)
                for row in connection.execute(
                    "select n, time, who, why, (select count(*) from opportune_definitions"
                    " where revision = n) from opportune_revisions order by n desc limit %s",
                    (limit,),
                )
            ]
        )


def read_folder(folder: Path) -> dict[str, bytes]:
    """The files of a workspace by their path in it. Raises :class:`InvalidRequest` when they are too
    large."""
    found = {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not _is_left_out(path.relative_to(folder))
    }
    total = sum(map(len, found.values()))
    if total > MOST_BYTES:
        raise InvalidRequest(
            f"a workspace of more than {MOST_BYTES:,} bytes cannot be pushed",
            seen=total,
            where=str(folder),
            remedy="take out what no definition names",
        )
    return found


def write_folder(folder: Path, files: Mapping[str, bytes]) -> None:
    """A workspace of exactly these files in place of what was there."""
    fresh = folder.with_name(folder.name + ".new")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    for name, data in files.items():
        path = fresh / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    shutil.rmtree(folder, ignore_errors=True)
    fresh.rename(folder)


def _is_left_out(path: Path) -> bool:
    return any(part.startswith(".") or part in LEFT_OUT for part in path.parts)
