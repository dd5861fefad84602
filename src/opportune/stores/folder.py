"""The format of a data folder: one small file that says which version wrote it."""

from __future__ import annotations

from opportune.errors import Corrupt, FolderTooNew, NotFound
from opportune.stores.disk import Disk, read_all, write_whole

FORMAT = 1
FORMAT_FILE = "FORMAT"


def prepare(disk: Disk) -> None:
    """Mark an empty folder with our format, or check the mark. Raises FolderTooNew, Corrupt."""
    if read_format(disk) is None and not disk.read_only:
        write_whole(disk, FORMAT_FILE, b"opportune %d\n" % FORMAT)


def read_format(disk: Disk) -> int | None:
    """The folder's format, None when it has no mark yet. Raises FolderTooNew, Corrupt."""
    try:
        text = read_all(disk, FORMAT_FILE)
    except NotFound:
        return None
    name, _, number = text.decode("ascii", "replace").strip().partition(" ")
    if name != "opportune" or not number.isdigit():
        raise Corrupt(
            "the format file does not read 'opportune <number>'",
            seen=text.decode("ascii", "replace"),
            where=f"{disk.name}/{FORMAT_FILE}",
            remedy="restore the folder from a backup, or check that this is a data folder",
        )
    if int(number) > FORMAT:
        raise FolderTooNew(
            f"the data folder was written by a newer version (format {number}, this version reads {FORMAT})",
            where=disk.name,
            remedy="upgrade opportune, or restore a backup made by this version",
        )
    return int(number)
