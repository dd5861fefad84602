"""A few kills. The long run: ``python -m tests.faults.kills --kills 200``."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from subprocess import Popen

import pytest
from tests.faults import kills


def test_nothing_acknowledged_is_lost_by_kill_9() -> None:
    assert kills.run(kills.Core(9), 3, seed=9) > 0


def test_a_loss_would_be_noticed() -> None:
    class Optimist(kills.Core):
        def load(self, child: Popen[bytes], stop: threading.Event) -> None:
            super().load(child, stop)
            self._acknowledged += 1_000

    with pytest.raises(
        AssertionError, match=r"seed 1, kill 0, folder kept in .*: lost: \d+ was acknowledged"
    ):
        kills.run(Optimist(9), 1, seed=1, most_s=0.05)


def test_a_child_that_ends_by_itself_is_a_failure() -> None:
    class Quitter(kills.Core):
        def command(self, folder: Path) -> Sequence[str]:
            return ["false"]

    with pytest.raises(AssertionError, match="the child ended by itself with 1"):
        kills.run(Quitter(9), 1, seed=5)
