"""Events by which a person's rights are on record: what was put right, restricted, objected to.

They say something about the person and are nothing that the person did: no feature counts them, no model
learns from them, and only whoever may act for people may send them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, get_args

from opportune.events.event import Event

Right = Literal["rectify", "restrict", "lift", "object", "withdraw"]
"""``lift`` takes a restriction back, ``withdraw`` an objection."""
RIGHTS: tuple[Right, ...] = get_args(Right)

EVENT_OF: dict[Right, str] = {
    "rectify": "data_rectified",
    "restrict": "processing_restricted",
    "lift": "restriction_lifted",
    "object": "objection_made",
    "withdraw": "objection_withdrawn",
}
RIGHTS_EVENTS = frozenset(EVENT_OF.values())
RECTIFIED = EVENT_OF["rectify"]

RESERVED = "!"
"""What a category of consent begins with that only these events may say."""
RESTRICTION = RESERVED + "restriction"
MAX_USES = 8
_SAYS_NO = {EVENT_OF["restrict"]: False, EVENT_OF["lift"]: True, EVENT_OF["object"]: False,
            EVENT_OF["withdraw"]: True}  # fmt: skip


def choices_of(event: Event) -> Mapping[str, bool]:
    """A restriction or objection as words of consent; nothing for what was put right.

    >>> choices_of(Event("track", "objection_made", "m", "s", 0, 0, properties={"uses": ["train"]}))
    {'!train': False}
    """
    allowed = _SAYS_NO.get(event.name)
    if allowed is None:
        return {}
    if event.name in (EVENT_OF["restrict"], EVENT_OF["lift"]):
        return {RESTRICTION: allowed}
    uses = event.properties.get("uses")
    if not isinstance(uses, list | tuple):
        return {}
    return {f"{RESERVED}{use}": allowed for use in uses[:MAX_USES] if isinstance(use, str)}
