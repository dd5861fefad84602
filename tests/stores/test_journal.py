from __future__ import annotations

import threading
from pathlib import Path
from random import Random

import pytest

from opportune.errors import Corrupt, DiskFull, FlushFailed, FolderTooNew, NotFound
from opportune.stores import frames
from opportune.stores.disk import RealDisk
from opportune.stores.journal import Journal
from opportune.testing.disk import BreakingDisk, MemoryDisk

SEGMENT = "journal/00000000000000000001.log"


def filled(disk: MemoryDisk, groups: int = 30, *, segment_bytes: int = 64 << 20) -> list[bytes]:
    journal = Journal.open(disk, segment_bytes=segment_bytes)
    records: list[bytes] = []
    for i in range(groups):
        group = [b"%d-%d-" % (i, j) + b"x" * (37 * i % 300) for j in range(1 + i % 4)]
        records += group
        journal.append(group)
        journal.flush()
    journal.close()
    return records


def test_records_are_numbered_from_one_and_read_back() -> None:
    journal = Journal.open(MemoryDisk())
    assert (journal.first_seq, journal.next_seq, journal.durable_seq) == (1, 1, 1)
    assert journal.append([b"a", b"b"]) == 1
    assert journal.append([b"c"]) == 3
    assert journal.append([]) == 4
    assert (journal.next_seq, journal.durable_seq) == (4, 1)
    assert [journal.read(seq) for seq in (1, 2, 3)] == [b"a", b"b", b"c"], "not flushed yet"
    assert list(journal.scan()) == [], "a scan shows what is on disk"
    assert journal.flush() == journal.durable_seq == 4
    assert [journal.read(seq) for seq in (1, 2, 3)] == [b"a", b"b", b"c"]
    assert list(journal.scan()) == [(1, b"a"), (2, b"b"), (3, b"c")]
    assert list(journal.scan_groups(2)) == [(2, [b"b"]), (3, [b"c"])]


def test_one_append_is_one_frame_and_one_flush_is_one_write() -> None:
    disk = MemoryDisk()
    journal = Journal.open(disk)
    journal.append([b"a", b"bb"])
    journal.append([b"c"])
    journal.flush()
    expected = frames.encode(1, 1, [b"a", b"bb"]) + frames.encode(3, 1, [b"c"])
    assert disk.content()[SEGMENT] == expected


def test_every_record_of_many_segments_is_found_after_reopening() -> None:
    disk = MemoryDisk()
    records = filled(disk, segment_bytes=1_000)
    journal = Journal.open(disk, segment_bytes=1_000)
    assert len(journal.segments()) > 3
    assert [record for _, record in journal.scan()] == records
    assert [journal.read(seq) for seq in range(1, len(records) + 1)] == records
    assert [seq for seq, _ in journal.scan(17)] == list(range(17, len(records) + 1))
    assert journal.append([b"next"]) == len(records) + 1


def test_the_index_only_saves_work() -> None:
    disk = MemoryDisk()
    records = filled(disk, segment_bytes=1_000)
    for name in [name for name in disk.files if name.endswith(".index")]:
        disk.files[name].data[-1] ^= 1
    assert [record for _, record in Journal.open(disk).scan()] == records
    for name in [name for name in disk.files if name.endswith(".index")]:
        disk.remove(name)
    journal = Journal.open(disk)
    assert [journal.read(seq) for seq in range(1, len(records) + 1)] == records
    assert any(name.endswith(".index") for name in disk.files), "it is written again"


@pytest.mark.parametrize("seq", [0, -1, 4, 99])
def test_what_was_never_appended_is_not_found(seq: int) -> None:
    journal = Journal.open(MemoryDisk())
    journal.append([b"a", b"b", b"c"])
    journal.flush()
    with pytest.raises(NotFound, match="the journal holds 1 to 3"):
        journal.read(seq)


def test_a_torn_end_is_cut_off_and_counted() -> None:
    disk = MemoryDisk()
    records = filled(disk)
    whole = len(disk.files[SEGMENT].data)
    disk.files[SEGMENT].data += frames.encode(len(records) + 1, len(records) + 1, [b"lost"])[:-3]
    journal = Journal.open(disk)
    assert journal.truncated_bytes == 44 + 4 + 4 - 3
    assert disk.size(SEGMENT) == whole
    assert journal.append([b"instead"]) == len(records) + 1
    journal.flush()
    assert [record for _, record in Journal.open(disk).scan()] == [*records, b"instead"]


def test_a_read_only_folder_is_not_mended(tmp_path: Path) -> None:
    with RealDisk(tmp_path) as disk:
        journal = Journal.open(disk)
        journal.append([b"a"])
        journal.flush()
        journal.close()
    path = tmp_path / SEGMENT
    path.write_bytes(path.read_bytes() + b"\xf1OPJ half")
    journal = Journal.open(RealDisk(tmp_path, read_only=True))
    assert (journal.next_seq, journal.truncated_bytes) == (2, 9)
    assert path.read_bytes().endswith(b"half")


def test_a_flipped_bit_in_the_last_frame_is_damage() -> None:
    disk = MemoryDisk()
    records = filled(disk)
    last = len(disk.files[SEGMENT].data) - 10
    disk.files[SEGMENT].data[last] ^= 4
    with pytest.raises(Corrupt) as caught:
        Journal.open(disk)
    expected = len(records) - 1
    assert str(caught.value).startswith("the journal is damaged at byte ")
    assert f"from seq {expected} on (a frame is complete but its checksum is wrong)" in str(caught.value)
    assert f"at memory/{SEGMENT}" in str(caught.value)
    assert "restore a backup" in caught.value.remedy


