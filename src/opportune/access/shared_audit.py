"""The audit log of a cluster, in PostgreSQL: one chain, however many processes append to it."""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from opportune.access.audit import NOTHING_BEFORE, Checked, Entry, chained
from opportune.clock import Clock, system_clock
from opportune.stores.postgres import Connection, Postgres

TABLES = (
    """create table if not exists opportune_audit (n bigint primary key, time bigint not null,
    who text not null, did text not null, about text[] not null, what text not null, before text not null,
    hash text not null)""",
    """create table if not exists opportune_audit_key (
    is_only boolean primary key default true check (is_only), key bytea not null)""",
)
AT_ONCE = 5_000

_COLUMNS = "n, time, who, did, about, what, before, hash"


class SharedAudit:
    """As :class:`~opportune.access.audit.AuditLog`, in two tables: whoever may read the entries but not
    ``opportune_audit_key`` cannot tell whom they are about. ``grant insert, select`` is enough to append; who
    changes a row breaks every seal after it. One round trip of half a dozen statements, 1-2 ms."""

    def __init__(self, postgres: Postgres, clock: Clock = system_clock) -> None:
        self._postgres = postgres
        self._clock = clock
        self._key = b""

    def note(
        self, who: str, did: str, about: Sequence[str] = (), *, changed: bool = False, **what: str
    ) -> None:
        """Append one entry. Raises ``StorageError`` when it cannot: what cannot be noted must not be done."""
        pseudonyms = tuple(self.pseudonym(one) for one in about)
        now = self._clock()

        def append(connection: Connection) -> None:
            if not changed:
                connection.execute("set local synchronous_commit = off")
            connection.execute("select pg_advisory_xact_lock(hashtext('opportune_audit'))")
            last = connection.execute(
                "select n, hash from opportune_audit order by n desc limit 1"
            ).fetchone()
            number, before = last or (0, NOTHING_BEFORE)
            entry = Entry(number + 1, now, who, did, pseudonyms, what, before).sealed()
            connection.execute(
                f"insert into opportune_audit ({_COLUMNS}) values (%s, %s, %s, %s, %s, %s, %s, %s)",
                (
                    *(entry.n, entry.time, entry.who, entry.did, list(entry.about)),
                    *(msgspec.json.encode(entry.what).decode(), entry.before, entry.hash),
                ),
            )

        self._postgres.run(append)

    def pseudonym(self, identifier: str) -> str:
        """What an identifier is called in the log: 16 hex digits, the same in every process."""
        if not self._key:
            self._key = self._postgres.run(_kept_key)
        return hmac.digest(self._key, identifier.encode("utf-8", "surrogateescape"), "sha256").hex()[:16]

    def entries(self) -> Iterator[Entry]:
        """All entries as they stand, oldest first, unchecked."""
        last = 0
        while found := self._after(last):
            yield from found
            last = found[-1].n

    def newest(self, limit: int = 100, about: str = "", did: str = "") -> list[Entry]:
        """The newest entries first; only those about an identifier, or whose ``did`` starts like this."""
        wanted = [self.pseudonym(about)] if about else []
        return self._postgres.run(
            lambda connection: [
                _entry(row)
                for row in connection.execute(
                    f"select {_COLUMNS} from opportune_audit"
                    " where about @> %s::text[] and starts_with(did, %s) order by n desc limit %s",
                    (wanted, did, limit),
                )
            ]
        )

    def verify(self) -> Checked:
        """Walk the chain from its first entry."""
        return chained(self.entries())

    def close(self) -> None:
        self._postgres.close()

    def _after(self, last: int) -> list[Entry]:
        return self._postgres.run(
            lambda connection: [
                _entry(row)
                for row in connection.execute(
                    f"select {_COLUMNS} from opportune_audit where n > %s order by n limit %s",
                    (last, AT_ONCE),
                )
            ]
        )


def _entry(row: tuple[Any, ...]) -> Entry:
    n, time, who, did, about, what, before, hash_ = row
    told = msgspec.json.decode(what, type=dict[str, str])
    return Entry(n, time, who, did, tuple(about), told, before, hash_)


def _kept_key(connection: Connection) -> bytes:
    connection.execute(
        "insert into opportune_audit_key (key) values (%s) on conflict do nothing", (secrets.token_bytes(32),)
    )
    row = connection.execute("select key from opportune_audit_key").fetchone()
    assert row is not None, "inserted just now"
    return bytes(row[0])
