"""Discrete Laplace noise from OpenDP, which gets the floating point right that homemade noise gets wrong
(Mironov, 2012)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from opportune.errors import NotInstalled


def laplace(counts: Sequence[int], scale: float) -> list[int]:
    """Each count with noise of its own. The first call imports OpenDP, which takes a second or two. Raises
    :class:`NotInstalled`."""
    try:
        import opendp.prelude as dp
    except ImportError as error:
        raise NotInstalled(
            "anonymous counts need OpenDP, which is not installed here",
            seen=error.name,
            remedy="pip install 'opportune[privacy]'",
        ) from error
    dp.enable_features("contrib")
    made: Any = dp.m.make_laplace(dp.vector_domain(dp.atom_domain(T=int)), dp.l1_distance(T=int), scale=scale)
    found: list[int] = made(list(counts))
    return found


def epsilon_of(scale: float, per_person: int) -> float:
    """What OpenDP says that publishing costs somebody who changes the counts by at most ``per_person`` in
    all. Raises :class:`NotInstalled`."""
    laplace((), scale)
    import opendp.prelude as dp

    made: Any = dp.m.make_laplace(dp.vector_domain(dp.atom_domain(T=int)), dp.l1_distance(T=int), scale=scale)
    return float(made.map(per_person))
