"""The import loop: batches, places to go on from, the report of refused rows."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from opportune.errors import Corrupt, StorageError
from opportune.importing.events import EventRows
from opportune.importing.orders import OrderRows
from opportune.importing.position import Counts, Position, load_position, save_position
from opportune.importing.rows import open_rows
from opportune.importing.run import Refusal, Sent, identity_of, run_import


class Shop:
    """A sink that de-duplicates by message id, refuses what has no price, and can break down."""

    def __init__(self) -> None:
        self.stored: dict[str, dict[str, Any]] = {}
        self.batches: list[int] = []
        self.fail_at = -1

    def send(self, raws: Sequence[dict[str, Any]]) -> Sent:
        if len(self.batches) == self.fail_at:
            self.fail_at = -1
            raise StorageError("the disk is on fire")
        self.batches.append(len(raws))
        before = len(self.stored)
        refusals = []
        duplicates = 0
        for index, raw in enumerate(raws):
            if raw.get("properties", {}).get("price") == "free":
                refusals.append(Refusal(index, "wrong_type", "not a number", "$.properties.price"))
            elif raw["messageId"] in self.stored:
                duplicates += 1
            else:
                self.stored[raw["messageId"]] = raw
        return Sent(len(self.stored) - before, duplicates, refusals)


def table(path: Path, n: int, *, extra: str = "") -> Path:
    lines = ["event,user_id,sku,price"] + [f"view,u{i},s{i},{i + 1}" for i in range(n)]
    path.write_text("\n".join(lines) + "\n" + extra)
    return path


def run(path: Path, shop: Shop, **options: Any) -> Position:
    return run_import(
        open_rows(path),
        options.pop("rows", None) or EventRows(path.name),
        shop,
        position_path=path.with_name("position.json"),
        rejected_path=path.with_name("rejected.jsonl"),
        identity=identity_of(path),
        batch=options.pop("batch", 10),
        **options,
    )


def test_everything_is_sent_in_batches_and_counted(tmp_path: Path) -> None:
    shop = Shop()
    position = run(table(tmp_path / "a.csv", 25), shop)
    assert shop.batches == [10, 10, 5]
    assert position.is_finished
    assert position.counts == Counts(rows=25, sent=25, stored=25)
    assert not (tmp_path / "rejected.jsonl").exists()


def test_a_finished_import_is_not_repeated_unless_asked(tmp_path: Path) -> None:
    shop = Shop()
    path = table(tmp_path / "a.csv", 25)
    run(path, shop)
    assert run(path, shop).counts == Counts(rows=25, sent=25, stored=25)
    assert shop.batches == [10, 10, 5]
    again = run(path, shop, from_start=True)
    assert again.counts == Counts(rows=25, sent=25, duplicate=25)
    assert len(shop.stored) == 25


@pytest.mark.parametrize("fail_at", [0, 1, 2, 11, 12])
def test_a_breakdown_at_any_batch_loses_nothing_and_repeats_nothing(tmp_path: Path, fail_at: int) -> None:
    shop = Shop()
    shop.fail_at = fail_at
    path = table(tmp_path / "a.csv", 125)
    with pytest.raises(StorageError, match="the disk is on fire"):
        run(path, shop)
    position = run(path, shop)
    assert position.counts == Counts(rows=125, sent=125, stored=125)
    assert sum(shop.batches) == 125
    assert [raw["userId"] for raw in shop.stored.values()] == [f"u{i}" for i in range(125)]


def test_a_kill_between_two_saved_places_sends_some_rows_twice_and_stores_them_once(tmp_path: Path) -> None:
    shop = Shop()
    path = table(tmp_path / "a.csv", 125)
    place = tmp_path / "position.json"
    batches = iter(range(1_000))
    run(path, shop, stop=lambda: next(batches) == 10)  # 11 batches; the place was kept after 10
    kept = json.loads(place.read_bytes())
    ten = load_position(place, kept["identity"], open_rows(path).footprint)
    ten.end = len("event,user_id,sku,price\n") + sum(len(f"view,u{i},s{i},{i + 1}\n") for i in range(100))
    ten.footprint = open_rows(path).footprint(ten.end)
    ten.counts = Counts(rows=100, sent=100, stored=100)
    save_position(place, ten)
    position = run(path, shop)
    assert position.counts == Counts(rows=125, sent=125, stored=115, duplicate=10)
    assert len(shop.stored) == 125


def test_a_file_that_grew_goes_on_at_its_old_end(tmp_path: Path) -> None:
    shop = Shop()
    run(table(tmp_path / "a.csv", 25), shop)
    position = run(table(tmp_path / "a.csv", 30), shop)
    assert position.counts == Counts(rows=30, sent=30, stored=30)
    assert shop.batches == [10, 10, 5, 5]


def test_another_file_of_the_same_name_starts_over(tmp_path: Path) -> None:
    shop = Shop()
    run(table(tmp_path / "a.csv", 25), shop)
    text = (tmp_path / "a.csv").read_text().replace("view", "cart")
    (tmp_path / "a.csv").write_text(text)
    assert run(tmp_path / "a.csv", shop).counts == Counts(rows=25, sent=25, stored=25)
    assert len(shop.stored) == 50


def test_refused_rows_are_reported_with_line_reason_and_row(tmp_path: Path) -> None:
    path = table(tmp_path / "a.csv", 2, extra="view,u2,s2\nview,u3,s3,free\nview,u4,s4,5\n,u5,s5,6\n")
    position = run(path, Shop())
    assert position.counts == Counts(rows=6, sent=4, stored=3, rejected=1, unusable=2)
    report = [json.loads(line) for line in (tmp_path / "rejected.jsonl").read_text().splitlines()]
    assert report == [
        {
            "line": 4,
            "code": "unreadable",
            "reason": "the row has 3 cells, the header has 4",
            "where": "$",
            "row": "view,u2,s2",
        },
        {
            "line": 5,
            "code": "wrong_type",
            "reason": "not a number",
            "where": "$.properties.price",
            "row": {"event": "view", "user_id": "u3", "sku": "s3", "price": "free"},
        },
        {
            "line": 7,
            "code": "missing_field",
            "reason": "the row says no event: map a column to event, or pass --event 'Product Viewed'",
            "where": "$.event",
            "row": {"user_id": "u5", "sku": "s5", "price": "6"},
        },
    ]


def test_the_report_of_an_interrupted_import_has_every_row_once(tmp_path: Path) -> None:
    bad = "".join(f"view,u{i},s{i},free\n" for i in range(40, 80))
    path = table(tmp_path / "a.csv", 40, extra=bad)
    shop = Shop()
    shop.fail_at = 6
    with pytest.raises(StorageError):
        run(path, shop)
    position = run(path, shop)
    lines = [json.loads(line)["line"] for line in (tmp_path / "rejected.jsonl").read_text().splitlines()]
    assert lines == list(range(42, 82))
    assert position.counts == Counts(rows=80, sent=80, stored=40, rejected=40)


def test_orders_go_on_after_the_last_whole_order_and_remember_the_earlier_ones(tmp_path: Path) -> None:
    path = tmp_path / "o.csv"
    lines = [f"o{order},u{order},s{k}" for order in range(10) for k in range(3)] + ["o0,u0,s9"]
    path.write_text("order_id,user_id,sku\n" + "\n".join(lines) + "\n")
    shop = Shop()
    shop.fail_at = 2
    with pytest.raises(StorageError):
        run(path, shop, rows=OrderRows("o.csv"), replay_rows=True, batch=3)
    position = run(path, shop, rows=OrderRows("o.csv"), replay_rows=True, batch=3)
    assert len(shop.stored) == 10
    assert [len(raw["properties"]["products"]) for raw in shop.stored.values()] == [3] * 10
    assert position.counts == Counts(rows=31, sent=10, stored=10, unusable=1)
    [scattered] = [json.loads(line) for line in (tmp_path / "rejected.jsonl").read_text().splitlines()]
    assert (scattered["line"], scattered["code"]) == (32, "scattered")


def test_progress_hears_the_place_and_the_counts(tmp_path: Path) -> None:
    path = table(tmp_path / "a.csv", 25)
    heard: list[tuple[int, int]] = []
    run(path, Shop(), progress=lambda end, counts: heard.append((end, counts.sent)))
    assert [sent for _, sent in heard] == [10, 20, 25]
    assert heard[-1][0] == path.stat().st_size


def test_an_unreadable_place_says_what_to_do(tmp_path: Path) -> None:
    path = table(tmp_path / "a.csv", 1)
    (tmp_path / "position.json").write_text("{")
    with pytest.raises(Corrupt, match=r"the position of this import cannot be read.*remove the file"):
        run(path, Shop())


def test_a_folder_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot keep the position of this import"):
        save_position(tmp_path / "file" / "position.json", Position("x"))
