"""Every kind of state that a crash may leave on the disk, recovered and checked (ALICE, OSDI 2014).

``python -m tests.faults.crash_states --states 10000 --seed 1``

A seeded run over a recording disk appends, flushes, checkpoints, merges, rolls and archives segments. For
states drawn from what a crash at a random moment may leave: the folder opens, every acknowledged entry is
there once, nothing is there that was not appended, and the state is the fold of the journal byte for byte.
Half of the recovered folders go on, crash once more, and are recovered again.
"""

from __future__ import annotations

import argparse
import time
from bisect import bisect_right
from collections.abc import Iterator
from random import Random

from tests.faults.ledger import Engine, Reference, make_entry

from opportune.errors import OpportuneError
from opportune.testing.disk import MemoryDisk, Operation, RecordingDisk, crash_state

SEGMENT_BYTES = 3_000


class Run:
    """What was done to the disk, what had been acknowledged when, and every entry in order."""

    def __init__(self, seed: int, steps: int = 40) -> None:
        self.random = Random(seed)
        self.disk = RecordingDisk()
        self.entries: list[bytes] = []
        self.acknowledged: list[tuple[int, int]] = [(0, 1)]
        self.engine = Engine(self.disk, segment_bytes=SEGMENT_BYTES)
        for _ in range(steps):
            self._step()

    def _step(self) -> None:
        random, engine = self.random, self.engine
        action = random.random()
        if action < 0.55:
            for _ in range(random.randint(1, 3)):
                self._append()
            self._acknowledge()
        elif action < 0.70:
            self._append()
        elif action < 0.88:
            checkpoint, seal = engine.begin_checkpoint()
            checkpoint.step(0.0)
            self._append()
            engine.finish_checkpoint(checkpoint, seal)
            self._note()
        elif action < 0.96:
            engine.store.compact(everything=random.random() < 0.5)
        else:
            engine.journal.archive(engine.store.offset)

    def _append(self) -> None:
        fresh = [
            make_entry(len(self.entries) + i, self.random, most_bytes=self.random.choice((8, 200, 1500)))
            for i in range(self.random.randint(1, 5))
        ]
        self.entries += fresh
        self.engine.append(fresh)

    def _acknowledge(self) -> None:
        self.engine.journal.flush()
        self._note()

    def _note(self) -> None:
        self.acknowledged.append((len(self.disk.operations), self.engine.journal.durable_seq))

    def acknowledged_at(self, operation: int) -> int:
        """Every seq below this one had been acknowledged before the crash."""
        return self.acknowledged[bisect_right(self.acknowledged, (operation, 1 << 60)) - 1][1]


def check(files: dict[str, bytes], entries: list[bytes], acknowledged: int) -> Engine:
    """Recover one state. Raises AssertionError, or whatever the engine raises when it cannot."""
    engine = Engine(MemoryDisk(files), segment_bytes=SEGMENT_BYTES)
    first, end = engine.journal.first_seq, engine.journal.next_seq
    recovered = [entry for _, entry in engine.journal.scan(first)]
    assert end >= acknowledged, f"lost: the journal ends at {end - 1}, {acknowledged - 1} was acknowledged"
    assert recovered == entries[first - 1 : end - 1], "the journal holds what was not appended in this order"
    assert engine.state() == Reference(entries[: end - 1]).state(), "the state is not the fold of the journal"
    return engine


def go_on(files: dict[str, bytes], before: list[bytes], acknowledged: int, random: Random) -> None:
    """Recover on a recording disk, append, crash again, recover again."""
    disk = RecordingDisk()
    for name, data in files.items():
        appender = disk.open_append(name)
        appender.append(data)
        appender.flush()
    for folder in (".", "journal", "archive", "state"):
        disk.flush_dir(folder)
    began = len(disk.operations)
    engine = Engine(disk, segment_bytes=SEGMENT_BYTES)
    entries = before[: engine.journal.next_seq - 1]
    opened = len(disk.operations)
    marks = [(0, acknowledged), (opened, engine.journal.durable_seq)]
    for _ in range(random.randint(1, 4)):
        fresh = [make_entry(len(entries) + i, random) for i in range(random.randint(1, 4))]
        entries += fresh
        engine.append(fresh)
        engine.journal.flush()
        marks.append((len(disk.operations), engine.journal.durable_seq))
        if random.random() < 0.3:
            engine.finish_checkpoint(*engine.begin_checkpoint())
    at = random.randint(began, len(disk.operations))
    then = marks[bisect_right(marks, (at, 1 << 60)) - 1][1]
    check(crash_state(disk.operations, at, random), entries, then)


def states(seed: int) -> Iterator[tuple[Run, int, Random]]:
    """Runs and crash moments without end; one run serves 50 states."""
    number = 0
    while True:
        run = Run(seed + 1_000_003 * number)
        random = Random(f"{seed}/{number}")
        operations = run.disk.operations
        # The moments right after a write, before its flush, leave the most states.
        tender = [at for at, operation in enumerate(operations, 1) if operation.kind == "append"]
        for _ in range(50):
            at = random.choice(tender) if random.random() < 0.6 else random.randint(0, len(operations))
            yield run, at, Random(random.getrandbits(64))
        number += 1


def enumerate_states(count: int, seed: int) -> int:
    """Check ``count`` states; how many of them had something to cut off. A failure names its seed."""
    cut = 0
    for number, (run, at, random) in enumerate(states(seed)):
        if number == count:
            break
        files = crash_state(run.disk.operations, at, random)
        try:
            engine = check(files, run.entries, run.acknowledged_at(at))
            cut += engine.journal.truncated_bytes > 0
            if random.random() < 0.5:
                go_on(files, run.entries, run.acknowledged_at(at), random)
        except (AssertionError, OpportuneError) as error:
            last: list[Operation] = run.disk.operations[max(0, at - 5) : at]
            tail = [(operation.kind, operation.name or operation.file) for operation in last]
            raise AssertionError(f"seed {seed}, state {number}, crash after {tail}: {error}") from error
    return cut


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--states", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    started = time.perf_counter()
    cut = enumerate_states(options.states, options.seed)
    took = time.perf_counter() - started
    print(f"seed {options.seed}: {options.states} crash states recovered, 0 lost, 0 doubled, in {took:.1f} s")
    print(f"{cut} of them had a torn end to cut off")


if __name__ == "__main__":
    main()
