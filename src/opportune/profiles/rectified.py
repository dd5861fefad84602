"""What a person had put right: it stands over everything that was said and will be said about the trait.

Per trait the latest correction by event time, so no order of arrival and no merging of people changes it.
"""

from __future__ import annotations

from collections.abc import Mapping

from opportune.events.event import Event
from opportune.profiles.leaf import MAX_TEXT, MAX_TRAITS, Rectified, Trait

RECTIFIED_SOURCE = "rectified"
"""Who said a trait that was put right."""


def fold_rectified(known: dict[str, Rectified], event: Event) -> None:
    """One correction, in place. Of more traits than are kept of a person the alphabetically first stay."""
    said = event.properties
    name = said.get("trait")
    if not isinstance(name, str) or not 0 < len(name) <= MAX_TEXT:
        return
    one = Rectified(
        said.get("value"),
        event.time,
        event.message_id,
        str(said.get("who", event.source))[:MAX_TEXT],
        str(said.get("why", ""))[:MAX_TEXT],
        said.get("stands") is not False,
    )
    before = known.get(name)
    known[name] = one if before is None else _later(before, one)
    if len(known) > MAX_TRAITS:
        del known[max(known)]


def merge_rectified(a: Mapping[str, Rectified], b: Mapping[str, Rectified]) -> dict[str, Rectified]:
    """Both as one new map."""
    out = dict(a)
    for name, one in b.items():
        known = out.get(name)
        out[name] = one if known is None else _later(known, one)
    return {name: out[name] for name in sorted(out)[:MAX_TRAITS]} if len(out) > MAX_TRAITS else out


def put_right(traits: Mapping[str, Trait], corrections: Mapping[str, Rectified]) -> dict[str, Trait]:
    """The traits as they stand with the corrections."""
    out = dict(traits)
    for name, one in corrections.items():
        if one.stands:
            out[name] = Trait(one.value, one.time, RECTIFIED_SOURCE)
    return out


def _later(a: Rectified, b: Rectified) -> Rectified:
    return a if (a.time, a.message_id) >= (b.time, b.message_id) else b
