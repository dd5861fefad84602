"""What the sources of one decision answer, side by side in memory that the next one uses again."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from opportune.recommend.source import Candidates, CandidateSource, Floats, Items, Query, QuickSource

ITEM, SCORE, BECAUSE = 0, 1, 2


class Slate:
    """``block`` (sources, 3, room) int32: items, the bits of float32 scores, and who spoke for them; source
    ``s`` has answered ``found[s]`` candidates. Grows to the largest question; O(1) to clear."""

    def __init__(self, sources: int = 8, room: int = 128) -> None:
        self._grow(sources, room)

    def _grow(self, sources: int, room: int) -> None:
        self.block = np.zeros((sources, 3, room), np.int32)
        self.found = np.zeros(sources, np.int32)
        self._rows = list(self.block)

    def clear(self, sources: int, room: int) -> None:
        """Make place for ``sources`` answers of ``room`` candidates."""
        if sources > len(self.found) or room > self.block.shape[2]:
            self._grow(max(sources, len(self.found)), max(room, self.block.shape[2]))
        self.found[:] = 0

    def ask(self, place: int, source: CandidateSource, query: Query) -> None:
        """Let a source answer into its place; without a copy where it can write there itself."""
        quick = getattr(source, "recommend_into", None)
        if quick is None:
            self.put(place, source.recommend(query))
        else:
            self.found[place] = quick(query, self._rows[place])

    def put(self, place: int, candidates: Candidates) -> None:
        """Copy what was answered otherwise; of more than there is room for, the first."""
        room = self.block.shape[2]
        found = min(len(candidates.item), room)
        row = self._rows[place]
        row[ITEM, :found] = candidates.item[:found]
        row[SCORE, :found] = candidates.score[:found].astype(np.float32).view(np.int32)
        row[BECAUSE, :found] = candidates.because[:found]
        self.found[place] = found


def answered(source: QuickSource, query: Query) -> Candidates:
    """``recommend`` of a source that writes its answers."""
    row = np.empty((3, max(int(query.count), 0)), np.int32)
    found = source.recommend_into(query, row)
    score: Floats = row[SCORE, :found].view(np.float32)
    because: Items = row[BECAUSE, :found]
    return Candidates(row[ITEM, :found], score, because)


Block = npt.NDArray[np.int32]
