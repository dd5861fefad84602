"""Readers: what a file holds, with the line to point at and the place to go on from."""

from __future__ import annotations

import gzip
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from opportune.errors import InvalidRequest
from opportune.importing.rows import BadRow, Row, format_of, open_rows

SHOP = "id,name,price\n1,Mug,2.50\n2,Cake stand,12.75\n"


def write(path: Path, data: str | bytes) -> Path:
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return path


def values(path: Path, **options: str) -> list[dict[str, object]]:
    return [row.values for row in open_rows(path, **options).rows() if isinstance(row, Row)]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.csv", "csv"),
        ("a.TSV", "csv"),
        ("a.csv.gz", "csv"),
        ("a.ndjson", "jsonl"),
        ("a.jsonl.gz", "jsonl"),
        ("a.parquet", "parquet"),
    ],
)
def test_the_format_is_read_off_the_name(name: str, expected: str) -> None:
    assert format_of(Path(name)) == expected


def test_a_name_that_says_no_format_is_refused_with_the_ones_there_are() -> None:
    with pytest.raises(
        InvalidRequest, match=r"cannot tell the format.*saw 'a\.xlsx'.*--format csv\|jsonl\|parquet"
    ):
        format_of(Path("a.xlsx"))


def test_missing_and_empty_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="no such file"):
        open_rows(tmp_path / "none.csv")
    with pytest.raises(InvalidRequest, match="the file is empty"):
        open_rows(write(tmp_path / "empty.csv", ""))


def test_csv_rows_carry_line_and_place(tmp_path: Path) -> None:
    path = write(tmp_path / "shop.csv", SHOP)
    assert list(open_rows(path).rows()) == [
        Row(2, len("id,name,price\n1,Mug,2.50\n"), {"id": "1", "name": "Mug", "price": "2.50"}),
        Row(3, len(SHOP), {"id": "2", "name": "Cake stand", "price": "12.75"}),
    ]
    assert open_rows(path).total == len(SHOP)


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_is_found(tmp_path: Path, delimiter: str) -> None:
    path = write(tmp_path / "a.csv", SHOP.replace(",", delimiter))
    assert values(path)[1] == {"id": "2", "name": "Cake stand", "price": "12.75"}


