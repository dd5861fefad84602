"""Loads the kernels of a decision ahead of the first one."""

from __future__ import annotations

import numpy as np

from opportune.catalog.items import Catalog
from opportune.decide.candidates import empty_pool
from opportune.decide.placement import Placement
from opportune.decide.policy import Known, choose
from opportune.decide.rank import unit
from opportune.decide.situation import NO_SESSION, NOWHERE
from opportune.recommend import warm_up as sources


def warm_up() -> float:
    """Choose from nothing, after every source was run once; returns the seconds that the sources took."""
    seconds = sources.warm_up()
    placement = Placement(name="warm_up")
    nobody = Known(
        place=NOWHERE, session=NO_SESSION, bought={}, dismissed=(), exclude=(), elsewhere=(), now=0
    )
    choose(placement, empty_pool(placement), np.zeros(0, np.float32), nobody, Catalog(), count=1)
    unit(np.ones(1, np.float32))
    return seconds
