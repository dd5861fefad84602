"""Sessions in the shapes in which public data comes."""

from __future__ import annotations

from pathlib import Path

import pytest
from benchmarks.quality.session_data import Sessions, load


def lists(sessions: Sessions) -> list[list[int]]:
    return [sessions.item[a:b].tolist() for a, b in zip(sessions.start[:-1], sessions.start[1:], strict=True)]


def test_train_and_test_files_with_times(tmp_path: Path) -> None:
    # Sessions come in order of their last click, and number 1 occurs in both parts.
    (tmp_path / "train.csv").write_text("SessionId,ItemId,Time\n1,a,50\n2,b,10\n1,b,40\n2,c,11\n")
    (tmp_path / "valid.csv").write_text("SessionId,ItemId,Time\n3,a,60\n3,a,61\n")
    (tmp_path / "test.csv").write_text("SessionId,ItemId,Time\n1,c,70\n1,d,71\n")
    split = load(tmp_path)
    b, c, a, d = 0, 1, 2, 3  # numbered by first click
    assert lists(split.train) == [[b, c], [b, a], [a, a]]
    assert lists(split.test) == [[c, d]]
    assert split.items == 4


def test_one_table_of_events_without_a_split(tmp_path: Path) -> None:
    rows = [f"2026-01-01 00:{minute:02d}:00 UTC,view,p{minute},s{minute}\n" for minute in range(20)]
    rows.append("2026-01-01 00:00:30 UTC,view,p1,s0\n2026-01-01 00:00:40 UTC,purchase,p1,s0\n")
    (tmp_path / "events.csv").write_text("event_time,event_type,product_id,user_session\n" + "".join(rows))
    split = load(tmp_path)
    assert lists(split.train) == [[0, 1], *[[n] for n in range(1, 18)]]  # the purchase is no view
    assert lists(split.test) == [[18], [19]]  # the last tenth of 20 sessions


def test_users_whose_visits_end_after_half_an_hour(tmp_path: Path) -> None:
    rows = "".join(f"{time},u,{item}\n" for time, item in ((0, 7), (1800, 8), (3601, 7), (9000, 9)))
    (tmp_path / "log.csv").write_text("timestamp,visitorid,itemid\n" + rows)
    split = load(tmp_path / "log.csv")
    assert lists(split.train) == [[0, 1], [0]]
    assert lists(split.test) == [[2]]


def test_sessions_named_by_text_come_as_in_the_file(tmp_path: Path) -> None:
    (tmp_path / "sessions.csv").write_text(
        "split,session_id,position,item_id\ntrain,z,1,b\ntrain,z,0,a\ntrain,y,0,b\ntest,x,0,a\n"
    )
    split = load(tmp_path)
    assert lists(split.train) == [[0, 1], [1]]
    assert lists(split.test) == [[0]]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "sessions.parquet is not there"),
        ({"a.csv": "x\n1\n", "b.csv": "x\n1\n"}, "sessions.parquet is not there"),
        ({"a.csv": "session_id,shoe\n1,2\n"}, "a.csv has no column for an item; it has session_id, shoe"),
        ({"a.csv": "item_id,shoe\n1,2\n"}, "a.csv has no column for a session or a user"),
        ({"a.csv": "item_id,user_id\n1,2\n"}, "users but no column for the time"),
        ({"a.csv": "item_id,session,time\n1,2,noon\n"}, "neither numbers nor ISO 8601"),
        ({"sessions.csv": "split,session_id,position,item_id\ntrain,1,0,2\n"}, "has no test sessions"),
    ],
)
def test_what_is_missing_is_said(tmp_path: Path, files: dict[str, str], message: str) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    with pytest.raises((FileNotFoundError, ValueError), match=message):
        load(tmp_path)
