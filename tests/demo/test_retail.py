"""Cleaning, grouping, packing: the shop's year as columns."""

from __future__ import annotations

import lzma
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from opportune.demo.own_csv import read_csv
from opportune.demo.packed import MAGIC, SHIPPED, pack, shipped, unpack
from opportune.demo.personas import personas, popularity
from opportune.demo.retail import Retail, Row, assemble
from opportune.errors import Corrupt, FolderTooNew, InvalidRequest

HEADER = "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country\n"


def row(
    invoice: str, code: str, quantity: int, pence: int = 100, *, text: str = "RED MUG", customer: int = 7
) -> Row:
    return Row(invoice, code, text, quantity, 1_000_000, pence, customer, "France")


def test_services_free_lines_and_odd_signs_are_dropped() -> None:
    retail = assemble(
        [
            row("1", "10001", 2),
            row("1", "POST", 1),  # a service
            row("1", "10002", 1, 0),  # no price
            row("1", "10003", -1),  # negative, but no return
            row("C2", "10001", -1),
            row("C2", "10004", 3),  # positive in a return
        ]
    )
    assert retail.codes == ["10001"]
    assert retail.invoice == ["1", "C2"]
    assert retail.refund.tolist() == [0, 1]
    assert retail.quantity.tolist() == [2, 1]


def test_same_item_and_price_in_an_invoice_add_up() -> None:
    retail = assemble([row("1", "10001", 2), row("1", "10001", 3), row("1", "10001", 1, 90)])
    assert retail.quantity.tolist() == [1, 2 + 3]
    assert retail.price.tolist() == [90, 100]


def test_list_price_is_the_median_of_sales() -> None:
    retail = assemble([row(str(n), "10001", 1, pence) for n, pence in enumerate((100, 120, 500))])
    assert retail.pence.tolist() == [120]


def test_clerks_notes_are_no_names_and_the_commonest_name_stands() -> None:
    lines = [
        row("1", "10001", 1, text="RED MUG"),
        row("2", "10001", 1, text="RED MUGG"),
        row("3", "10001", 1),
    ]
    assert assemble([*lines, *[row(str(n), "10001", 1, text="damages") for n in range(4, 9)]]).names == [
        "Red Mug"
    ]


def test_own_codes_and_names_stand_when_trusted() -> None:
    retail = assemble([row("1", "mug-red", 1, text="A red mug"), row("1", "x", 1, text=" ")], trusted=True)
    assert retail.codes == ["mug-red", "x"]
    assert retail.names == ["A red mug", "x"]


def test_guests_have_no_buyer() -> None:
    retail = assemble([row("1", "10001", 1, customer=0), row("2", "10001", 1)])
    assert retail.buyer.tolist() == [-1, 0]
    assert retail.customer.tolist() == [7]


lines = st.builds(
    Row,
    invoice=st.integers(500_000, 500_020).map(str),
    code=st.integers(10_000, 10_015).map(str),
    description=st.sampled_from(["RED MUG", "BLUE BAG", "check"]),
    quantity=st.integers(1, 90_000),
    minute=st.integers(20_000_000, 25_000_000),
    pence=st.integers(1, 40_000_00),
    customer=st.sampled_from([0, 12_346, 18_287]),
    country=st.sampled_from(["EIRE", "France"]),
)


@settings(max_examples=25, deadline=None)
@given(st.lists(lines, min_size=1, max_size=60))
def test_packing_loses_nothing(rows: list[Row]) -> None:
    retail = assemble(rows)
    if not retail.n_invoices:
        return
    assert _as_lists(unpack(pack(retail))) == _as_lists(retail)


def _as_lists(retail: Retail) -> dict[str, object]:
    columns = {name: getattr(retail, name) for name in retail.__struct_fields__}
    return {name: c.tolist() if isinstance(c, np.ndarray) else c for name, c in columns.items()}


