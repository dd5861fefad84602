"""A short enumeration of crash states, and proof that it notices when a flush is missing."""

from __future__ import annotations

import pytest
from tests.faults import crash_states
from tests.faults.crash_states import Run, enumerate_states
from tests.faults.ledger import Engine, key_of

from opportune.testing.disk import Operation


def test_every_crash_state_recovers() -> None:
    cut = enumerate_states(700, seed=20)
    assert cut > 50, "many states have a torn end"


@pytest.mark.parametrize("missing", ["flush", "flush_dir"])
def test_a_missing_flush_would_be_noticed(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    class Sloppy(Run):
        def __init__(self, seed: int) -> None:
            super().__init__(seed)
            kept: list[Operation] = [step for step in self.disk.operations if step.kind != missing]
            self.acknowledged = [
                (sum(step.kind != missing for step in self.disk.operations[:at]), seq)
                for at, seq in self.acknowledged
            ]
            self.disk.operations[:] = kept

    monkeypatch.setattr(crash_states, "Run", Sloppy)
    with pytest.raises(AssertionError, match=r"seed 3, state \d+, crash after"):
        enumerate_states(300, seed=3)


def test_a_doubled_entry_would_be_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    def fold_always(engine: Engine, seq: int, entry: bytes) -> None:
        ledger = engine.cache.touch(key_of(entry))
        ledger.offset = seq
        ledger.count += 1

    monkeypatch.setattr(Engine, "fold", fold_always)
    with pytest.raises(AssertionError, match="the state is not the fold of the journal"):
        enumerate_states(100, seed=4)
