"""Load on the durable core that can be checked afterwards: entry ``n`` is a function of the seed and
``n``."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from tests.faults.ledger import Engine, Reference, make_entry

from opportune.stores.disk import Disk

SEGMENT_BYTES = 100_000


def entry(seed: int, number: int) -> bytes:
    """Entry ``number`` of the load with this seed."""
    return make_entry(number, Random(seed * 1_000_003 + number), keys=60, most_bytes=300)


def write(disk: Disk, seed: int, acknowledge: Callable[[int], None], *, groups: int = 1 << 60) -> None:
    """Go on where the folder ends: append groups, flush, tell the durable seq; checkpoint, merge and archive
    now and then. Ends with the storage error of the disk that is pulled away, or after ``groups``."""
    engine = Engine(disk, segment_bytes=SEGMENT_BYTES, capacity=30)
    random = Random(seed * 7 + engine.journal.next_seq)
    acknowledge(engine.journal.durable_seq)
    for _ in range(groups):
        first = engine.journal.next_seq
        engine.append([entry(seed, first + i) for i in range(random.choice((1, 1, 3, 20)))])
        acknowledge(engine.journal.flush())
        dice = random.random()
        if dice < 0.05:
            checkpoint, seal = engine.begin_checkpoint()
            checkpoint.step(0.0)
            engine.append([entry(seed, engine.journal.next_seq)])
            engine.finish_checkpoint(checkpoint, seal)
            acknowledge(engine.journal.durable_seq)
        elif dice < 0.07:
            engine.store.compact()
        elif dice < 0.075:
            engine.journal.archive(engine.store.offset)
    engine.close()


class Checker:
    """Knows what a folder that such writers wrote to must hold; looks at it after every cut."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.next_seq = 1
        self._reference = Reference()

    def check(self, disk: Disk, acknowledged: int) -> Engine:
        """Recover and compare: nothing acknowledged is lost, what was seen stays, nothing is counted twice,
        the state is the fold of the journal byte for byte. Raises AssertionError or what the engine
        raises."""
        engine = Engine(disk, segment_bytes=SEGMENT_BYTES, capacity=30)
        end = engine.journal.next_seq
        assert end >= acknowledged, (
            f"lost: {acknowledged - 1} was acknowledged, the journal ends at {end - 1}"
        )
        assert end >= self.next_seq, (
            f"lost: {self.next_seq - 1} was there before, the journal ends at {end - 1}"
        )
        first = max(self.next_seq, engine.journal.first_seq)
        for seq, found in engine.journal.scan(first):
            assert found == entry(self.seed, seq), f"seq {seq} is not what was appended"
        for seq in range(self.next_seq, end):
            self._reference.fold(seq, entry(self.seed, seq))
        self.next_seq = end
        assert engine.state() == self._reference.state(), "the state is not the fold of the journal"
        return engine
