"""How likely the policy under judgement is to choose each action."""

from __future__ import annotations

import numpy as np

from opportune.errors import InvalidRequest
from opportune.experiments.offpolicy.log import Floats, Log


def probabilities(target: Floats, log: Log) -> Floats:
    """``target`` checked, and as (n, n_actions): given per round, or per position (n_positions, n_actions)
    for a policy that does not look at the context. A policy for one position may be (n_actions,)."""
    table = np.atleast_2d(np.asarray(target, dtype=np.float64))
    if table.shape[1] != log.n_actions:
        raise InvalidRequest(
            "the target policy needs a probability per action",
            seen=table.shape[1],
            remedy=f"give {log.n_actions}",
        )
    if (table < 0).any() or not np.allclose(table.sum(axis=1), 1.0, atol=1e-6):
        worst = int(np.abs(table.sum(axis=1) - 1).argmax())
        raise InvalidRequest(
            "the target policy's probabilities must sum to 1",
            seen=float(table[worst].sum()),
            where=f"row {worst}",
        )
    if len(table) == len(log):
        return table
    if len(table) < log.n_positions:
        raise InvalidRequest(
            "the target policy needs a row per position", seen=len(table), remedy=f"give {log.n_positions}"
        )
    return table[log.position]
