"""A few kills of the real server. The long run: ``python -m tests.faults.server_kills --kills 200``."""

from __future__ import annotations

import pytest
from tests.faults import kills, server_kills


def test_the_server_loses_and_doubles_nothing_acknowledged() -> None:
    assert kills.run(server_kills.Server(5), 3, seed=5, most_s=0.6) > 0


def test_a_lost_event_would_be_noticed() -> None:
    server = server_kills.Server(6)
    server._acknowledged.add("never sent")
    with pytest.raises(AssertionError, match="1 acknowledged events are lost"):
        kills.run(server, 2, seed=6, most_s=0.1)
