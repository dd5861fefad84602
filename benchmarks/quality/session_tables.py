"""Clicks of sessions from the shapes in which public data comes, as columns of one table.

- ``sessions.parquet``: ``split, session_id, position, item_id``;
- ``train`` and ``test`` (and ``valid``, which counts as train): ``SessionId, ItemId, Time``;
- one table of events, with sessions or users (a session ends after 30 minutes without an event): without a
  column ``split`` the last tenth of the sessions is test, and where events have a type only views count.

Tables are .parquet, .csv or .csv.gz. Names of columns may be spelt otherwise: see :data:`NAMES`.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from benchmarks.quality import tables
from benchmarks.quality.tables import Column

Longs = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

GAP_S = 1800
TEST_SHARE = 0.1
NAMES = {
    "split": ("split", "part", "set"),
    "session": ("sessionid", "session", "usersession", "usersessionid"),
    "item": ("itemid", "item", "productid", "product"),
    "time": ("time", "timestamp", "eventtime", "eventdate", "datetime", "ts"),
    "position": ("position", "pos", "rank"),
    "user": ("userid", "user", "visitorid", "customerid"),
    "type": ("eventtype", "type", "event"),
}
"""What a column may be called, apart from case and underlines."""
ENDINGS = (".parquet", ".csv", ".csv.gz")


class Clicks(NamedTuple):
    """One row a click. ``session`` numbers sessions in the order in which they came, ``order`` sorts the
    clicks of one session; ``is_test`` is the same for all clicks of a session. ``time`` (seconds) and
    ``user`` where the table has them."""

    session: Longs
    order: npt.NDArray[np.float64]
    item: Column
    is_test: Bools
    time: npt.NDArray[np.float64] | None = None
    user: Column | None = None


def clicks(folder: Path) -> Clicks:
    """Read ``folder`` (or one file). Raises :class:`FileNotFoundError` and :class:`ValueError` saying what is
    missing."""
    if folder.is_file():
        return _one_table(folder)
    train, test = (_named(folder, name) for name in ("train", "test"))
    if train and test:
        return _parts([train, *filter(None, [_named(folder, "valid")])], test)
    path = _named(folder, "sessions")
    if path is None:
        found = [f for f in sorted(folder.glob("*")) if f.name.endswith(ENDINGS)]
        if len(found) != 1:
            raise FileNotFoundError(
                f"{folder / 'sessions.parquet'} is not there: a folder with sessions.parquet, with "
                "train.parquet and test.parquet, or with one table of events is needed"
            )
        path = found[0]
    return _one_table(path)


def _named(folder: Path, name: str) -> Path | None:
    return next((path for ending in ENDINGS if (path := folder / f"{name}{ending}").is_file()), None)


def _columns(path: Path) -> dict[str, Column]:
    """The columns that are known, by what they are; rows without an item are left out."""
    table = tables.read(path)
    plain = {name.lower().replace("_", ""): name for name in reversed(table)}
    found = {
        what: table[plain[spelt[0]]]
        for what, names in NAMES.items()
        if (spelt := [name for name in names if name in plain])
    }
    if "item" not in found or not found.keys() & {"session", "user"}:
        lacking = "an item" if "item" not in found else "a session or a user"
        raise ValueError(f"{path.name} has no column for {lacking}; it has {', '.join(list(table)[:20])}")
    if "session" not in found and "time" not in found:
        raise ValueError(f"{path.name} has users but no column for the time: sessions cannot be told apart")
    if "time" in found:
        found["time"] = _seconds(found["time"], path)
    kept = np.array([value is not None and value == value for value in found["item"].tolist()])
    if "type" in found:
        views = np.array(["view" in str(value).lower() for value in found["type"].tolist()])
        kept &= views if views.any() else True
    return {what: column[kept] for what, column in found.items()}


def _seconds(time: Column, path: Path) -> npt.NDArray[np.float64]:
    if tables.is_number(time):
        scale = 1000.0 if np.nanmax(time, initial=0) > 1e11 else 1.0
        return np.asarray(time, np.float64) / scale
    if time.dtype.kind != "M":
        texts = [str(value).removesuffix(" UTC").removesuffix("Z") for value in time.tolist()]
        try:
            time = np.array(texts, "datetime64[ms]")
        except ValueError as error:
            raise ValueError(
                f"{path.name} has times that are neither numbers nor ISO 8601: {error}"
            ) from None
    return time.astype("datetime64[ms]").astype(np.int64) / 1000.0


def _one_table(path: Path) -> Clicks:
    columns = _columns(path)
    order = _order(columns)
    if "split" in columns:
        is_test = columns["split"].astype(str) == "test"
        return _clicks(columns, order, is_test)
    nothing = np.zeros(len(order), np.bool_)
    session = _numbered(columns, order, nothing)
    first_of_test = int((session.max(initial=-1) + 1) * (1 - TEST_SHARE))
    is_test = session >= first_of_test
    return Clicks(session, order, columns["item"], is_test, columns.get("time"), columns.get("user"))


def _parts(train: list[Path], test: Path) -> Clicks:
    parts = [_columns(path) for path in (*train, test)]
    shared = set.intersection(*(set(part) for part in parts))
    columns = {what: np.concatenate([part[what] for part in parts]) for what in sorted(shared)}
    is_test = np.repeat([False] * len(train) + [True], [len(part["item"]) for part in parts])
    return _clicks(columns, _order(columns), is_test)


def _clicks(columns: dict[str, Column], order: npt.NDArray[np.float64], is_test: Bools) -> Clicks:
    session = _numbered(columns, order, is_test)
    return Clicks(session, order, columns["item"], is_test, columns.get("time"), columns.get("user"))


def _order(columns: dict[str, Column]) -> npt.NDArray[np.float64]:
    """What sorts the clicks of a session: their position, else their time, else their place in the file."""
    for what in ("position", "time"):
        if what in columns:
            return np.asarray(columns[what], np.float64)
    return np.arange(len(columns["item"]), dtype=np.float64)


def _numbered(columns: dict[str, Column], order: npt.NDArray[np.float64], is_test: Bools) -> Longs:
    """Sessions by number: by the time of their last click where times are known, else by their number, else
    by where they begin in the file."""
    if "session" in columns:
        ids = columns["session"]
        known = ids if tables.is_number(ids) else ids.astype(str)
        _, first, session = np.unique(known, return_index=True, return_inverse=True)
    else:
        session = _visits(columns["user"].astype(str), columns["time"])
        ids = session
        _, first = np.unique(session, return_index=True)
    session = session * 2 + is_test  # a number may occur in both parts
    values, inverse = np.unique(session, return_inverse=True)
    if "time" in columns:
        rank = np.full(len(values), -np.inf)
        np.maximum.at(rank, inverse, columns["time"])
    elif tables.is_number(ids):
        rank = values.astype(np.float64)
    else:
        rank = first[values // 2].astype(np.float64)
    number = np.empty(len(values), np.int64)
    number[np.argsort(rank, kind="stable")] = np.arange(len(values))
    return number[inverse]


def _visits(user: Column, time: npt.NDArray[np.float64]) -> Longs:
    by_user = np.lexsort((time, user))
    fresh = np.empty(len(user), np.bool_)
    fresh[:1] = True
    fresh[1:] = (user[by_user][1:] != user[by_user][:-1]) | (np.diff(time[by_user]) > GAP_S)
    session = np.empty(len(user), np.int64)
    session[by_user] = np.cumsum(fresh) - 1
    return session
