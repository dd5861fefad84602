"""Exposures, events and people as DuckDB tables that follow the journal: each entry once, whatever happens.

Rows and the offset that they reach are written in one transaction; a follower that dies goes on where the
last whole one ended. The tables hold pseudonyms under a key of the vault, never identifiers: whoever has the
file and a list of addresses cannot tell who is in it. Rows of people who do not allow to be measured wait in
tables beside, which no report reads, until they do.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from hashlib import blake2b
from importlib import import_module
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from opportune.decide.request import DecisionRecord
from opportune.engine.entries import Entry
from opportune.errors import NotInstalled
from opportune.events.consent import NOTHING, statement_of
from opportune.events.event import Event
from opportune.privacy.needles import names_somebody
from opportune.privacy.sealing import Erased
from opportune.profiles.consent.policy import Use

FOLDER = "derived"
FILE = "experiments.duckdb"
FORMAT = 2
"""A file of another format, or with pseudonyms under another key, is made anew from the journal."""
_MEASURE = int(Use.MEASURE)
BATCH = 50_000
"""Entries per transaction."""

MayMeasure = Callable[[str], bool]
"""Whether the person of an identifier allows to be measured now."""

ComponentOf = Callable[[str], Iterable[str]]
"""The identifiers of the person that an identifier belongs to, strongest first."""

_TABLES = """
create table if not exists made (format integer, key varchar);
create table if not exists reached (seq bigint);
create table if not exists exposures (
    seq bigint, time bigint, leaf ubigint, unit ubigint, session ubigint, experiment varchar, arm varchar,
    propensity double, placement varchar, dimensions varchar);
create table if not exists events (
    seq bigint, time bigint, leaf ubigint, session ubigint, name varchar, value double, late_ms bigint);
