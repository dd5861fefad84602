"""A model version in another process's numbering of items: what is by number there becomes by number here.

Vectors, neighbours and lists of a version follow the numbers that items have where it was trained. Numbers
are given in order of first mention, so two processes that began to read at different times differ in them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from opportune.catalog.items import Catalog
from opportune.engine.history import numbering_digest
from opportune.errors import Corrupt

Array = npt.NDArray[Any]
Ints = npt.NDArray[np.int32]

_BY_ITEM, _NEIGHBOURS, _LISTS, _WITH_LISTS = "vectors", "neighbours", "items", "scores"
"""Rows by item; rows by item of items; lists of items, and what stands beside each item of a list."""


def items_of(info: bytes) -> tuple[int, str]:
    """(how many items the version knows, digest of their numbering); (0, "") of one that knows none."""
    found = msgspec.json.decode(info)
    where = found if "catalogue" in found else found.get("config", {})
    return int(where.get("items", 0)), str(where.get("catalogue", ""))


def renumbered(
    info: bytes, arrays: Mapping[str, Array], ids: Sequence[str], catalog: Catalog
) -> tuple[bytes, dict[str, Array]]:
    """The metadata and arrays of a version, whose items are ``ids`` by its own numbers, by the numbers of
    ``catalog``. An item that is unknown here is left out; a number that the version does not know gets zeros,
    as an item that was not in the training. O(items x d). Raises :class:`Corrupt` for arrays of another
    shape."""
    here = np.array([catalog.number(item_id) for item_id in ids], np.int32)
    size = int(here.max()) + 1 if len(here) else 0
    made: dict[str, Array] = {}
    for name, array in arrays.items():
        kind = name.rpartition("-")[2]
        if kind in (_BY_ITEM, _NEIGHBOURS):
            if len(array) > len(here):
                raise Corrupt(
                    f"{name} has more rows than the version has items",
                    seen=f"{len(array)}, {len(here)} items",
                )
            rows = _moved(np.asarray(array), here[: len(array)], size, fill=0 if kind == _BY_ITEM else -1)
            made[name] = rows if kind == _BY_ITEM else _mapped(rows, here)[0]
        elif kind == _LISTS:
            made[name], order = _mapped(np.asarray(array), here)
            beside = name.removesuffix(_LISTS) + _WITH_LISTS
            if beside in arrays:
                made[beside] = np.take_along_axis(np.asarray(arrays[beside]), order, axis=1)
        elif name not in made:
            made[name] = np.asarray(array)
    return _numbered(info, size, numbering_digest(catalog, size)), made


def _moved(rows: Array, here: Ints, size: int, *, fill: int) -> Array:
    found = np.full((size, *rows.shape[1:]), fill, rows.dtype)
    known = here >= 0
    found[here[known]] = rows[known]
    return found


def _mapped(lists: Ints, here: Ints) -> tuple[Ints, npt.NDArray[np.intp]]:
    """Item numbers in every row, those that are unknown at its end as -1; and the order that this is of the
    old columns."""
    mapped = np.where((lists >= 0) & (lists < len(here)), here[np.clip(lists, 0, len(here) - 1)], -1)
    order = np.argsort(mapped < 0, axis=1, kind="stable")
    return np.take_along_axis(mapped, order, axis=1).astype(np.int32), order


def _numbered(info: bytes, items: int, digest: str) -> bytes:
    found = msgspec.json.decode(info)
    where = found if "catalogue" in found else found["config"]
    where["items"], where["catalogue"] = items, digest
    return msgspec.json.encode(found)
