"""One retention run at a time: begun by hand or by the clock, asked after while it runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from opportune.clock import DAY, HOUR, Millis
from opportune.engine.retiring import REPORT, Retired, Retiring
from opportune.engine.turns import Turns
from opportune.errors import NotFound, Overloaded

if TYPE_CHECKING:
    from opportune.engine.engine import Engine


class RetentionDesk:
    """On the engine's thread. Whoever begins a run drives it to its end, and says when it failed."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._running: Retiring | None = None
        self._last: Retired | None = None
        self._failure = ""

    def begin(self, *, dry_run: bool = False) -> Retiring:
        """Raises :class:`Overloaded` while another run is under way."""
        if self._running is not None:
            raise Overloaded("retention is under way", remedy="ask how far it is, and try again after it")
        self._failure = ""
        self._running = self._engine.retiring(dry_run=dry_run)
        return self._running

    def turns(self, retiring: Retiring) -> Turns:
        """A whole run in turns. Raises StorageError."""
        try:
            yield retiring.look
            yield from retiring.turns()
            self._last = retiring.report
        finally:
            self._running = None

    def failed(self, why: str) -> None:
        self._failure = why
        self._running = None

    def state(self) -> dict[str, Any]:
        """``state``: RUNNING, FAILED, FINISHED or NEVER; the last ``report``; the ``rules``."""
        found = {
            "state": "RUNNING" if self._running else "FAILED" if self._failure else "FINISHED",
            "error": self._failure,
            "rules": msgspec.to_builtins(self._engine.workspace.privacy.retention),
            "report": msgspec.to_builtins(self._last) if self._last else self._kept(),
        }
        if found["report"] is None and found["state"] == "FINISHED":
            found["state"] = "NEVER"
        return found

    def due(self) -> bool:
        """Whether the day's run should begin: its hour has come since the last one."""
        rules = self._engine.workspace.privacy.retention
        if not rules or self._running is not None:
            return False
        now = self._engine.clock()
        hour_today: Millis = now // DAY * DAY + rules.hour * HOUR
        latest = hour_today if now >= hour_today else hour_today - DAY
        last = self._kept()
        return last is None or last["at"] < latest

    def _kept(self) -> Any:
        vault = self._engine.entries.vault
        if vault is None:
            return None
        try:
            return msgspec.json.decode(vault.receipt(REPORT))
        except NotFound:
            return None
