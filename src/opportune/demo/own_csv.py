"""A shop's own invoices from a CSV file with the columns of Online Retail."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from opportune.demo.retail import Retail, Row, assemble
from opportune.errors import InvalidRequest
from opportune.importing.csv_rows import CsvReader
from opportune.importing.rows import BadRow

COLUMNS = (
    "InvoiceNo",
    "StockCode",
    "Description",
    "Quantity",
    "InvoiceDate",
    "UnitPrice",
    "CustomerID",
    "Country",
)
_OPTIONAL = ("Description", "CustomerID", "Country")
_TIMES = ("%Y-%m-%d %H:%M:%S", "%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M:%S", "%m/%d/%Y %H:%M", "%Y-%m-%d")
MAX_PENCE = 2**31 - 1

Report = Callable[[int, str], None]
"""Called with the line number and what is wrong with it."""


def read_csv(path: Path, on_bad_row: Report, *, encoding: str = "utf-8") -> Retail:
    """Rows that cannot be used are reported and left out. Raises :class:`InvalidRequest` when the file has
    not the columns, or no usable row. Negative quantities belong to invoices whose number begins with C."""
    reader = CsvReader(path, encoding=encoding)
    missing = [name for name in COLUMNS if name not in reader.columns and name not in _OPTIONAL]
    if missing:
        raise InvalidRequest(
            f"the file has no column {missing[0]}",
            seen=", ".join(reader.columns),
            where=str(path),
            remedy=f"name the columns {', '.join(COLUMNS)}, or use 'opportune import' with --map",
        )
    retail = assemble(_rows(reader, on_bad_row), trusted=True)
    if not retail.n_invoices:
        raise InvalidRequest(
            "the file has no usable row", where=str(path), remedy="see the rows reported above"
        )
    return retail


def _rows(reader: CsvReader, on_bad_row: Report) -> Iterator[Row]:
    for row in reader.rows():
        if isinstance(row, BadRow):
            on_bad_row(row.line, row.reason)
            continue
        try:
            yield _row({name: str(value) for name, value in row.values.items()})
        except ValueError as error:
            on_bad_row(row.line, str(error))


def _row(values: dict[str, str]) -> Row:
    for name in ("InvoiceNo", "StockCode", "Quantity", "InvoiceDate", "UnitPrice"):
        if not values.get(name, "").strip():
            raise ValueError(f"{name} is empty")
    customer = values.get("CustomerID", "").strip().removesuffix(".0")
    if customer and not (customer.isdigit() and int(customer) <= MAX_PENCE):
        raise ValueError(f"CustomerID is not a number: {customer!r}")
    pence = round(_number("UnitPrice", values["UnitPrice"]) * 100)
    quantity = int(_number("Quantity", values["Quantity"]))
    if abs(pence) > MAX_PENCE or abs(quantity) > MAX_PENCE:
        raise ValueError("a number is out of range")
    return Row(
        invoice=values["InvoiceNo"].strip(),
        code=values["StockCode"].strip(),
        description=values.get("Description", ""),
        quantity=quantity,
        minute=_minute(values["InvoiceDate"].strip()),
        pence=pence,
        customer=int(customer) if customer else 0,
        country=values.get("Country", "").strip(),
    )


def _number(name: str, text: str) -> float:
    try:
        value = float(text.replace(",", "."))
    except ValueError:
        raise ValueError(f"{name} is not a number: {text.strip()!r}") from None
    if value - value != 0.0:
        raise ValueError(f"{name} is not a finite number: {text.strip()!r}")
    return value


def _minute(text: str) -> int:
    for shape in _TIMES:
        try:
            return int(datetime.strptime(text, shape).replace(tzinfo=UTC).timestamp()) // 60
        except ValueError:
            continue
    raise ValueError(f"InvoiceDate is not a time: {text!r} (for example 2011-12-09 12:50)")
