"""What a snapshot says of its maker."""

from __future__ import annotations

import pytest

from opportune.errors import Corrupt
from opportune.streams.snapshots import META, Followed, followed


def test_how_far_its_maker_had_read_comes_with_it() -> None:
    told = Followed(7, [("journal", 0, 12, 3), ("items", 1, 4, 0)], "abc")
    assert told.reached() == {("journal", 0): (12, 3), ("items", 1): (4, 0)}
    assert followed({META: {"learnt": 7, "taken": told.taken, "definitions": "abc"}}) == told
    assert followed({}) is None
    with pytest.raises(Corrupt, match="the snapshot does not say how far it had read"):
        followed({META: {"learnt": "seven"}})
