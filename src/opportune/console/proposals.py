"""Proposals on the page of identities: those that still wait, each with what speaks for it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from opportune.identity.corrections import Together
from opportune.identity.likely import Proposal
from opportune.identity.rules import IdentityRules

MOST = 20


class Evidence(NamedTuple):
    """One row of the chart of a pair: from ``start`` to ``end``, in bits."""

    name: str
    level: str
    start: float
    end: float


def waiting(
    proposals: Sequence[Proposal], together: Callable[[str, str], Together], rules: IdentityRules
) -> list[dict[str, Any]]:
    """The likeliest that nobody has decided yet."""
    found: list[dict[str, Any]] = []
    for proposal in proposals:
        if len(found) == MOST:
            break
        now = together(proposal.a, proposal.b)
        if not now.is_one and not now.refused:
            found.append(
                {
                    "a": proposal.a,
                    "b": proposal.b,
                    "probability": proposal.probability,
                    "weight": proposal.weight,
                    "good_for": rules.good_for(proposal.probability),
                    "steps": proposal.steps,
                }
            )
    return found


def evidence(steps: Sequence[dict[str, Any]]) -> list[Evidence]:
    """The rows of a pair's chart: each begins where the one before ended."""
    return [
        Evidence(step["column"] or "anybody", step["level"], step["sum"] - step["bits"], step["sum"])
        for step in steps
        if step["bits"] or not step["column"]
    ]
