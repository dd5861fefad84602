"""A few real power cuts. The long run: ``python -m tests.faults.power_cuts --cuts 1000``."""

from __future__ import annotations

import os
import sys

import pytest
from tests.faults import power_cuts


@pytest.mark.root
def test_nothing_acknowledged_is_lost_when_the_power_fails() -> None:
    reason = power_cuts.why_not()
    if reason is not None:
        message = f"REAL POWER CUTS WERE NOT TESTED: {reason}"
        if os.environ.get("CI"):
            pytest.fail(message)
        print(message, file=sys.stderr)
        pytest.skip(message)
    assert power_cuts.run(25, seed=11) > 100, "the writers got something done between the cuts"
