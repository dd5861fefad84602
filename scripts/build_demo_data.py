"""Build the compact demo data from UCI Online Retail: ``python scripts/build_demo_data.py SOURCE``.

SOURCE is a Parquet file, or a folder with one, with the data set's own columns (needs ``pyarrow``).
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq

from opportune.demo.categories import CATEGORIES
from opportune.demo.packed import SHIPPED, pack, unpack
from opportune.demo.retail import Row, assemble


def rows(source: Path) -> Iterator[Row]:
    path = next(iter(sorted(source.glob("*.parquet")))) if source.is_dir() else source
    table = pq.read_table(path)
    columns = [
        table[name].to_pylist()
        for name in (
            "InvoiceNo", "StockCode", "Description", "Quantity", "UnitPrice", "CustomerID", "Country",
        )
    ]  # fmt: skip
    minutes = table["InvoiceDate"].cast("int64").to_numpy() // 60_000_000
    for minute, invoice, code, description, quantity, price, customer, country in zip(
        minutes.tolist(), *columns, strict=True
    ):
        pence = round((price or 0.0) * 100)
        yield Row(invoice, code, description or "", quantity, minute, pence, int(customer or 0), country)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", type=Path)
    parser.add_argument("--out", type=Path, default=SHIPPED)
    arguments = parser.parse_args()
    retail = assemble(rows(arguments.source))
    data = pack(retail)
    if pack(unpack(data)) != data:
        raise SystemExit("the packed data does not read back as it was written")
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_bytes(data)
    print(f"{retail.summary()}; {len(data):,} bytes in {arguments.out}")
    for number, n in sorted(Counter(retail.category.tolist()).items()):
        print(f"{n:5d}  {CATEGORIES[number].title}")


if __name__ == "__main__":
    main()
