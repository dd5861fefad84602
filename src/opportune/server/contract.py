"""What the HTTP face needs from the engine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Protocol

import msgspec

from opportune.clock import Millis
from opportune.decide.flags import Evaluation
from opportune.decide.request import DecideRequest, DecideResponse
from opportune.engine.admission import Admission
from opportune.engine.anonymous_desk import AnonymousDesk
from opportune.engine.erasing import Erasing
from opportune.engine.retention_desk import RetentionDesk
from opportune.engine.rights import Rights
from opportune.identity.corrections import Action, Together
from opportune.privacy.receipt import Receipt

__all__ = ["Admission", "Core", "Queries", "RawItem", "ServedEngine"]

RawItem = bytes | msgspec.Raw
"""One event as JSON text, exactly as it came."""


class Core(Protocol):
    """The steps of the engine that the writer drives.

    ``admit``, ``append``, ``apply`` and ``maintain`` run on the event loop's thread, ``flush`` in the
    writer's thread. ``append`` may be called while a ``flush`` runs: what it adds belongs to the next flush.
    """

    def admit(
        self,
        raw_items: Sequence[RawItem],
        *,
        kind: str | None,
        dialect: str,
        source: str,
        received: Millis,
        sent_at: Millis | None,
        batch_context: dict[str, Any] | None,
        position: int = 0,
        is_public: bool = False,
    ) -> Admission:
        """Normalise, check, de-duplicate and stamp; never raises for what is in the items. ``position`` is
        the index of the first item in its request: a large request is admitted in pieces. ``is_public``
        items came under a key that is in every page."""
        ...

    def append(self, admissions: Sequence[Admission]) -> None:
        """Encode into the journal's buffer."""
        ...

    def flush(self) -> None:
        """Make everything appended before this call durable. Raises ``StorageError`` or ``OSError``."""
        ...

    def apply(self, admissions: Sequence[Admission]) -> None:
        """Fold what is on disk into state, in journal order."""
        ...

    def maintain(self, budget_s: float) -> bool:
        """Background work (checkpoints) for at most about ``budget_s``; true when more is waiting."""
        ...

    def reopen(self) -> None:
        """After a failed flush: believe only what is on disk. Raises ``StorageError`` while it cannot."""
        ...


class Queries(Protocol):
    """The engine's second verb and its read-only queries, all on the event loop's thread."""

    def decide(self, request: DecideRequest) -> DecideResponse: ...

    def flag(self, key: str, context: Mapping[str, Any]) -> Evaluation: ...

    def flags(self, context: Mapping[str, Any]) -> list[Evaluation]: ...

    @property
    def revision(self) -> str: ...

    def switch_experiment(
        self, experiment_id: str, action: Literal["stop", "resume"], why: str
    ) -> Admission: ...

    def relink(self, a: str, b: str, action: Action, *, who: str, why: str) -> Admission: ...

    def together(self, a: str, b: str) -> Together: ...

    def reviews(self, limit: int) -> dict[str, Any]: ...

    def corrections(self, limit: int) -> list[dict[str, Any]]: ...

    def profile(self, identifier: str) -> dict[str, Any]: ...

    def group(self, identifier: str) -> dict[str, Any]: ...

    def decision(self, decision_id: str) -> dict[str, Any]: ...

    def accounting(self) -> dict[str, Any]: ...

    def dead_letters(self, cursor: str, limit: int, code: str) -> dict[str, Any]: ...

    def replay_dead_letter(self, letter_id: str, fixed: bytes | None) -> Admission:
        """Admit the letter's bytes (or the fixed ones) again; the writer makes it durable."""
        ...

    def discard_dead_letter(self, letter_id: str) -> Admission: ...

    @property
    def rights(self) -> Rights:
        """What people ask for besides access and erasure."""
        ...

    @property
    def retention(self) -> RetentionDesk:
        """What is taken out when it is past its time."""
        ...

    @property
    def anonymous(self) -> AnonymousDesk:
        """Counts of people who refuse."""
        ...

    def holdings(self, identifier: str) -> dict[str, Any]:
        """Everything that is held about a person. Raises ``NotFound``."""
        ...

    def erasing(self, identifiers: Sequence[str], *, suppress: bool = False) -> Erasing:
        """An erasure that has not begun."""
        ...

    def erasure(self, erasure_id: str) -> Erasing | Receipt:
        """One that has: under way, or its receipt. Raises ``NotFound``."""
        ...

    def ready(self) -> dict[str, Any]:
        """``{"ready": bool, ...}`` with whatever an operator wants to see beside it."""
        ...

    def gauges(self) -> dict[str, float]:
        """Numbers for ``/metrics``, named without the prefix: ``checkpoint_age_seconds`` and the like."""
        ...


class ServedEngine(Core, Queries, Protocol):
    """Everything together."""
