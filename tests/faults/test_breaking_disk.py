"""A disk that fills up, or fails one flush and then lies, at every moment of a run."""

from __future__ import annotations

from random import Random

import pytest
from tests.faults.crash_states import SEGMENT_BYTES
from tests.faults.ledger import Engine, Reference, make_entry

from opportune.errors import DiskFull, FlushFailed, StorageError
from opportune.testing.disk import Breakage, BreakingDisk


def work(disk: BreakingDisk, entries: list[bytes], acknowledged: list[int], random: Random) -> None:
    """Append, acknowledge, checkpoint, merge, until the disk breaks."""
    engine = Engine(disk, segment_bytes=SEGMENT_BYTES)
    for turn in range(25):
        fresh = [make_entry(len(entries) + i, random) for i in range(random.randint(1, 4))]
        entries += fresh
        engine.append(fresh)
        acknowledged.append(engine.journal.flush())
        if turn % 4 == 3:
            engine.finish_checkpoint(*engine.begin_checkpoint())
        if turn % 9 == 8:
            engine.store.compact(everything=True)


@pytest.mark.parametrize(("breakage", "error"), [("full", DiskFull), ("flush", FlushFailed)])
def test_nothing_acknowledged_is_lost_whenever_the_disk_breaks(
    breakage: Breakage, error: type[StorageError]
) -> None:
    broken = 0
    for at in range(110):
        random = Random(f"{breakage}/{at}")
        disk = BreakingDisk(breakage, at, random)
        entries: list[bytes] = []
        acknowledged = [1]
        try:
            work(disk, entries, acknowledged, random)
        except error:
            broken += 1
        disk.heal()
        engine = Engine(disk, segment_bytes=SEGMENT_BYTES)
        end = engine.journal.next_seq
        assert end >= acknowledged[-1], f"{breakage} at {at}: an acknowledged entry is lost"
        recovered = [entry for _, entry in engine.journal.scan()]
        assert recovered == entries[: end - 1], f"{breakage} at {at}"
        assert engine.state() == Reference(recovered).state(), f"{breakage} at {at}"
    assert broken > 70, "nearly every moment of the run was tried"
