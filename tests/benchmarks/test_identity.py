"""The benchmark of people: its truth, its counting, its command."""

from __future__ import annotations

import csv
import json
import re

import numpy as np
import pytest
from benchmarks.quality.identity import main, people_scores, read, true_people

from opportune.testing.people import COLUMNS, people

pytest.importorskip("rapidfuzz", reason="needs the extra `identity`")


def test_copies_are_named_after_their_original():
    assert true_people(["rec-1-org", "rec-12-org", "rec-1-dup-0"]).tolist() == [0, 1, 0]
    assert true_people(["b", "a", "b"]).tolist() == [1, 0, 1]


def test_every_true_pair_counts():
    truth, said = np.array([0, 0, 0, 1, 1]), np.array([0, 0, 2, 3, 2])
    assert people_scores(said, truth) == {
        "precision": 1 / 2,  # pairs said: (0, 1) right, (2, 4) wrong
        "recall": 1 / 4,  # pairs there: 3 + 1
        "f1": round(2 * 1 / (2 + 4), 5),
    }


def test_files_as_spreadsheets_save_them(tmp_path):
    file = tmp_path / "people.csv"
    file.write_bytes('given; "last name" ;town\r\nJörg;"Groß; Dr.";Köln\r\n'.encode("cp1252"))
    assert read(file) == (
        ["given", "last name", "town"],
        [{"given": "Jörg", "last name": "Groß; Dr.", "town": "Köln"}],
    )


def test_the_command(tmp_path, monkeypatch, capsys):
    rows, truth = people(60, seed=1, copies=0.4, mistakes=0.1)
    file = tmp_path / "people.csv"
    with file.open("w", newline="") as out:
        table = csv.DictWriter(out, ["who", *COLUMNS, "shoe"])
        table.writeheader()
        table.writerows(
            {**row, "who": f"w{person}", "shoe": "x"} for row, person in zip(rows, truth, strict=True)
        )
    file.with_suffix(".yaml").write_text("city: category\n")
    monkeypatch.setattr("sys.argv", ["identity", str(file), "--truth", "who", "--json"])
    main()
    result = json.loads(capsys.readouterr().out)
    assert result["columns"]["city"] == "category"
    assert not {"who", "shoe"} & {*result["columns"]}
    assert result["thresholds"]["0.5"]["people"]["f1"] == result["f1"] > 0.97
    assert result["online"]["model of the whole file"]["f1"] == result["f1"]


def test_a_missing_file_or_column_is_said(tmp_path, monkeypatch, capsys):
    file = tmp_path / "people.csv"
    for message in (f"{file} is not there", "no column 'who'"):
        monkeypatch.setattr("sys.argv", ["identity", str(file), "--truth", "who"])
        with pytest.raises(SystemExit):
            main()
        assert re.search(re.escape(message), capsys.readouterr().err)
        file.write_text("name\nann\n")
