"""An attribute of items as numbers: costs, weights, whatever a feed says in digits."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from opportune.catalog.facts import price_of
from opportune.catalog.items import Catalog


class Amounts:
    """The numbers behind one attribute, 0 where an item has none or says no number. Follows the catalogue;
    ``of`` is O(items asked), and O(new distinct values) once."""

    def __init__(self, catalog: Catalog, attribute: str) -> None:
        self._column = catalog.column(attribute)
        self._values: npt.NDArray[np.float32] = np.zeros(0, np.float32)

    def of(self, items: npt.NDArray[np.int32]) -> npt.NDArray[np.float32]:
        names = self._column.names
        if len(names) > len(self._values):
            new = [price_of(name) for name in names[len(self._values) :]]
            self._values = np.append(self._values, np.nan_to_num(np.array(new, np.float32)))
        if not len(names):
            return np.zeros(len(items), np.float32)
        code = self._column.codes[items]
        return np.where(code >= 0, self._values[code], np.float32(0.0)).astype(np.float32)
