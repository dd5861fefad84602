"""Where a local journal goes on to follow Kafka."""

from __future__ import annotations

from pathlib import Path

import pytest

from opportune.errors import Corrupt
from opportune.streams.positions import Positions
from opportune.streams.tail import Reached

BEFORE = {("t.journal", 0): (5, 0), ("t.journal", 1): (7, 3)}
AFTER = {("t.journal", 0): (8, 0), ("t.journal", 1): (7, 5), ("t.items", 0): (1, 0)}


def test_it_begins_with_nothing(tmp_path: Path) -> None:
    assert Positions(tmp_path).reached(1) == {}


@pytest.mark.parametrize(("next_seq", "expected"), [(13, BEFORE), (13 + 4, AFTER), (13 + 5, AFTER)])
def test_the_journals_end_says_whether_the_last_step_was_taken(
    tmp_path: Path, next_seq: int, expected: Reached
) -> None:
    Positions(tmp_path).begin(13, 4, BEFORE, AFTER)
    assert Positions(tmp_path).reached(next_seq) == expected


@pytest.mark.parametrize("next_seq", [12, 15])
def test_another_journal_is_refused(tmp_path: Path, next_seq: int) -> None:
    Positions(tmp_path).begin(13, 4, BEFORE, AFTER)
    with pytest.raises(Corrupt, match=rf"the journal ends at {next_seq}, but Kafka was followed to 13"):
        Positions(tmp_path).reached(next_seq)


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    (tmp_path / "followed.json").write_text("{")
    with pytest.raises(Corrupt, match="how far Kafka was followed cannot be read"):
        Positions(tmp_path).reached(1)
