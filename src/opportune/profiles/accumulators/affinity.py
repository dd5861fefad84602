"""Decayed affinity: what somebody has been interested in lately.

Forward decay (Cormode et al., ICDE 2009): a contribution at time ``t`` counts ``weight * 2^(t / half_life)``,
and reading divides by ``2^(now / half_life)``. To keep sums exact whatever the order, time is split into
epochs of one half-life, and each epoch keeps whole numbers per value: ``weight * 2^(fraction of the epoch)``,
the fraction in 1/256 steps (0.3 %). Epochs older than 16 half-lives before the newest one weigh less than
2^-16 and go. Within an epoch the 64 values with the smallest hashes stay: exact for everybody who meets
fewer, a fair sample for those (crawlers) who meet more.
"""

from __future__ import annotations

from collections.abc import Callable
from operator import itemgetter
from typing import Any

from opportune.clock import Millis
from opportune.profiles.accumulators.base import MAX_CHARS
from opportune.profiles.accumulators.distinct import hash64

KEPT_EPOCHS = 16
MAX_VALUES = 64
TOP = 10
LEAST = 1e-6
UNIT = 4096
"""A contribution of weight 1 at the start of an epoch."""
WEIGHT = 1000
"""Weights are whole thousandths."""
STEP_BITS = 8
STEPS = 1 << STEP_BITS
_GROWTH = [round(UNIT * 2 ** (step / STEPS)) for step in range(STEPS)]

_SCORE = itemgetter(1)

State = dict[int, dict[str, int]]


class Affinity:
    """State: epoch -> value -> whole-number score. ``half_life`` is in milliseconds."""

    zero: Any = None
    plain = False

    def __init__(self, half_life: Millis) -> None:
        self.half_life = half_life

    def add(self, state: State | None, value: str, time: Millis) -> State:
        return self.weighted(WEIGHT)(state, value, time)

    def weighted(self, weight: int) -> Callable[[State | None, str, Millis], State]:
        """``add`` for events of one weight, in whole thousandths. 0.2 us for a value seen in this epoch."""
        half_life = self.half_life
        growth = [weight * grown for grown in _GROWTH]

        def add(state: State | None, value: str, time: Millis) -> State:
            step = time * STEPS // half_life
            if state is not None:
                scores = state.get(step >> STEP_BITS)
                if scores is not None:
                    known = scores.get(value)
                    if known is not None:
                        scores[value] = known + growth[step & (STEPS - 1)]
                        return state
            return _add_new(state, step >> STEP_BITS, value[:MAX_CHARS], growth[step & (STEPS - 1)])

        return add

    def merge(self, a: State | None, b: State | None) -> State | None:
        if a is None or b is None:
            return self.copy(b if a is None else a)
        out = {epoch: dict(scores) for epoch, scores in a.items()}
        for epoch, scores in b.items():
            mine = out.get(epoch)
            if mine is None:
                out[epoch] = dict(scores)
                continue
            for text, score in scores.items():
                mine[text] = mine.get(text, 0) + score
            out[epoch] = _kept(mine)
        _prune(out, max(out))
        return out

    def copy(self, state: State | None) -> State | None:
        return None if state is None else {epoch: dict(scores) for epoch, scores in state.items()}

    def read(self, state: State | None, now: Millis) -> dict[str, float]:
        """The ten strongest values, best first (ties by name); 1.0 is one event of weight 1 right now. Values
        of no or negative affinity are left out."""
        if state is None:
            return {}
        total: dict[str, float] = {}
        for epoch in sorted(state):
            factor = 2.0 ** (epoch - now / self.half_life) / (UNIT * WEIGHT)
            if total:
                for text, score in _kept(state[epoch]).items():
                    total[text] = total.get(text, 0.0) + score * factor
            else:
                total = {text: score * factor for text, score in _kept(state[epoch]).items()}
        # Sorting is stable, so the second sort leaves ties in the order of the first.
        best = sorted(sorted(total.items()), key=_SCORE, reverse=True)[:TOP]
        return {text: score for text, score in best if score > LEAST}

    def pack(self, state: State | None) -> list[tuple[int, dict[str, int]]] | None:
        if state is None:
            return None
        if len(state) == 1:  # nearly everybody
            return [(epoch, _kept(scores)) for epoch, scores in state.items()]
        return [(epoch, _kept(state[epoch])) for epoch in sorted(state)]

    def unpack(self, packed: Any) -> State | None:
        return None if packed is None else dict(packed)


def _add_new(state: State | None, epoch: int, value: str, score: int) -> State:
    """A value that its epoch may not have yet, or an epoch that the state does not have yet."""
    if state is None:
        return {epoch: {value: score}}
    scores = state.get(epoch)
    if scores is None:
        newest = max(state)
        if epoch >= newest - KEPT_EPOCHS:
            state[epoch] = {value: score}
            if epoch > newest:
                _prune(state, epoch)
        return state
    scores[value] = scores.get(value, 0) + score
    if len(scores) > 2 * MAX_VALUES:
        state[epoch] = _kept(scores)
    return state


def _kept(scores: dict[str, int]) -> dict[str, int]:
    """The values that stay. One that was let go once cannot be among them later: as many stayed before it,
    and these never go. So an epoch may hold more for a while, and is cut when somebody looks."""
    if len(scores) <= MAX_VALUES:
        return scores
    return {text: scores[text] for text in sorted(scores, key=_priority)[:MAX_VALUES]}


def _prune(state: State, newest: int) -> None:
    for epoch in [e for e in state if e < newest - KEPT_EPOCHS]:
        del state[epoch]


def _priority(text: str) -> tuple[int, str]:
    return hash64(text), text
