"""The benchmarks over files of events: what they count as a case, and that a whole run goes through."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from benchmarks.quality import next_basket, propensity, retailrocket, serenade
from benchmarks.quality.session_data import cases


def write(path: Path, **columns: list[object]) -> None:
    pyarrow.parquet.write_table(pa.table(columns), path)


def test_serenade_s_sessions_are_in_order_of_their_last_click(tmp_path: Path) -> None:
    write(
        tmp_path / "train.parquet",
        SessionId=[7, 7, 5, 5], ItemId=[10, 20, 30, 10], Time=[9.0, 3.0, 1.0, 4.0],
    )  # fmt: skip
    write(tmp_path / "test.parquet", SessionId=[1, 1, 1], ItemId=[20, 10, 30], Time=[20.0, 22.0, 21.0])
    train, test, items = serenade.load(tmp_path)
    assert (items, train.item.tolist(), train.start.tolist()) == (3, [0, 1, 2, 1], [0, 2, 4])
    assert test.item.tolist() == [2, 0, 1]
    assert len(cases(test)) == 2


def test_what_is_missing_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for main in (serenade.main, retailrocket.main, next_basket.main, propensity.main):
        assert main([str(tmp_path / "nothing.parquet")]) == 2
        assert "is not there" in capsys.readouterr().err


def test_sessions_of_events_end_after_half_an_hour(tmp_path: Path) -> None:
    write(
        tmp_path / "events.parquet",
        Time=[0, 100, 1901, 50, 60], UserId=[1, 1, 1, 2, 2],
        Type=["view", "addtocart", "view", "view", "transaction"],
        ItemId=[5, 6, 5, 6, 6], CatId=[1, 2, 1, 2, 2],
    )  # fmt: skip
    events = retailrocket.load(tmp_path)
    assert events.history.session.tolist() == [0, 1, 1, 0, 2]
    assert events.history.kind.tolist() == [0, 0, 2, 1, 0]
    assert events.category.tolist() == [0, 1]


def test_baskets_leave_out_returns_and_strangers(tmp_path: Path) -> None:
    when = np.array(["2011-01-02", "2011-01-02", "2011-01-01", "2011-01-01", "2011-01-03"], "datetime64[us]")
    pyarrow.parquet.write_table(
        pa.table(
            {
                "InvoiceNo": ["b", "b", "a", "c", "d"],
                "StockCode": ["x1", "X1", "y", "y", "z"],
                "Quantity": [1, 2, 3, -3, 1],
                "InvoiceDate": when,
                "CustomerID": [9, 9, 9, 9, None],
            }
        ),
        tmp_path / "online_retail.parquet",
    )
    baskets, items = next_basket.load(tmp_path)
    assert items == 2
    assert [(b.customer, len(b.items)) for b in baskets] == [(9, 1), (9, 1)]
    assert baskets[0].time < baskets[1].time


def test_areas_under_the_curve() -> None:
    truth = np.array([True, False, True, False])
    assert propensity.auc(truth, np.array([0.9, 0.1, 0.8, 0.3])) == 1.0
    assert propensity.auc(truth, np.array([0.5, 0.5, 0.5, 0.5])) == 0.5
    assert propensity.average_precision(truth, np.array([0.9, 0.8, 0.7, 0.1])) == (1 + 2 / 3) / 2


def test_a_whole_run_over_events(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(2)
    n = 1500
    start = rng.integers(0, 30, n // 5)
    write(
        tmp_path / "events.parquet",
        Time=[int(s * 4000 + k * 60) for s in range(n // 5) for k in range(5)],
        UserId=[int(s % 90) for s in range(n // 5) for _ in range(5)],
        Type=["view" if k % 3 else "addtocart" for _ in range(n // 5) for k in range(5)],
        ItemId=[int((start[s] + k) % 30) for s in range(n // 5) for k in range(5)],
        CatId=[int((start[s] + k) % 30) // 10 for s in range(n // 5) for k in range(5)],
    )  # fmt: skip
    assert retailrocket.main([str(tmp_path), "--json", "--evaluations", "3"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["scenario"] == "retailrocket/next-item"
    assert report["results"]["the whole"]["mrr20"] > 80  # after item i comes i + 1
