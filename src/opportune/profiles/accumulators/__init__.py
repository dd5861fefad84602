"""The small algebras that features are made of, one per ``fold`` of features.yaml.

Every accumulator follows :class:`Accumulator`. States are plain msgpack values (or become so by ``pack``),
``None`` (or 0 for counters) is the neutral state, and ``merge`` is exact: amounts are whole micro-units, and
bounds keep what no order of arrival can change.
"""

from __future__ import annotations

from collections.abc import Callable

from opportune.profiles.accumulators.affinity import Affinity
from opportune.profiles.accumulators.amounts import Count, Maximum, Mean, Minimum, Sum
from opportune.profiles.accumulators.base import Accumulator
from opportune.profiles.accumulators.distinct import Distinct
from opportune.profiles.accumulators.preference import Preference
from opportune.profiles.accumulators.sequence import Age, LastValues, Recency

__all__ = [
    "ACCUMULATORS",
    "Accumulator",
    "Affinity",
    "Age",
    "Count",
    "Distinct",
    "LastValues",
    "Maximum",
    "Mean",
    "Minimum",
    "Preference",
    "Recency",
    "Sum",
]

ACCUMULATORS: dict[str, Callable[[], Accumulator]] = {
    "count": Count,
    "sum": Sum,
    "min": Minimum,
    "max": Maximum,
    "mean": Mean,
    "distinct": Distinct,
    "recency": Recency,
    "age": Age,
}
"""Those that need no settings; ``last``, ``affinity`` and ``preference`` are built from the feature."""
