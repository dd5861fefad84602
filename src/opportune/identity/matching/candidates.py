"""Which of many records might be the same person as one: an inverted index asked like a search engine.

Every piece that two records share counts by its rarity (log(n / records that have it)), and the records with
the highest sums are compared. That is the blocking: no pair that shares anything rare is missed, and no
common value (a city, a first name, a kiosk's e-mail address) makes a block too large to compare. Weighting
blocks by rarity and keeping the best per record is "meta-blocking" (Papadakis et al., TKDE 2014, weighted
node pruning).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from opportune.identity.matching.records import Records
from opportune.identity.matching.tokens import tokens_of
from opportune.kernels import kernel

Ints = npt.NDArray[np.int32]
Longs = npt.NDArray[np.int64]
Hashes = npt.NDArray[np.uint32]
Scores = npt.NDArray[np.float32]

PER_RECORD = 60
"""Candidates kept for a record."""
BUDGET = 10_000
"""Records looked at for one question, by the rarest pieces first: what bounds its cost."""
MAX_BITS = 26
_NONE = -1


class Index(NamedTuple):
    """Records by piece, in two parts: packed, ``posting[starts[h] : starts[h + 1]]``, and added since, as
    chains of ``nodes`` (record, older node) from ``heads[h]``. ``counts[h]`` are both together. A piece's
    hash is folded to the size of the index."""

    counts: Ints
    starts: Longs
    posting: Ints
    heads: Ints
    nodes: Ints


class Candidates:
    """The records so far, findable. Records are numbered in the order they were added.

    Memory: 4 bytes a piece packed, 8 else; about 20 pieces a record.
    """

    def __init__(self, records: int = 0, *, bits: int = 16) -> None:
        self.records = records
        self._used = 0
        self._removed = np.zeros(max(records, 64), bool)
        size = 1 << bits
        self._index = Index(
            np.zeros(size, np.int32),
            np.zeros(size + 1, np.int64),
            np.empty(0, np.int32),
            np.full(size, _NONE, np.int32),
            np.empty((1024, 2), np.int32),
        )
        self._score = np.zeros(max(records, 64), np.float32)
        self._touched = np.empty(max(records, 64), np.int32)

    @classmethod
    def packed(cls, pieces: Sequence[Sequence[int]]) -> Candidates:
        """An index of many records at once."""
        counts = np.fromiter((len(p) for p in pieces), np.int64, len(pieces))
        total = int(counts.sum())
        flat = np.fromiter((h for p in pieces for h in p), np.uint32, total)
        made = cls(len(pieces), bits=bits_for(total))
        mask = np.uint32(len(made._index.counts) - 1)
        folded = (flat & mask).astype(np.int32)
        owners = np.repeat(np.arange(len(pieces), dtype=np.int32), counts)
        per_hash = np.bincount(folded, minlength=len(made._index.counts))
        starts = np.concatenate((np.zeros(1, np.int64), np.cumsum(per_hash)))
        made._index = made._index._replace(
            counts=per_hash.astype(np.int32),
            starts=starts,
            posting=owners[np.argsort(folded, kind="stable")],
        )
        return made

    def add(self, pieces: Sequence[int]) -> int:
        """Add a record by its pieces; returns its number. O(pieces)."""
        record = self.records
        self.records += 1
        if record == len(self._removed):
            self._removed = np.concatenate((self._removed, np.zeros(record, bool)))
            self._score = np.zeros(2 * record, np.float32)
            self._touched = np.empty(2 * record, np.int32)
        if self._used + len(pieces) > len(self._index.nodes):
            room = np.empty((2 * len(self._index.nodes) + len(pieces), 2), np.int32)
            room[: self._used] = self._index.nodes[: self._used]
            self._index = self._index._replace(nodes=room)
        _add(self._index, np.array(pieces, np.uint32), record, self._used)
        self._used += len(pieces)
        return record

    def remove(self, record: int) -> None:
        """Never find this record again."""
        self._removed[record] = True

    def find(self, pieces: Sequence[int], most: int = PER_RECORD) -> Longs:
        """At most ``most`` records that share the rarest pieces, unordered. O(budget)."""
        return _find(
            self._index, np.array(pieces, np.uint32), self.records, self._removed, most, BUDGET,
            self._score, self._touched,
        )  # fmt: skip


def bits_for(pieces: int) -> int:
    """Folded hashes have so many bits that few pieces share one."""
    return min(MAX_BITS, max(16, pieces.bit_length()))


def candidate_pairs(records: Records, per_record: int = PER_RECORD) -> tuple[Longs, Longs]:
    """Pairs worth comparing, as (later record, earlier record): each record with the best before it, exactly
    as if they had come one at a time. 50-100 us a record."""
    pieces = [tokens_of(records.columns, records.row(i)) for i in range(len(records))]
    index = Candidates(bits=bits_for(sum(map(len, pieces))))
    later, earlier = [], []
    for record, of_record in enumerate(pieces):
        found = index.find(of_record, per_record)
        later.append(np.full(len(found), record, np.int64))
        earlier.append(found)
        index.add(of_record)
    nothing = np.empty(0, np.int64)
    return np.concatenate([nothing, *later]), np.concatenate([nothing, *earlier])


def sampled_pairs(records: Records, asked: Longs, per_record: int = PER_RECORD) -> tuple[Longs, Longs]:
    """The best of all records for each record in ``asked``, as (asked, other): each pair of two that are both
    asked for is there twice. 50-100 us a record asked, 30 us a record."""
    pieces = [tokens_of(records.columns, records.row(i)) for i in range(len(records))]
    index = Candidates.packed(pieces)
    left, right = [], []
    for record in asked.tolist():
        found = index.find(pieces[record], per_record + 1)
        found = found[found != record]
        left.append(np.full(len(found), record, np.int64))
        right.append(found)
    nothing = np.empty(0, np.int64)
    return np.concatenate([nothing, *left]), np.concatenate([nothing, *right])


@kernel
def _add(index: Index, pieces: Hashes, record: int, used: int) -> None:
    mask = len(index.counts) - 1
    for i in range(len(pieces)):
        h = pieces[i] & mask
        index.nodes[used + i, 0] = record
        index.nodes[used + i, 1] = index.heads[h]
        index.heads[h] = used + i
        index.counts[h] += 1


@kernel
def _find(
    index: Index,
    pieces: Hashes,
    n: int,
    removed: npt.NDArray[np.bool_],
    most: int,
    budget: int,
    score: Scores,
    touched: Ints,
) -> Longs:
    mask = len(index.counts) - 1
    hashes = np.empty(len(pieces), np.int64)
    counts = np.empty(len(pieces), np.int64)
    for i in range(len(pieces)):
        hashes[i] = pieces[i] & mask
        counts[i] = index.counts[hashes[i]]
    found = 0
    for i in np.argsort(counts, kind="mergesort"):
        if counts[i] == 0:
            continue
        budget -= counts[i]
        if budget < 0:
            break
        h = hashes[i]
        rarity = np.float32(np.log(n / counts[i]) + 0.01)
        for p in range(index.starts[h], index.starts[h + 1]):
            other = index.posting[p]
            if score[other] == 0:
                touched[found] = other
                found += 1
            score[other] += rarity
        node = index.heads[h]
        while node >= 0:
            other = index.nodes[node, 0]
            if score[other] == 0:
                touched[found] = other
                found += 1
            score[other] += rarity
            node = index.nodes[node, 1]
    kept = 0
    for k in range(found):
        other = touched[k]
        if removed[other]:
            score[other] = 0
        else:
            touched[kept] = other
            kept += 1
    chosen = touched[:kept]
    sums = score[chosen]
    best = np.empty(min(kept, most), np.int64)
    taken = 0
    cut = np.float32(0)
    if kept > most:
        cut = np.partition(sums, kept - most)[kept - most]
    for k in range(kept):
        if sums[k] > cut or kept <= most:
            best[taken] = chosen[k]
            taken += 1
    if kept > most:
        for k in range(kept):
            if taken < most and sums[k] == cut:
                best[taken] = chosen[k]
                taken += 1
    for k in range(kept):
        score[chosen[k]] = 0
    return best