def test_shipped_data_is_compact_and_whole() -> None:
    retail = shipped()
    assert SHIPPED.stat().st_size < 3_000_000
    assert (len(retail.codes), len(retail.customer), retail.n_invoices, retail.n_lines) == (
        3797,
        4362,
        23191,
        526245,
    )
    assert int(retail.quantity.min()) == 1
    assert int(retail.first[-1]) == retail.n_lines
    assert (np.diff(retail.minute) >= 0).all()
    assert retail.names[retail.codes.index("22423")] == "Regency Cakestand 3 Tier"
    more = np.mean(retail.category == retail.category.max())
    assert more < 0.06


def test_damaged_data_says_what_to_do() -> None:
    with pytest.raises(Corrupt, match=r"the demo data does not begin with OPRETAIL.*: reinstall the package"):
        unpack(b"PK\x03\x04nonsense")
    with pytest.raises(Corrupt, match=r"the demo data cannot be read \(.*\): reinstall the package"):
        unpack(MAGIC + b"\x00" * 40)
    newer = MAGIC + lzma.compress(msgspec.msgpack.encode({"version": 99}))
    with pytest.raises(
        FolderTooNew, match="the demo data has a newer layout, saw 99: this version reads layout 1"
    ):
        unpack(newer)


def test_csv_reports_bad_rows_by_line(tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    path.write_text(
        HEADER
        + "1,A1,Red mug,2,2026-01-05 10:00,2.50,12,France\n"
        + "1,A2,Blue mug,two,2026-01-05 10:00,2.50,12,France\n"
        + "1,A2,Blue mug,1,yesterday,2.50,12,France\n"
        + "1,A2,Blue mug,1,1/5/2026 10:00,nan,12,France\n"
        + "1,,Blue mug,1,2026-01-05 10:00,1,12,France\n"
        + "1,A2,Blue mug,1,2026-01-05 10:00,1,Ada,France\n"
        + "1,A2,Blue\n"
        + "2,A2,Blue mug,1,1/6/2026 10:00,3.00,13.0,France\n"
    )
    bad: list[tuple[int, str]] = []
    retail = read_csv(path, lambda line, reason: bad.append((line, reason)))
    assert bad == [
        (3, "Quantity is not a number: 'two'"),
        (4, "InvoiceDate is not a time: 'yesterday' (for example 2011-12-09 12:50)"),
        (5, "UnitPrice is not a finite number: 'nan'"),
        (6, "StockCode is empty"),
        (7, "CustomerID is not a number: 'Ada'"),
        (8, "the row has 3 cells, the header has 8"),
    ]
    assert retail.codes == ["A1", "A2"]
    assert retail.customer.tolist() == [12, 13]
    assert retail.minute[1] - retail.minute[0] == 24 * 60


def test_csv_without_the_columns_says_which(tmp_path: Path) -> None:
    path = tmp_path / "other.csv"
    path.write_text("order,sku\n1,2\n")
    with pytest.raises(InvalidRequest, match="the file has no column InvoiceNo, saw 'order, sku'"):
        read_csv(path, lambda line, reason: None)


def test_csv_without_a_usable_row(tmp_path: Path) -> None:
    path = tmp_path / "empty.csv"
    path.write_text(HEADER + "1,A1,Red mug,0,2026-01-05 10:00,2.50,12,France\n")
    with pytest.raises(InvalidRequest, match="the file has no usable row"):
        read_csv(path, lambda line, reason: None)


def test_popularity_counts_lines_that_were_sold() -> None:
    retail = assemble(
        [row("1", "10001", 9), row("2", "10001", 1), row("2", "10002", 1), row("C3", "10001", -5)]
    )
    assert popularity(retail) == {"10001": 2, "10002": 1}


def test_personas_have_a_taste_of_their_own() -> None:
    found = personas(shipped())
    assert 4 <= len(found) <= 8
    assert all(person.share >= 0.25 and person.orders >= 6 for person in found)
    assert len({person.taste for person in found}) == len(found)
    assert personas(assemble([])) == []
