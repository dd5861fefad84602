"""An event that cannot be stored: why, and where in it."""

from __future__ import annotations

from typing import Any

from opportune.errors import InvalidRequest

UNREADABLE = "unreadable"
TOO_LARGE = "too_large"
TOO_DEEP = "too_deep"
WRONG_TYPE = "wrong_type"
UNKNOWN_TYPE = "unknown_type"
MISSING_FIELD = "missing_field"
NO_IDENTIFIER = "no_identifier"
BAD_TIME = "bad_time"
PLAN_VIOLATION = "plan_violation"
NOT_ALLOWED = "not_allowed"

CODES = (
    UNREADABLE,
    TOO_LARGE,
    TOO_DEEP,
    WRONG_TYPE,
    UNKNOWN_TYPE,
    MISSING_FIELD,
    NO_IDENTIFIER,
    BAD_TIME,
    PLAN_VIOLATION,
    NOT_ALLOWED,
)
"""Every reason code that a dead letter can carry: a closed set, fit for a metric's label."""


class Rejected(InvalidRequest):
    """One event of a request is refused and goes to the dead letters; the rest of the request is unharmed.

    ``code`` is one of :data:`CODES`, ``what`` the reason in words, ``where`` a JSON path into the event.
    """

    code: str  # type: ignore[misc]  # each rejection carries its own code; the error tree fixes one per class

    def __init__(
        self, code: str, reason: str, where: str = "$", *, seen: Any = ..., remedy: str = ""
    ) -> None:
        if seen is ...:
            super().__init__(reason, where=where, remedy=remedy)
        else:
            super().__init__(reason, where=where, remedy=remedy, seen=seen)
        self.code = code

    @property
    def reason(self) -> str:
        """What was wrong and what was seen, without the place."""
        return f"{self.what}, saw {self.seen!r}" if self.has_seen else self.what