def test_damage_before_the_end_is_never_cut_off() -> None:
    disk = MemoryDisk()
    filled(disk)
    disk.files[SEGMENT].data[600:1700] = bytes(1100)
    with pytest.raises(Corrupt, match="damaged, and frames flushed later follow it"):
        Journal.open(disk)


def test_a_missing_segment_is_damage() -> None:
    disk = MemoryDisk()
    filled(disk, segment_bytes=1_000)
    second = disk.list("journal")[2]
    disk.remove(f"journal/{second}")
    with pytest.raises(Corrupt, match="the segment ends before seq"):
        Journal.open(disk)


def test_damage_in_an_old_segment_shows_when_it_is_read() -> None:
    disk = MemoryDisk()
    filled(disk, segment_bytes=1_000)
    disk.files[SEGMENT].data[50] ^= 1
    journal = Journal.open(disk)
    with pytest.raises(Corrupt, match="the journal is damaged at byte 0, from seq 1 on"):
        journal.read(1)
    with pytest.raises(Corrupt):
        list(journal.scan())


def test_a_frame_of_a_newer_version_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    disk = MemoryDisk()
    monkeypatch.setattr(frames, "VERSION", 2)
    filled(disk, 1)
    monkeypatch.undo()
    with pytest.raises(FolderTooNew, match=r"written by a newer version \(frame version 2\)"):
        Journal.open(disk)


def test_old_segments_are_archived_whole() -> None:
    disk = MemoryDisk()
    records = filled(disk, segment_bytes=1_000)
    journal = Journal.open(disk, segment_bytes=1_000)
    starts = [first for _, first, _ in journal.segments()]
    assert journal.archive(starts[2] - 1) == [f"archive/{starts[0]:020d}.log"]
    assert journal.archive(10**9) == [f"archive/{first:020d}.log" for first in starts[1:-1]]
    assert journal.first_seq == starts[-1]
    assert [record for _, record in journal.scan(starts[-1])] == records[starts[-1] - 1 :]
    with pytest.raises(NotFound, match=f"the journal begins with seq {starts[-1]}"):
        list(journal.scan(1))
    again = Journal.open(disk)
    assert (again.first_seq, again.next_seq) == (starts[-1], len(records) + 1)


def append_one_by_one(journal: Journal, records: list[bytes], acknowledged: list[bytes]) -> None:
    for record in records:
        journal.append([record])
        journal.flush()
        acknowledged.append(record)


def test_after_a_failed_flush_the_journal_refuses_everything_until_reopened() -> None:
    disk = BreakingDisk("flush", 4, Random(7))
    journal = Journal.open(disk)
    acknowledged: list[bytes] = []
    with pytest.raises(FlushFailed, match="the disk refused to flush"):
        append_one_by_one(journal, [b"%d" % i for i in range(10)], acknowledged)
    assert len(acknowledged) == 1, "the folder itself took three of the flushes"
    for refused in (lambda: journal.append([b"x"]), journal.flush):
        with pytest.raises(FlushFailed, match="the journal stopped accepting: the disk refused to flush"):
            refused()
    recovered = [record for _, record in Journal.open(disk).scan()]
    assert recovered[: len(acknowledged)] == acknowledged
    assert len(recovered) <= len(acknowledged) + 1


def test_a_full_disk_loses_nothing_that_was_acknowledged() -> None:
    disk = BreakingDisk("full", 5, Random(3))
    journal = Journal.open(disk)
    acknowledged: list[bytes] = []
    with pytest.raises(DiskFull, match="the disk is full"):
        append_one_by_one(journal, [b"%d" % i * 50 for i in range(10)], acknowledged)
    assert len(acknowledged) == 4, "the format file took one of the writes before"
    with pytest.raises(FlushFailed, match="stopped accepting: the disk is full"):
        journal.flush()
    disk.heal()
    again = Journal.open(disk)
    assert [record for _, record in again.scan()] == acknowledged
    again.append([b"goes on"])
    again.flush()
    assert [record for _, record in Journal.open(disk).scan()] == [*acknowledged, b"goes on"]


def test_appends_go_on_while_another_thread_flushes(tmp_path: Path) -> None:
    with RealDisk(tmp_path) as disk:
        journal = Journal.open(disk, segment_bytes=20_000)
        stop = threading.Event()
        failures: list[BaseException] = []

        def flusher() -> None:
            try:
                while not stop.is_set():
                    journal.flush()
            except BaseException as error:  # noqa: BLE001  # handed to the test, which raises it
                failures.append(error)

        thread = threading.Thread(target=flusher)
        thread.start()
        expected = []
        for i in range(3_000):
            record = b"%d" % i * (i % 7)
            expected.append(record)
            assert journal.append([record]) == i + 1
            assert journal.read(i + 1 - i % 50) == expected[i - i % 50]
        stop.set()
        thread.join()
        assert not failures
        assert journal.flush() == 3_001
        assert [record for _, record in journal.scan()] == expected
        journal.close()


def test_closing_flushes_and_then_refuses() -> None:
    disk = MemoryDisk()
    journal = Journal.open(disk)
    journal.append([b"a"])
    journal.close()
    journal.close()
    with pytest.raises(FlushFailed, match="the journal is closed"):
        journal.append([b"b"])
    assert [record for _, record in Journal.open(disk).scan()] == [b"a"]
