from __future__ import annotations

import multiprocessing
import os
import stat
from pathlib import Path
from random import Random

import pytest

from opportune.errors import DiskFull, FlushFailed, FolderInUse, FolderTooNew, NotFound, StorageError
from opportune.stores import folder
from opportune.stores.disk import RealDisk, owner, read_all, write_whole
from opportune.testing.disk import BreakingDisk, MemoryDisk, RecordingDisk, check_is_disk


def test_every_disk_keeps_the_promises(tmp_path: Path) -> None:
    check_is_disk(lambda: RealDisk(tmp_path / "real"))
    check_is_disk(MemoryDisk)
    check_is_disk(RecordingDisk)
    check_is_disk(lambda: BreakingDisk("full", 1_000, Random(1)))


def test_a_folder_is_open_once(tmp_path: Path) -> None:
    with RealDisk(tmp_path):
        with pytest.raises(FolderInUse) as caught:
            RealDisk(tmp_path)
        assert str(caught.value) == (
            f"the data folder is open in process {os.getpid()}, at {tmp_path}: "
            "stop that process, or give this one another --data-dir"
        )
        assert owner(tmp_path) == str(os.getpid())
        assert RealDisk(tmp_path, read_only=True).list(".") == ["LOCK"]
    assert owner(tmp_path) is None
    RealDisk(tmp_path).close()


def test_closing_a_disk_lets_go_of_every_file(tmp_path: Path) -> None:
    with RealDisk(tmp_path) as disk:
        write_whole(disk, "a", b"bytes")
        reader = disk.open_read("a")
        assert reader.read(0, 5) == b"bytes"
    open_files = [os.readlink(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd") if int(fd) > 2
                  and os.path.lexists(f"/proc/self/fd/{fd}")]  # fmt: skip
    assert not [name for name in open_files if name.startswith(str(tmp_path))]
    with pytest.raises(StorageError, match="could not read"):
        reader.read(0, 5)


def test_files_are_for_their_owner_alone(tmp_path: Path) -> None:
    with RealDisk(tmp_path) as disk:
        write_whole(disk, "a", b"bytes")
        disk.open_append("b").close()
    assert [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("a", "b")] == [0o600, 0o600]


def _hold(
    root: Path, ready: multiprocessing.synchronize.Event, go: multiprocessing.synchronize.Event
) -> None:
    with RealDisk(root):
        ready.set()
        go.wait(30)


def test_another_process_is_named(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    ready, go = context.Event(), context.Event()
    child = context.Process(target=_hold, args=(tmp_path, ready, go))
    child.start()
    try:
        assert ready.wait(30)
        with pytest.raises(FolderInUse, match=f"open in process {child.pid}"):
            RealDisk(tmp_path)
    finally:
        go.set()
        child.join()


def test_a_full_disk_and_a_refused_flush_have_their_own_errors() -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    os.close(full)
    disk = RealDisk("/dev", read_only=True)
    appender = disk.open_append("full")
    with pytest.raises(DiskFull, match="the disk is full"):
        appender.append(b"x")
    appender.close()
    with pytest.raises(FlushFailed, match="the disk refused to flush"):
        disk.open_append("null").flush()


def test_a_missing_folder_and_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no such data folder"):
        RealDisk(tmp_path / "nowhere", read_only=True)
    with RealDisk(tmp_path) as disk:
        with pytest.raises(NotFound, match="no such file"):
            disk.open_read("a")
        with pytest.raises(NotFound):
            disk.size("a")
    (tmp_path / "file").write_text("x")
    with pytest.raises(StorageError, match="could not create the data folder"):
        RealDisk(tmp_path / "file")


def test_write_whole_leaves_the_old_or_the_new() -> None:
    disk = MemoryDisk()
    write_whole(disk, "a", b"old")
    disk.files["a.new"] = disk.files["a"].__class__(b"half of somethi")
    write_whole(disk, "a", b"new")
    assert disk.content() == {"a": b"new"}


def test_a_folder_of_a_newer_version_is_refused() -> None:
    disk = MemoryDisk()
    folder.prepare(disk)
    assert read_all(disk, "FORMAT") == b"opportune 1\n"
    assert folder.read_format(disk) == folder.FORMAT == 1
    newer = MemoryDisk({"FORMAT": b"opportune 2\n"})
    with pytest.raises(FolderTooNew) as caught:
        folder.prepare(newer)
    assert str(caught.value) == (
        "the data folder was written by a newer version (format 2, this version reads 1), at memory: "
        "upgrade opportune, or restore a backup made by this version"
    )
    with pytest.raises(StorageError, match="does not read 'opportune <number>'"):
        folder.prepare(MemoryDisk({"FORMAT": b"something else"}))
