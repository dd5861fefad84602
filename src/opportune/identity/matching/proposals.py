"""Pairs of people who are likely one: for a person to decide, never joined by themselves.

What a probability is good enough for is the workspace's dial (``likely`` in ``identity.yaml``): showing a
better list forgives a mistake that sending an e-mail does not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from opportune.errors import InvalidRequest
from opportune.events.event import Identifier
from opportune.identity.likely import Proposal, stamp_of
from opportune.identity.links import ordered
from opportune.identity.matching.candidates import candidate_pairs
from opportune.identity.matching.columns import SAMPLE, Column, columns_of
from opportune.identity.matching.model import MatchModel, probability, waterfall, weights
from opportune.identity.matching.records import Records

Row = Mapping[str, str]


def comparable(rows: Sequence[Row]) -> list[Column]:
    """The columns of people that say who somebody is, their roles guessed from names and values. Raises
    :class:`InvalidRequest` when there is none."""
    header = sorted({name for row in rows for name in row})
    sample = [[row.get(name, "") for name in header] for row in rows[:SAMPLE]]
    found = columns_of(header, sample) if header else []
    if not found:
        raise InvalidRequest(
            "nothing is known of people that they could be compared by",
            seen=header,
            remedy="send identify calls with traits such as name, birthday, address",
        )
    return found


def propose(
    model: MatchModel, people: Sequence[tuple[Identifier, Row]], *, lowest: float = 0.5, most: int = 500
) -> list[Proposal]:
    """The likeliest pairs of at least the probability ``lowest``, the likeliest first. 0.1 ms a person."""
    records = Records.of([c.column for c in model.columns], (row for _, row in people))
    left, right = candidate_pairs(records)
    if not len(left):
        return []
    bits = weights(model, records, left, right)
    good = np.flatnonzero(probability(bits) >= lowest)
    chosen = good[np.argsort(-bits[good], kind="stable")][:most]
    found = []
    for at in chosen.tolist():
        one, other = int(left[at]), int(right[at])
        a, b = ordered(people[one][0], people[other][0])
        if a != people[one][0]:
            one, other = other, one
        steps = waterfall(model, records, one, other)
        weight = float(bits[at])
        stamps = stamp_of(people[one][1]), stamp_of(people[other][1])
        found.append(Proposal(a, b, weight, float(probability(weight)), steps, *stamps))
    return found
