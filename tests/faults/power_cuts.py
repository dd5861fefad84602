"""Real power cuts: an ext4 file system on a loop file loses everything that was not flushed, again and again.

``python -m tests.faults.power_cuts --cuts 1000 --seed 1`` (as root)

A forked writer appends, flushes, checkpoints, merges and archives, and tells every durable seq through a
pipe. At a random moment ``FS_IOC_SHUTDOWN`` drops what the file system had not put on its device, its journal
included; the writer is killed, the file system is mounted again, and the folder must hold every acknowledged
entry exactly once, with the state being the fold of the journal.

Acknowledged means that the flush had returned before the cut began: both moments are taken from one clock.
While the ioctl runs, ext4 may answer a flush with success although its transaction is being thrown away
(``jbd2_complete_transaction`` no longer finds it and returns 0); a machine without power answers nobody.
"""

from __future__ import annotations

import argparse
import ctypes
import fcntl
import os
import select
import shutil
import signal
import struct
import subprocess
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

from tests.faults.writer import Checker, write

from opportune.errors import OpportuneError, StorageError
from opportune.events.marks import Bloom, from_bytes
from opportune.stores.disk import RealDisk
from opportune.stores.extents import warm_up

SHUTDOWN = 0x8004587D
NO_LOG_FLUSH = 2
CUTS_PER_FOLDER = 40
_libc = ctypes.CDLL(None, use_errno=True)


def why_not() -> str | None:
    """Why power cuts are not possible here, None when they are."""
    if os.geteuid() != 0:
        return "only root can mount a loop device"
    if shutil.which("mkfs.ext4") is None or shutil.which("losetup") is None:
        return "mkfs.ext4 and losetup are not installed"
    try:
        with loop_mount(8) as (mount, _):
            cut_power(mount)
    except (OSError, subprocess.CalledProcessError) as error:
        return f"no loop device can be mounted and shut down here ({error})"
    return None


def _mount(device: str, place: Path) -> None:
    if _libc.mount(device.encode(), os.fsencode(place), b"ext4", 0, None) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"mount: {os.strerror(number)}", device)


def _unmount(place: Path, flags: int = 0) -> None:
    for _ in range(200):
        if _libc.umount2(os.fsencode(place), flags) == 0:
            return
        time.sleep(0.01)
    number = ctypes.get_errno()
    raise OSError(number, f"umount: {os.strerror(number)}", str(place))


@contextmanager
def loop_mount(megabytes: int) -> Iterator[tuple[Path, Callable[[], None]]]:
    """A small ext4 on a loop file: its mount point, and how to mount it again. Cleans up always."""
    base = Path(tempfile.mkdtemp(prefix="opportune-power-"))
    place = base / "mount"
    place.mkdir()
    image = base / "image"
    device = ""
    try:
        with image.open("wb") as file:
            file.truncate(megabytes << 20)
        subprocess.run(["mkfs.ext4", "-q", "-F", str(image)], check=True, capture_output=True)
        found = subprocess.run(["losetup", "--find", "--show", str(image)], check=True, capture_output=True)
        device = found.stdout.decode().strip()
        _mount(device, place)

        def again() -> None:
            _unmount(place)
            _mount(device, place)

        yield place, again
    finally:
        if os.path.ismount(place):
            # 2: detach now, whoever still looks.
            _unmount(place, 2)
        if device:
            subprocess.run(["losetup", "--detach", device], check=False, capture_output=True)
        shutil.rmtree(base, ignore_errors=True)


def cut_power(place: Path) -> None:
    """Everything that is not on the device by now is gone."""
    fd = os.open(place, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.ioctl(fd, SHUTDOWN, struct.pack("I", NO_LOG_FLUSH))
    finally:
        os.close(fd)


_TOLD = struct.Struct("<QQ")


def _writer(folder: Path, seed: int, pipe: int) -> None:
    """The forked child; ends when the disk is pulled away."""

    def tell(durable: int) -> None:
        os.write(pipe, _TOLD.pack(time.monotonic_ns(), durable))

    code = 1
    try:
        write(RealDisk(folder), seed, tell)
    except StorageError:
        code = 0
    except BaseException:  # noqa: BLE001  # a forked child: shown here or nowhere
        traceback.print_exc()
    finally:
        os._exit(code)


def _drain(pipe: int, seconds: float) -> list[tuple[int, int]]:
    """What the writer tells within so many seconds: when a flush returned, and the durable seq."""
    until = time.monotonic() + seconds
    data = b""
    while select.select([pipe], [], [], max(0.0, until - time.monotonic()))[0]:
        piece = os.read(pipe, 1 << 16)
        if not piece:
            break
        data += piece
    return list(_TOLD.iter_unpack(data[: len(data) // _TOLD.size * _TOLD.size]))


def one_cut(place: Path, again: Callable[[], None], folder: Path, checker: Checker, random: Random) -> int:
    """Write, cut, mount, check; how many entries were written since the last."""
    before = checker.next_seq
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        _writer(folder, checker.seed, writing)
    os.close(writing)
    try:
        if random.random() < 0.9:
            # Usually past the recovery, which ends with the first word from the writer.
            select.select([reading], [], [], 10)
        told = _drain(reading, random.uniform(0.0, 0.03))
        began = time.monotonic_ns()
        cut_power(place)
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        told += _drain(reading, 1.0)
    finally:
        os.close(reading)
    again()
    assert os.waitstatus_to_exitcode(status) in (0, -signal.SIGKILL), "the writer failed by itself"
    with RealDisk(folder) as disk:
        acknowledged = max((durable for at, durable in told if at < began), default=before)
        checker.check(disk, acknowledged).close()
    return checker.next_seq - before


def run(cuts: int, seed: int) -> int:
    """Cut ``cuts`` times; the number of entries that survived. A failure names its seed and cut."""
    random = Random(seed)
    written = 0
    warm_up()
    Bloom(1, 1).add(from_bytes(b""))
    with loop_mount(64) as (place, again):
        checker = Checker(seed)
        folder = place / "data-0"
        for cut in range(cuts):
            if cut and cut % CUTS_PER_FOLDER == 0:
                shutil.rmtree(folder)
                checker = Checker(seed + cut)
                folder = place / f"data-{cut}"
            try:
                written += one_cut(place, again, folder, checker, random)
            except (AssertionError, OpportuneError) as error:
                kept = Path(tempfile.mkdtemp(prefix="opportune-failed-cut-"))
                shutil.copytree(folder, kept / "data")
                raise AssertionError(f"seed {seed}, cut {cut}, folder kept in {kept}: {error}") from error
    return written


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cuts", type=int, default=1_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    reason = why_not()
    if reason is not None:
        raise SystemExit(f"POWER CUTS NOT TESTED: {reason}")
    started = time.perf_counter()
    written = run(options.cuts, options.seed)
    took = time.perf_counter() - started
    print(
        f"seed {options.seed}: {options.cuts} power cuts, {written} entries, 0 lost, 0 doubled, "
        f"{took:.1f} s, {took / options.cuts * 1e3:.0f} ms a cut"
    )


if __name__ == "__main__":
    main()
