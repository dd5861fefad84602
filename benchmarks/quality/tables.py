"""A table from a .parquet, .csv or .csv.gz file, as arrays by column name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Column = npt.NDArray[Any]


def read(path: Path) -> dict[str, Column]:
    """Every column; text as objects. Raises :class:`FileNotFoundError`, and :class:`ValueError` on any other
    kind of file."""
    if not path.is_file():
        raise FileNotFoundError(f"{path} is not there: give a .parquet, .csv or .csv.gz file")
    import pyarrow.csv
    import pyarrow.parquet

    if path.name.endswith(".parquet"):
        table = pyarrow.parquet.read_table(path)
    elif path.name.endswith((".csv", ".csv.gz")):
        table = pyarrow.csv.read_csv(path)
    else:
        raise ValueError(f"{path.name} is neither .parquet nor .csv nor .csv.gz")
    return {name: table.column(name).to_numpy() for name in table.column_names}


def need(table: dict[str, Column], name: str, path: Path) -> Column:
    if name not in table:
        raise ValueError(f"{path.name} has no column {name!r}; it has {', '.join(list(table)[:20])}")
    return table[name]


def is_number(column: Column) -> bool:
    return column.dtype.kind in "iufb"


def one_hot(column: Column) -> npt.NDArray[np.float64]:
    """(n, k - 1) indicators of a text column, the first value of k in sorted order left out."""
    values, code = np.unique(column.astype(str), return_inverse=True)
    return (code[:, None] == np.arange(1, len(values))[None, :]).astype(np.float64)
