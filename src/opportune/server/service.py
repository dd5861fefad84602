"""What every handler has at hand."""

from __future__ import annotations

import msgspec

from opportune.access.audit import Audit, Unaudited
from opportune.clock import Clock, system_clock
from opportune.server.auth import Keys
from opportune.server.body import BODY_LIMIT
from opportune.server.contract import Queries
from opportune.server.metrics import Metrics
from opportune.server.rates import Limiter
from opportune.server.writer import GroupWriter


class Limits(msgspec.Struct, frozen=True):
    """``body_bytes`` holds before and after decompression; ``turn_s`` is for how long one turn of the loop
    answers before it refuses what else it read (``server/turn.py``)."""

    body_bytes: int = BODY_LIMIT
    turn_s: float = 0.1


class Service(msgspec.Struct, frozen=True):
    """The engine's queries, the writer, the keys, the clock and the audit log. ``limiter`` is there when
    clients are limited. ``gpc_updated`` dates the statement that Global Privacy Control is honoured."""

    engine: Queries
    writer: GroupWriter
    keys: Keys
    metrics: Metrics
    clock: Clock = system_clock
    limits: Limits = Limits()
    audit: Audit = Unaudited()
    limiter: Limiter | None = None
    gpc_updated: str = "2026-11-21"
