"""Opportune: a real-time personalization engine that you run yourself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from opportune.decide.request import DecideRequest, DecideResponse
    from opportune.engine.engine import Engine
    from opportune.events.event import Event

__all__ = ["DecideRequest", "DecideResponse", "Engine", "Event", "__version__"]
__version__ = "0.1.0"

_HOMES = {
    "Engine": "opportune.engine.engine",
    "Event": "opportune.events.event",
    "DecideRequest": "opportune.decide.request",
    "DecideResponse": "opportune.decide.request",
}


def __getattr__(name: str) -> Any:
    """Import on first use: ``opportune --help`` need not wait for numba."""
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'opportune' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(home), name)
