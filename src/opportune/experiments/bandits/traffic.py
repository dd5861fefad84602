"""How a bandit's traffic moved: counts per arm in pieces of equally many decisions, a bounded number."""

from __future__ import annotations

import msgspec

from opportune.clock import Millis

MOST = 64
"""Pieces; when there are more, neighbours become one and pieces twice as long."""


class Piece(msgspec.Struct, array_like=True):
    """``start`` is the time of its first decision."""

    start: Millis
    shown: dict[str, int]
    total: int = 0


class Traffic(msgspec.Struct, array_like=True):
    """``size`` decisions make a piece; the last one may be shorter."""

    pieces: list[Piece] = []
    size: int = 1

    def add(self, time: Millis, arm: str) -> None:
        if not self.pieces or self.pieces[-1].total >= self.size:
            if len(self.pieces) == MOST:
                self.pieces = [_joined(*self.pieces[i : i + 2]) for i in range(0, MOST, 2)]
                self.size *= 2
            self.pieces.append(Piece(time, {}))
        last = self.pieces[-1]
        last.shown[arm] = last.shown.get(arm, 0) + 1
        last.total += 1

    def shares(self, arms: tuple[str, ...]) -> list[tuple[Millis, dict[str, float]]]:
        """(start, arm -> share of the piece's decisions)."""
        return [(p.start, {arm: p.shown.get(arm, 0) / p.total for arm in arms}) for p in self.pieces]


def _joined(a: Piece, b: Piece) -> Piece:
    both = {arm: a.shown.get(arm, 0) + b.shown.get(arm, 0) for arm in sorted({*a.shown, *b.shown})}
    return Piece(a.start, both, a.total + b.total)
