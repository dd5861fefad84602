"""Flushes and writes that fail, from outside the process, and a disk that is really full."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.faults.flushes import REFUSED
from tests.faults.kills import REPOSITORY
from tests.faults.writer import Checker

from opportune.stores.disk import RealDisk

EIO = 5


def cannot(reason: str) -> None:
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


def load(folder: Path, seed: int, before: tuple[str, ...] = ()) -> tuple[int, int, str]:
    """Exit code, highest durable seq that was told, last message."""
    done = subprocess.run(
        [*before, sys.executable, "-m", "tests.faults.flushes", str(folder), str(seed)],
        capture_output=True,
        cwd=REPOSITORY,
        timeout=120,
        check=False,
    )
    told = [int(line) for line in done.stdout.split(b"\n")[:-1]]
    lines = done.stderr.decode().strip().splitlines()
    return done.returncode, max(told, default=1), lines[-1] if lines else ""


@pytest.mark.parametrize(
    ("call", "probability", "verb"),
    [
        # So often that a run without any failure is as good as impossible: fsync is for folders only.
        ("posix/io/sync/fdatasync", 0.1, "flush"),
        ("posix/io/sync/fsync", 0.4, "flush"),
        ("posix/io/rw/write", 0.1, "write"),
    ],
)
def test_a_failed_flush_stops_the_engine_and_loses_nothing(
    call: str, probability: float, verb: str, tmp_path: Path
) -> None:
    if shutil.which("fiu-run") is None:
        cannot("FLUSH ERRORS WERE NOT TESTED: fiu-run is not installed (Debian package fiu-utils)")
    checker = Checker(3)
    fail = ("fiu-run", "-x", "-c", f"enable_random name={call},probability={probability},failinfo={EIO}")
    code, told, message = load(tmp_path, 3, fail)
    assert code == REFUSED, message
    assert message.startswith(f"FlushFailed: the disk refused to {verb} (Input/output error), at {tmp_path}/")
    with RealDisk(tmp_path) as disk:
        checker.check(disk, told).close()
    code, told, message = load(tmp_path, 3)
    assert code == 0, message
    with RealDisk(tmp_path) as disk:
        checker.check(disk, told).close()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MB."""
    libc = ctypes.CDLL(None, use_errno=True)
    place = tmp_path / "small"
    place.mkdir()
    if libc.mount(b"tmpfs", os.fsencode(place), b"tmpfs", 0, b"size=1m") != 0:
        cannot(f"A REALLY FULL DISK WAS NOT TESTED: cannot mount tmpfs ({os.strerror(ctypes.get_errno())})")
    try:
        yield place
    finally:
        libc.umount2(os.fsencode(place), 2)


@pytest.mark.root
def test_a_really_full_disk_is_said_clearly_and_loses_nothing(small_disk: Path) -> None:
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(800_000))
    checker = Checker(4)
    folder = small_disk / "data"
    code, told, message = load(folder, 4)
    assert code == REFUSED
    assert message.startswith("DiskFull: the disk is full (could not ")
    assert message.endswith(": free space, then start again")
    assert told > 20
    ballast.unlink()
    with RealDisk(folder) as disk:
        engine = checker.check(disk, told)
        engine.append([b"k1|999999|goes on"])
        assert engine.journal.flush() == checker.next_seq + 1
        engine.close()
