"""Experiments stopped while they run, by a guardrail or a person: entries of the journal, folded."""

from __future__ import annotations

from typing import Literal

import msgspec

from opportune.clock import Millis


class Switch(msgspec.Struct, array_like=True, tag="s", frozen=True):
    """An experiment was stopped, or resumed; ``why`` is a sentence for people."""

    experiment: str
    action: Literal["stop", "resume"]
    why: str
    time: Millis


class Switches(msgspec.Struct, array_like=True):
    """The last word on every experiment by journal order. ``offset`` is the last entry folded in."""

    last: dict[str, Switch] = {}
    offset: int = 0

    def fold(self, switch: Switch, seq: int) -> None:
        if seq > self.offset:
            self.offset = seq
            self.last[switch.experiment] = switch

    @property
    def stopped(self) -> frozenset[str]:
        return frozenset(e for e, switch in self.last.items() if switch.action == "stop")
