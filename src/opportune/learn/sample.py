"""A share of the people with all of their events: what fits into memory and still is everybody's picture."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from opportune.events.event import Event
from opportune.experiments.hashing import hasher

SALT = "training sample"


def sampled(
    events: Iterable[Event], most: int, person_of: Callable[[str], str] = lambda leaf: leaf
) -> list[Event]:
    """The events of at most ``most`` people, chosen by a hash of who they are, so that everybody has the same
    chance however active they are; the same people in every run. One pass: when there are too many, the half
    with the larger hashes is let go."""
    number = hasher("blake2b", SALT)
    below = 1.0
    kept: dict[str, tuple[float, list[Event]]] = {}
    for event in events:
        if not event.leaf:
            continue
        leaf = person_of(event.leaf)
        one = kept.get(leaf)
        if one is not None:
            one[1].append(event)
            continue
        at = number(leaf)
        if at >= below:
            continue
        kept[leaf] = (at, [event])
        while len(kept) > most:
            below /= 2
            kept = {name: pair for name, pair in kept.items() if pair[0] < below}
    return [event for _, its in kept.values() for event in its]
