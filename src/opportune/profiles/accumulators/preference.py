"""A person's own small model: what they prefer among the values of an attribute, and how sure that is."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from opportune.clock import Millis
from opportune.profiles.accumulators.affinity import UNIT, WEIGHT, Affinity, State
from opportune.profiles.accumulators.base import MAX_CHARS

PRIOR_FOR, PRIOR_AGAINST = 0.5, 4.5
"""Before any event a value is believed to be worth a tenth of somebody's interest, as if five events had said
so: what little is known moves little."""
TOP = 10


class Preference:
    """A Beta belief for every value: the share of the person's interest that it has. An event of weight w for
    a value counts w for it and w against all others; an event of negative weight (a dismissal, a removal)
    counts against its value alone. Old evidence fades with ``half_life``, so that a belief returns to the
    prior: the discounting of a power steady model (Smith, JRSS B 1979), one conjugate update an event.

    State: that of :class:`Affinity`, with the values marked ``+`` and ``-``; at most 64 values an epoch, at
    most 17 epochs. 0.3 us an event. Forgotten with the leaf.
    """

    zero: Any = None
    plain = False

    def __init__(self, half_life: Millis) -> None:
        self.half_life = half_life
        self._evidence = Affinity(half_life)
        self.merge = self._evidence.merge
        self.copy = self._evidence.copy
        self.pack = self._evidence.pack
        self.unpack = self._evidence.unpack

    def add(self, state: State | None, value: str, time: Millis) -> State:
        return self.weighted(WEIGHT)(state, value, time)

    def weighted(self, weight: int) -> Callable[[State | None, str, Millis], State]:
        """``add`` for events of one weight, in whole thousandths."""
        add = self._evidence.weighted(abs(weight))
        mark = "+" if weight >= 0 else "-"

        def marked(state: State | None, value: str, time: Millis) -> State:
            return add(state, mark + value[: MAX_CHARS - 1], time)

        return marked

    def read(self, state: State | None, now: Millis) -> dict[str, dict[str, float]]:
        """The ten values with the largest share, best first, ties by name: ``mean`` and ``sd`` of the belief,
        and ``events``, the weight of the evidence for it that is left."""
        if state is None:
            return {}
        evidence: dict[str, float] = {}
        kept = self._evidence.pack(state) or []
        for epoch, scores in kept:
            factor = 2.0 ** (epoch - now / self.half_life) / (UNIT * WEIGHT)
            for text, score in scores.items():
                evidence[text] = evidence.get(text, 0.0) + score * factor
        whole = sum(score for text, score in evidence.items() if text[0] == "+")
        believed = []
        for value in sorted({text[1:] for text in evidence}):
            mine = evidence.get("+" + value, 0.0)
            a = PRIOR_FOR + mine
            b = PRIOR_AGAINST + whole - mine + evidence.get("-" + value, 0.0)
            believed.append((value, a / (a + b), math.sqrt(a * b / (a + b + 1)) / (a + b), mine))
        believed.sort(key=lambda one: (-one[1], one[0]))
        return {
            value: {"mean": round(mean, 6), "sd": round(sd, 6), "events": round(mine, 6)}
            for value, mean, sd, mine in believed[:TOP]
        }
