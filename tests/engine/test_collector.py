"""The collector waits for a piece of work, and is left as it was found."""

from __future__ import annotations

import gc

import pytest

from opportune.engine.collector import collector_paused


def work() -> None:
    with collector_paused():
        assert not gc.isenabled()
        with collector_paused():
            pass
        assert not gc.isenabled()
        raise ValueError("work went wrong")


@pytest.mark.parametrize("enabled", [True, False])
def test_it_waits_inside_and_is_as_before_after(enabled: bool) -> None:
    before = gc.isenabled()
    try:
        gc.enable() if enabled else gc.disable()
        with pytest.raises(ValueError, match="work went wrong"):
            work()
        assert gc.isenabled() is enabled
    finally:
        gc.enable() if before else gc.disable()
