"""Which version of a model serves: an append-only list of moves, and what follows from it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec

from opportune.clock import Millis
from opportune.errors import InvalidRequest, NotFound

State = Literal["candidate", "shadow", "canary", "live", "archived"]
LADDER: tuple[State, ...] = ("candidate", "shadow", "canary", "live")


class Move(msgspec.Struct, frozen=True):
    """``version`` became ``state``; ``share`` is the share of people that a canary ranks for."""

    version: str
    state: State
    at: Millis
    note: str = ""
    share: float = 0.0


class Registry:
    """States by version, as the moves say. Versions are immutable; only their state changes, and every change
    is kept."""

    def __init__(self, moves: Sequence[Move] = ()) -> None:
        self.moves = list(moves)

    def states(self) -> dict[str, State]:
        """Version to state, the oldest version first."""
        found: dict[str, State] = {}
        for move in self.moves:
            found[move.version] = move.state
        return found

    def state_of(self, version: str) -> State:
        """Raises :class:`NotFound`."""
        states = self.states()
        if version not in states:
            raise NotFound(
                "no such model version",
                seen=version,
                remedy=f"one of {', '.join(states)}" if states else "train one with `opportune train`",
            )
        return states[version]

    def in_state(self, state: State) -> str | None:
        """The version in this state, the newest where there are several."""
        found = [version for version, now in self.states().items() if now == state]
        return found[-1] if found else None

    @property
    def live(self) -> str | None:
        return self.in_state("live")

    def add(self, version: str, at: Millis, note: str = "") -> list[Move]:
        """A newly trained version. Raises :class:`InvalidRequest` when it is there already."""
        if version in self.states():
            raise InvalidRequest(
                "this version is there already", seen=version, remedy="versions never change"
            )
        return self._keep([Move(version, "candidate", at, note)])

    def note_of(self, version: str) -> str:
        """What was noted when the version came into its state."""
        return next((move.note for move in reversed(self.moves) if move.version == version), "")

    def canaries(self) -> dict[str, float]:
        """Every version that has been a canary, with the share of people it was given last; oldest first."""
        return {move.version: move.share for move in self.moves if move.state == "canary"}

    def promote(
        self, version: str, at: Millis, to: State | None = None, note: str = "", share: float = 0.0
    ) -> list[Move]:
        """One step up the ladder, or straight to ``to``. Who held the place of shadow, canary or live is
        archived. Raises :class:`NotFound` and :class:`InvalidRequest`."""
        now = self.state_of(version)
        if to is None:
            if now == "live":
                raise InvalidRequest("this version is live already", seen=version)
            to = "live" if now == "archived" else LADDER[LADDER.index(now) + 1]
        if to == now and not (to == "canary" and share != self.canaries()[version]):
            raise InvalidRequest(f"this version is {now} already", seen=version)
        moves = []
        if to in ("shadow", "canary", "live"):
            moves = [
                Move(other, "archived", at, f"{to} is {version}")
                for other, state in self.states().items()
                if state == to and other != version
            ]
        return self._keep([*moves, Move(version, to, at, note, share if to == "canary" else 0.0)])

    def rollback(self, at: Millis, note: str = "") -> list[Move]:
        """The version that was live before is live again. Raises :class:`InvalidRequest` when there was
        none."""
        live = self.live
        before = [move.version for move in self.moves if move.state == "live" and move.version != live]
        if live is None or not before:
            raise InvalidRequest(
                "there is no version to go back to",
                seen=live or "nothing live",
                remedy="`opportune promote VERSION --to live` makes any version live",
            )
        return self._keep(
            [Move(live, "archived", at, note or "rolled back"), Move(before[-1], "live", at, note)]
        )

    def _keep(self, moves: list[Move]) -> list[Move]:
        self.moves += moves
        return moves