def test_a_delimiter_inside_quotes_does_not_count(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", '"a,b,c,d";e\n1;2\n')
    assert values(path) == [{"a,b,c,d": "1", "e": "2"}]


def test_quoted_cells_over_several_lines_keep_the_line_numbers_right(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", 'id,text\n1,"two\nlines, one cell"\n2,plain\n')
    rows = list(open_rows(path).rows())
    assert [(row.line, row.values["id"]) for row in rows if isinstance(row, Row)] == [(2, "1"), (4, "2")]


def test_every_place_can_be_gone_on_from(tmp_path: Path) -> None:
    for name, text in (
        ("a.csv", 'id,text\n1,"two\nlines"\n2,plain\n\n3,"é"\n'),
        ("a.jsonl", '{"id":1}\n\n{"id":2}\nnot json\n{"id":3}\n'),
    ):
        reader = open_rows(write(tmp_path / name, text))
        rows = list(reader.rows())
        for i, row in enumerate(rows):
            assert list(reader.rows(row.end)) == rows[i + 1 :]


def test_empty_cells_are_left_out_and_empty_rows_passed_over(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "a,b\n1,\n,\n\n,2\n")
    assert values(path) == [{"a": "1"}, {"b": "2"}]


def test_rows_of_another_width_than_the_header_are_reported_not_guessed(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "a,b\n1,2,3\n1\n4,5\n")
    short, long, good = sorted(open_rows(path).rows(), key=lambda row: -row.line)[::-1]
    assert isinstance(short, BadRow)
    assert (short.line, short.reason, short.text) == (2, "the row has 3 cells, the header has 2", "1,2,3")
    assert isinstance(long, BadRow)
    assert (long.line, long.reason) == (3, "the row has 1 cells, the header has 2")
    assert isinstance(good, Row)


def test_a_byte_that_is_not_utf8_costs_its_row_only(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", b"name,price\nCaf\xe9,1\nTea,2\n")
    bad, good = open_rows(path).rows()
    assert isinstance(bad, BadRow)
    assert bad.reason == "not utf-8: pass --encoding, for example --encoding cp1252"
    assert isinstance(good, Row)
    assert values(path, encoding="cp1252")[0] == {"name": "Café", "price": "1"}


def test_a_byte_order_mark_is_no_part_of_the_first_name(tmp_path: Path) -> None:
    assert values(write(tmp_path / "a.csv", b"\xef\xbb\xbfid\n1\n")) == [{"id": "1"}]


def test_a_header_must_name_each_column_once(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match=r"two columns have one name, saw 'a'"):
        open_rows(write(tmp_path / "a.csv", "a,b,a\n1,2,3\n"))
    with pytest.raises(InvalidRequest, match="the first line of a CSV file must name the columns"):
        open_rows(write(tmp_path / "b.csv", ",,\n1,2,3\n"))


def test_a_spreadsheet_is_not_a_csv_file(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="this is not a CSV file"):
        open_rows(write(tmp_path / "a.csv", "a,b\n".encode("utf-16")))


def test_a_cell_beyond_the_limit_is_reported_and_reading_goes_on(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "a,b\n" + "x" * 200_000 + ",1\n2,3\n")
    bad, good = open_rows(path).rows()
    assert isinstance(bad, BadRow)
    assert "field larger than field limit" in bad.reason
    assert good == Row(3, path.stat().st_size, {"a": "2", "b": "3"})


def test_gzip_is_unpacked_and_resumed_like_the_plain_file(tmp_path: Path) -> None:
    path = write(tmp_path / "shop.csv.gz", gzip.compress(SHOP.encode()))
    reader = open_rows(path)
    first, second = reader.rows()
    assert second.end == reader.total == len(SHOP)
    assert list(reader.rows(first.end)) == [second]


def test_a_damaged_gzip_file_says_so(tmp_path: Path) -> None:
    whole = gzip.compress(SHOP.encode() * 1_000)
    path = write(tmp_path / "shop.csv.gz", whole[: len(whole) // 2])
    with pytest.raises(InvalidRequest, match="the compressed file is damaged"):
        list(open_rows(path).rows())


def test_json_lines_that_are_no_objects_are_reported(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", '{"a":1}\n[1]\n{"a":\n' + "[" * 5_000 + "\n" + '{"a":NaN}\n{"a":2}\n')
    rows = list(open_rows(path).rows())
    assert [row.line for row in rows if isinstance(row, BadRow)] == [2, 3, 4, 5]
    assert [row.values for row in rows if isinstance(row, Row)] == [{"a": 1}, {"a": 2}]
    assert all(row.reason.startswith("not a JSON object: ") for row in rows if isinstance(row, BadRow))


def test_one_json_array_is_refused_with_the_way_to_split_it(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match=r"one JSON array, not JSON lines.*jq -c"):
        open_rows(write(tmp_path / "a.json", '[\n{"a":1}\n]'))


def test_parquet_values_become_what_json_can_carry(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    pq = pytest.importorskip("pyarrow.parquet")
    table = pa.table(
        {
            "id": pa.array(["a", "b"]),
            "at": pa.array([datetime(2026, 1, 2, 3, 4, 5), None], pa.timestamp("us")),
            "zoned": pa.array([datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)] * 2, pa.timestamp("ms", tz="UTC")),
            "price": pa.array([Decimal("2.50"), Decimal("3.00")], pa.decimal128(8, 2)),
            "score": pa.array([1.5, float("nan")]),
            "tags": pa.array([["x", "y"], []]),
        }
    )
    path = tmp_path / "a.parquet"
    pq.write_table(table, path)
    assert list(open_rows(path).rows()) == [
        Row(
            1,
            1,
            {
                "id": "a",
                "at": "2026-01-02T03:04:05+00:00",
                "zoned": "2026-01-02T03:04:05+00:00",
                "price": 2.5,
                "score": 1.5,
                "tags": ["x", "y"],
            },
        ),
        Row(2, 2, {"id": "b", "zoned": "2026-01-02T03:04:05+00:00", "price": 3.0, "tags": []}),
    ]


def test_parquet_goes_on_in_the_middle_of_a_row_group(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    pq = pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"n": list(range(25))}), path, row_group_size=10)
    reader = open_rows(path)
    assert reader.total == 25
    for start in (0, 1, 9, 10, 11, 24, 25):
        assert [row.values["n"] for row in reader.rows(start) if isinstance(row, Row)] == list(
            range(start, 25)
        )


def test_what_is_not_parquet_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    with pytest.raises(InvalidRequest, match="not readable as Parquet"):
        open_rows(write(tmp_path / "a.parquet", SHOP))


def test_a_footprint_survives_growth_and_sees_change(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", SHOP)
    before = open_rows(path).footprint(len(SHOP))
    write(path, SHOP + "3,Spoon,1\n")
    assert open_rows(path).footprint(len(SHOP)) == before
    write(path, SHOP.replace("Mug", "Jug"))
    assert open_rows(path).footprint(len(SHOP)) != before
