"""kill -9 at random moments under load, of any child command.

``python -m tests.faults.kills --kills 200 --seed 1``

The hook for whatever is to be killed is a :class:`Subject`: which command to start, how to put load on it
(and learn what it acknowledged), how to verify its folder once it is dead. :class:`Core` below drives the
durable core itself; a server is another Subject, whose ``load`` posts events and counts the answers.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Protocol

from tests.faults.writer import Checker, write

from opportune.errors import OpportuneError
from opportune.stores.disk import RealDisk

REPOSITORY = Path(__file__).parents[2]


class Subject(Protocol):
    """Something that can be killed. One subject lives through all kills of a run, on one data folder."""

    def command(self, folder: Path) -> Sequence[str]:
        """The command line of the child."""
        ...

    def load(self, child: subprocess.Popen[bytes], stop: threading.Event) -> None:
        """Put load on the child until it dies or ``stop`` is set, and remember what it acknowledged. Must
        return soon after the child died. Runs in its own thread."""
        ...

    def ready(self) -> bool:
        """Whether the child has begun to acknowledge, so that killing it is worth while."""
        ...

    def verify(self, folder: Path) -> int:
        """Look at the folder of the dead child: nothing acknowledged lost, nothing counted twice. How much
        was written since the last time. Raises AssertionError or OpportuneError."""
        ...


class Core:
    """The durable core in a process of its own, which prints every durable seq."""

    def __init__(self, seed: int) -> None:
        self._checker = Checker(seed)
        self._acknowledged = 0
        self._answers = 0

    def command(self, folder: Path) -> Sequence[str]:
        self._answers = 0
        return [sys.executable, "-m", "tests.faults.kills", "--child", str(folder), str(self._checker.seed)]

    def load(self, child: subprocess.Popen[bytes], stop: threading.Event) -> None:
        assert child.stdout is not None
        for line in child.stdout:
            if line.endswith(b"\n"):
                self._acknowledged = int(line)
                self._answers += 1

    def ready(self) -> bool:
        return self._answers > 0

    def verify(self, folder: Path) -> int:
        before = self._checker.next_seq
        with RealDisk(folder) as disk:
            self._checker.check(disk, self._acknowledged).close()
        return self._checker.next_seq - before


def run(subject: Subject, kills: int, seed: int, *, most_s: float = 0.3) -> int:
    """Start, load, kill, verify, again and again; the sum of what was written. A failure names its seed."""
    random = Random(seed)
    folder = Path(tempfile.mkdtemp(prefix="opportune-kills-"))
    written = 0
    for number in range(kills):
        kill_once(subject, folder, random, most_s)
        try:
            written += subject.verify(folder)
        except (AssertionError, OpportuneError) as error:
            raise AssertionError(f"seed {seed}, kill {number}, folder kept in {folder}: {error}") from error
    shutil.rmtree(folder)
    return written


def kill_once(subject: Subject, folder: Path, random: Random, most_s: float) -> None:
    """One life of the child. One in ten is killed while it starts."""
    stop = threading.Event()
    child = subprocess.Popen(subject.command(folder), stdout=subprocess.PIPE, cwd=REPOSITORY)
    loader = threading.Thread(target=subject.load, args=(child, stop))
    loader.start()
    try:
        early = random.random() < 0.1
        started = time.monotonic()
        while not early and not subject.ready():
            assert child.poll() is None, f"the child ended by itself with {child.returncode}"
            assert time.monotonic() - started < 180, "the child did not begin within 180 s"
            time.sleep(0.002)
        time.sleep(random.uniform(0.0, 2.0 if early else most_s))
        assert child.poll() is None, f"the child ended by itself with {child.returncode}"
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait()
        stop.set()
        loader.join()
        if child.stdout is not None:
            child.stdout.close()


def _child(folder: Path, seed: int) -> None:
    def tell(durable: int) -> None:
        os.write(1, b"%d\n" % durable)

    write(RealDisk(folder), seed, tell)


def main() -> None:
    if sys.argv[1:2] == ["--child"]:
        _child(Path(sys.argv[2]), int(sys.argv[3]))
        return
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    started = time.perf_counter()
    written = run(Core(options.seed), options.kills, options.seed)
    took = time.perf_counter() - started
    print(f"seed {options.seed}: {options.kills} kills, {written} entries, 0 lost, 0 doubled, {took:.1f} s")


if __name__ == "__main__":
    main()
