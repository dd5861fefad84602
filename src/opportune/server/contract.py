"""What the HTTP face needs from the engine, and what it gives back for a post."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, Protocol

import msgspec

from opportune.clock import Millis
from opportune.decide.request import DecideRequest, DecideResponse

RawItem = bytes | msgspec.Raw
"""One event as JSON text, exactly as it came."""

Status = Literal["stored", "duplicate", "rejected", "suppressed", "filtered"]


class Verdict(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """What became of one received event. ``letter_id`` names the dead letter of a rejected one."""

    status: Status
    message_id: str = ""
    code: str = ""
    reason: str = ""
    where: str = ""
    letter_id: str = ""


class Receipt(msgspec.Struct, frozen=True, gc=False):
    """The fate of one post, once it is on disk: ``received`` is the sum of the other counts."""

    received: int
    stored: int
    duplicate: int
    rejected: int
    suppressed: int = 0
    filtered: int = 0
    verdicts: list[Verdict] = []


class Admission(Protocol):
    """Events that passed the door but are not on disk yet. ``verdicts`` is parallel to the items admitted."""

    @property
    def verdicts(self) -> Sequence[Verdict]: ...


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
        sent_at: str | None,
        batch_context: dict[str, Any] | None,
    ) -> Admission:
        """Normalise, check, de-duplicate and stamp; never raises for what is in the items."""
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

    def profile(self, identifier: str) -> dict[str, Any]: ...

    def decision(self, decision_id: str) -> dict[str, Any]: ...

    def accounting(self) -> dict[str, Any]: ...

    def dead_letters(self, cursor: str, limit: int, code: str) -> dict[str, Any]: ...

    def replay_dead_letter(self, letter_id: str, fixed: bytes | None) -> Admission:
        """Admit the letter's bytes (or the fixed ones) again; the writer makes it durable."""
        ...

    def discard_dead_letter(self, letter_id: str) -> Admission: ...

    def ready(self) -> dict[str, Any]:
        """``{"ready": bool, ...}`` with whatever an operator wants to see beside it."""
        ...

    def gauges(self) -> dict[str, float]:
        """Numbers for ``/metrics``, named without the prefix: ``checkpoint_age_seconds`` and the like."""
        ...


class ServedEngine(Core, Queries, Protocol):
    """Everything together."""
