"""Kernels over byte extents: they let a merge of large runs go on while the interpreter serves requests."""

from __future__ import annotations

from typing import Any

import numpy as np

from opportune.kernels import kernel


@kernel
def copy_extents(source: Any, starts: Any, lengths: Any, target: Any) -> int:
    """Copy ``source[starts[i] : starts[i] + lengths[i]]`` one after another into ``target``; bytes copied.

    ``source`` and ``target`` (n_bytes,) uint8, ``starts`` and ``lengths`` (n,) int64.
    """
    # Unsigned: an index that may be negative costs numba a test per byte, and tenfold time.
    at = np.uint64(0)
    for i in range(starts.shape[0]):
        start = np.uint64(starts[i])
        length = np.uint64(lengths[i])
        for j in range(length):
            target[at + j] = source[start + j]
        at += length
    return int(at)


@kernel
def mark_newest(source: Any, starts: Any, hashes: Any, keep: Any, drop_tombstones: bool) -> int:
    """Set ``keep[i]`` where entry i is the newest of its key, and return how many there are.

    Entries of one hash stand together, newest first. Keys are compared byte for byte, so that two keys of one
    hash both live. Layout of an entry: see ``runs.py``.
    """
    n = starts.shape[0]
    kept = 0
    for i in range(n):
        keep[i] = 1
        a = starts[i]
        size = source[a + 8] + 256 * source[a + 9]
        j = i - 1
        while j >= 0 and hashes[j] == hashes[i]:
            b = starts[j]
            if source[b + 8] + 256 * source[b + 9] == size:
                same = True
                for k in range(size):
                    if source[a + 10 + k] != source[b + 10 + k]:
                        same = False
                        break
                if same:
                    keep[i] = 0
                    break
            j -= 1
    for i in range(n):
        a = starts[i]
        deleted = source[a + 4] & source[a + 5] & source[a + 6] & source[a + 7] == 255
        if drop_tombstones and deleted:
            keep[i] = 0
        kept += keep[i]
    return kept


def warm_up() -> None:
    """Compile (or load the compiled code) before it is needed on a thread beside requests."""
    data = np.zeros(10, np.uint8)
    starts = np.zeros(1, np.int64)
    mark_newest(data, starts, np.zeros(1, np.uint64), np.zeros(1, np.uint8), True)
    copy_extents(data, starts, np.full(1, 10, np.int64), np.zeros(10, np.uint8))
