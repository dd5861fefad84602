from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from opportune.errors import NotFound
from opportune.stores.disk import RealDisk
from opportune.stores.doctor import Finding, examine, examine_disk
from opportune.stores.journal import Journal
from opportune.stores.records import RecordStore
from opportune.testing.disk import MemoryDisk


@pytest.fixture
def disk() -> MemoryDisk:
    """Four journal segments, the first of them archived; a checkpoint of two runs and a blob."""
    disk = MemoryDisk()
    journal = Journal.open(disk, segment_bytes=300)
    store = RecordStore.open(disk)
    for i in range(8):
        journal.append([b"%d" % i * 100, b"x"])
        journal.flush()
    for i in range(2):
        writer = store.begin()
        writer.put(b"key", b"%d" % i)
        writer.put_blob("blob", b"%d" % i * 500)
        writer.commit(16, {})
    journal.archive(6)
    return disk


def segments(disk: MemoryDisk) -> list[str]:
    return [f"journal/{name}" for name in disk.list("journal") if name.endswith(".log")]


def only_finding(disk: MemoryDisk) -> Finding:
    report = examine_disk(disk)
    assert len(report.findings) == 1, report.to_text()
    assert report.sound == (report.findings[0].severity != "error")
    return report.findings[0]


def test_a_sound_folder(disk: MemoryDisk) -> None:
    before = disk.content()
    report = examine_disk(disk)
    assert report.sound
    assert report.findings == []
    assert (report.first_seq, report.next_seq, report.checkpoint_offset) == (5, 17, 16)
    assert (report.segments, report.archived_segments, report.frames) == (3, 1, 8)
    assert (report.runs, report.keys, report.blobs) == (2, 2, 1)
    assert report.to_text().splitlines() == [
        "memory: sound",
        "  journal     seq 5 to 16 in 3 segments (1 archived), 8 commit groups, "
        f"{report.journal_bytes} bytes",
        f"  checkpoint  at seq 16, 2 entries in 2 runs, 1 blobs, {report.state_bytes} bytes",
    ]
    assert disk.content() == before, "it changes nothing"


def test_every_flipped_bit_is_found(disk: MemoryDisk) -> None:
    for name in disk.files:
        if name.endswith(".index"):
            continue
        for at in range(0, len(disk.files[name].data), 7):
            disk.files[name].data[at] ^= 32
            assert not examine_disk(disk).sound, f"{name} byte {at}"
            disk.files[name].data[at] ^= 32


def test_a_torn_end_is_a_warning(disk: MemoryDisk) -> None:
    last = segments(disk)[-1]
    disk.files[last].data += b"\xf1OPJ"
    assert only_finding(disk) == Finding(
        "warning",
        "4 bytes at the end were not written completely (the file ends inside a frame header)",
        f"memory/{last}",
        "nothing acknowledged is in them; the next start cuts them off",
    )


def test_damage_says_how_to_go_on(disk: MemoryDisk) -> None:
    last = segments(disk)[-1]
    disk.files[last].data[60] ^= 1
    finding = only_finding(disk)
    assert finding.what.startswith("damaged at byte 0, from seq 13 on (")
    assert finding.where == f"memory/{last}"
    assert (
        "truncate this file to 0 bytes, remove later segments, and remove the folder 'state'"
        in finding.remedy
    )


def test_a_missing_segment_is_found(disk: MemoryDisk) -> None:
    disk.remove(segments(disk)[1])
    assert only_finding(disk).what == "seq 9 to 12 are missing before this segment"


def test_a_hole_between_archive_and_journal_is_found(disk: MemoryDisk) -> None:
    disk.remove(segments(disk)[0])
    assert only_finding(disk).what == "the archive ends before seq 5, the journal begins with 9"


def test_a_journal_that_lost_its_tail_is_found(disk: MemoryDisk) -> None:
    disk.remove(segments(disk)[-1])
    finding = only_finding(disk)
    assert finding.what == "the checkpoint has seen seq 15, but the journal ends at 12"
    assert finding.remedy.startswith("restore a backup, or remove the folder 'state'")


def test_orphans_are_notes(disk: MemoryDisk) -> None:
    disk.open_append("state/run-00000099").append(b"left behind")
    finding = only_finding(disk)
    assert (finding.severity, finding.where) == ("note", "state/run-00000099")


def test_a_newer_folder_and_a_missing_mark(disk: MemoryDisk) -> None:
    disk.files["FORMAT"].data[:] = b"opportune 9\n"
    assert "written by a newer version (format 9" in only_finding(disk).what
    disk.remove("FORMAT")
    assert only_finding(disk).severity == "warning"


def test_a_folder_in_use_is_looked_at_all_the_same(tmp_path: Path) -> None:
    with RealDisk(tmp_path) as disk:
        journal = Journal.open(disk)
        journal.append([b"a"])
        journal.flush()
        RecordStore.open(disk)
        report = examine(tmp_path)
        journal.close()
    assert report.sound
    assert report.next_seq == 2
    assert ["the folder is open in process" in finding.what for finding in report.findings] == [True]
    data = msgspec.json.decode(report.to_json())
    assert (data["sound"], data["next_seq"], data["findings"][0]["severity"]) == (True, 2, "note")
    with pytest.raises(NotFound, match="no such data folder"):
        examine(tmp_path / "nowhere")
