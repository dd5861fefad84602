"""Arrays in the one layout that the kernels were compiled for.

A kernel that meets another dtype, a strided or a read-only array is compiled again for it, which takes
seconds: that must never happen while serving, so whatever comes from outside passes through here.
"""

from __future__ import annotations

from typing import TypeVar

import numpy as np
import numpy.typing as npt

from opportune.recommend.session_knn_config import MAX_SESSION
from opportune.recommend.source import Interactions, Items, Query

T = TypeVar("T", np.int8, np.int32, np.int64, np.float32)


def plain(column: npt.NDArray[np.generic], dtype: type[T]) -> npt.NDArray[T]:
    """The column itself where it already fits, else a copy."""
    flags = column.flags
    if column.dtype == dtype and flags.c_contiguous and flags.writeable:
        return column  # type: ignore[return-value]  # the dtype was just checked
    return np.array(column, dtype=dtype)


def plain_interactions(interactions: Interactions) -> Interactions:
    return Interactions(
        session=plain(interactions.session, np.int64),
        item=plain(interactions.item, np.int32),
        kind=plain(interactions.kind, np.int8),
        time=plain(interactions.time, np.int64),
    )


def newest_of_session(query: Query) -> Items:
    """The newest touches, oldest first, at most 50."""
    session = query.session
    return plain(session if len(session) <= MAX_SESSION else session[-MAX_SESSION:], np.int32)