create table if not exists people (leaf ubigint primary key, person ubigint);
create table if not exists held_exposures as select * from exposures limit 0;
create table if not exists held_events as select * from events limit 0;
alter table events add column if not exists order_key ubigint default 0;
alter table held_events add column if not exists order_key ubigint default 0;
"""


def key_of(text: str, key: bytes = b"") -> int:
    """An identifier as the tables hold it: 64 bits, keyed BLAKE2b; 0 for none. 1.3 us. Without a key whoever
    has a list of identifiers finds them again: only for tables in memory."""
    if not text:
        return 0
    data = text.encode("utf-8", "surrogatepass")
    return int.from_bytes(blake2b(data, digest_size=8, key=key).digest(), "big")


def connect(path: Path | None, threads: int = 2) -> Any:
    """A DuckDB connection to the file, or to memory. Raises :class:`NotInstalled` without the extra."""
    try:
        import duckdb

        import_module("scipy.special")  # the reports' intervals need it: said now, not in the middle of one
    except ImportError as error:
        raise NotInstalled(
            "reports need DuckDB and SciPy, which are not installed here",
            seen=error.name,
            remedy="pip install 'opportune[warehouse]' and start again",
        ) from error
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
    connection = duckdb.connect(":memory:" if path is None else str(path))
    connection.execute(f"set threads = {threads}")
    connection.execute("set enable_progress_bar = false")
    connection.execute(_TABLES)
    return connection


def open_tables(path: Path | None, key: bytes, hidden: Collection[str] = ()) -> Tables:
    """The tables of a file, empty where it was of another format or key. Raises :class:`NotInstalled`."""
    made = (FORMAT, blake2b(b"made", digest_size=8, key=key).hexdigest())
    connection = connect(path)
    found = connection.execute("select format, key from made").fetchone()
    if found != made:
        if path is not None:
            # A table that is dropped leaves its bytes in the file.
            connection.close()
            path.unlink()
            path.with_name(path.name + ".wal").unlink(missing_ok=True)
            connection = connect(path)
        connection.execute("insert into made values (?, ?)", made)
    return Tables(connection, hidden, key)


class Tables:
    """The derived tables in one DuckDB file. One writer."""

    def __init__(self, connection: Any, hidden: Collection[str] = (), key: bytes = b"") -> None:
        """``hidden`` names of the context are no dimensions of reports; ``key`` makes the pseudonyms."""
        self.connection = connection
        self._hidden = hidden
        self._key = key

    def key_of(self, text: str) -> int:
        """The pseudonym of an identifier, a session or an order in these tables; 0 for none."""
        return key_of(text, self._key)

    @property
    def reached(self) -> int:
        """The sequence number of the next entry to take in."""
        row = self.connection.execute("select max(seq) from reached").fetchone()
        return int(row[0]) if row and row[0] is not None else 1

    def follow(
        self,
        entries: Iterable[tuple[int, Entry | Erased]],
        component_of: ComponentOf | None = None,
        may_measure: MayMeasure | None = None,
    ) -> int:
        """Take in journal entries from :attr:`reached` on; how many. Entries before it are skipped, so giving
        the same again changes nothing. ``component_of`` tells who is who now, ``may_measure`` whom it is
        allowed to count."""
        taken = 0
        batch: list[tuple[int, Entry | Erased]] = []
        start = self.reached
        for seq, entry in entries:
            if seq < start:
                continue
            batch.append((seq, entry))
            if len(batch) >= BATCH:
                taken += self._take(batch, component_of, may_measure)
                batch = []
        return taken + (self._take(batch, component_of, may_measure) if batch else 0)

    def _take(
        self,
        batch: list[tuple[int, Entry | Erased]],
        component_of: ComponentOf | None,
        may_measure: MayMeasure | None,
    ) -> int:
        exposures: list[tuple[Any, ...]] = []
        events: list[tuple[Any, ...]] = []
        linked: set[str] = set()
        asked: set[str] = set()
        for seq, entry in batch:
            if type(entry) is Event:
                if entry.identifiers and statement_of(entry) is not NOTHING:
                    asked.update(entry.identifiers)
                if entry.identifiers and not entry.withheld & _MEASURE:
                    events.append(_event_row(seq, entry, self.key_of))
                    if len(entry.identifiers) > 1:
                        linked.update(entry.identifiers)
            elif type(entry) is DecisionRecord and entry.assignments:
                exposures += _exposure_rows(seq, entry, self.key_of, self._hidden)
                asked.update(entry.identifiers[:1])
        people: dict[int, int] = {}
        key_of = self.key_of
        for identifier in linked if component_of is not None else ():
            if key_of(identifier) in people:
                continue
            assert component_of is not None
            members = list(component_of(identifier))
            person = key_of(members[0]) if members else 0
            people.update({key_of(member): person for member in members})
        connection = self.connection
        connection.execute("begin")
        try:
            self._insert("exposures", exposures, _EXPOSURE_TYPES)
            self._insert("events", events, _EVENT_TYPES)
            self._insert("people", list(people.items()), (np.uint64, np.uint64), verb="insert or replace")
            if component_of is not None and may_measure is not None:
                self._hold(linked | asked, component_of, may_measure)
            connection.execute("insert into reached values (?)", [batch[-1][0] + 1])
            connection.execute("commit")
        except BaseException:
            connection.execute("rollback")
            raise
        return len(batch)

    def _hold(self, asked: set[str], component_of: ComponentOf, may_measure: MayMeasure) -> None:
        """Put the rows of these people where they belong now."""
        key_of = self.key_of
        leaves: dict[bool, set[int]] = {True: set(), False: set()}
        for identifier in asked:
            members = [key_of(member) for member in component_of(identifier)]
            leaves[may_measure(identifier)].update(members)
        for (source, target), moved in (
            (("exposures", "held_exposures"), leaves[False]),
            (("events", "held_events"), leaves[False]),
            (("held_exposures", "exposures"), leaves[True]),
            (("held_events", "events"), leaves[True]),
        ):
            which = "where leaf in (select unnest(?::ubigint[]))"
            if not moved or (source.startswith("held") and self._is_empty(source)):
                continue
            self.connection.execute(f"insert into {target} select * from {source} {which}", [list(moved)])
            self.connection.execute(f"delete from {source} {which}", [list(moved)])

    def _is_empty(self, table: str) -> bool:
        return self.connection.execute(f"select 1 from {table} limit 1").fetchone() is None

    def erase(self, identifiers: Iterable[str], before: int = 1 << 62) -> int:
        """Take out every row of these leaves that comes from an entry ``before`` this one, for good; how many
        rows there were."""
        connection = self.connection.cursor()
        leaves = [self.key_of(identifier) for identifier in identifiers]
        connection.execute("begin")
        try:
            rows = 0
            for table, column in (
                ("exposures", "leaf"), ("exposures", "unit"), ("events", "leaf"), ("held_exposures", "leaf"),
                ("held_exposures", "unit"), ("held_events", "leaf"), ("people", "leaf"), ("people", "person"),
            ):  # fmt: skip
                some = "" if table == "people" else f" and seq < {int(before)}"
                told = connection.execute(
                    f"delete from {table} where {column} in (select unnest(?::ubigint[])){some}", [leaves]
                ).fetchone()
                rows += int(told[0])
            connection.execute("commit")
        except BaseException:
            connection.execute("rollback")
            raise
        connection.execute("force checkpoint")
        return rows

    def expire(self, seqs: Collection[int]) -> int:
        """Take out the rows of these journal entries; how many rows there were."""
        connection = self.connection.cursor()
        connection.register("past", {"seq": np.fromiter(seqs, np.int64, len(seqs))})
        rows = 0
        try:
            for table in ("exposures", "events", "held_exposures", "held_events"):
                told = connection.execute(
                    f"delete from {table} where seq in (select seq from past)"
                ).fetchone()
                rows += int(told[0])
        finally:
            connection.unregister("past")
        connection.execute("force checkpoint")
        return rows

    def _insert(
        self, table: str, rows: list[tuple[Any, ...]], types: tuple[Any, ...], *, verb: str = "insert"
    ) -> None:
        if not rows:
            return
        columns = zip(*rows, strict=True)
        frame = {f"c{i}": np.array(c, dtype=t) for i, (c, t) in enumerate(zip(columns, types, strict=True))}
        self.connection.register("incoming", frame)
        try:
            self.connection.execute(f"{verb} into {table} select * from incoming")
        finally:
            self.connection.unregister("incoming")

    def close(self) -> None:
        self.connection.close()


_EXPOSURE_TYPES = (
    np.int64, np.int64, np.uint64, np.uint64, np.uint64, object, object, np.float64, object, object,
)  # fmt: skip
_EVENT_TYPES = (np.int64, np.int64, np.uint64, np.uint64, object, np.float64, np.int64, np.uint64)


def _exposure_rows(
    seq: int, record: DecisionRecord, key_of: Callable[[str], int], hidden: Collection[str]
) -> list[tuple[Any, ...]]:
    """The arms that the decision exposed somebody to; what was shipped or removed is no exposure. What of the
    context names somebody is no dimension."""
    leaf = key_of(record.identifiers[0]) if record.identifiers else 0
    session = key_of(record.session_id)
    context = {
        name: str(value)
        for name, value in record.context.items()
        if isinstance(value, str | bool)
        and name not in hidden
        and not (isinstance(value, str) and names_somebody(value, record.identifiers))
    }
    dimensions = msgspec.json.encode({"placement": record.placement, **context}).decode()
    return [
        (
            seq, record.time, leaf or key_of(a.unit), key_of(a.unit), session, a.experiment, a.arm,
            a.propensity, record.placement, dimensions,
        )
        for a in record.assignments
        if a.why in ("assigned", "sticky")
    ]  # fmt: skip


def _event_row(seq: int, event: Event, key_of: Callable[[str], int]) -> tuple[Any, ...]:
    value = event.value
    if value is None:
        value = sum(line.price * line.quantity for line in event.lines if line.price is not None)
    order = event.properties.get("order_id")
    return (
        seq, event.time, key_of(event.identifiers[0]), key_of(event.session_id), event.name,
        float(value) if -1e12 < value < 1e12 else 0.0, event.received - event.time,
        key_of(str(order)) if isinstance(order, str | int) else 0,
    )  # fmt: skip
