"""Everything that is held about a person, as plain JSON: for their right of access and of portability."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from opportune.engine.erasing import named
from opportune.engine.erasure import trace
from opportune.events import dead_letters
from opportune.events.event import DeadLetter
from opportune.privacy.needles import needles

if TYPE_CHECKING:
    from opportune.engine.engine import Engine

_NOT_THEIRS = ("slot", "withheld")


def holdings(engine: Engine, identifier: str) -> dict[str, Any]:
    """``profile`` (with links and their evidence, traits with their sources, consent with its evidence),
    ``events``, ``decisions`` (with the experiments' arms) and ``dead_letters``, oldest first, each with its
    journal number. O(journal). Raises :class:`NotFound` for somebody unknown."""
    key = named(identifier)
    engine.settle()
    profile = engine.profile(key, whole=True)
    members = engine.component(key).identifiers
    slots = {slot for name in members if (slot := engine.state.leaf(name).slot) >= 0}
    traced = trace(engine.journal, engine.entries, members, slots, patterns=needles(members))
    theirs = set(traced.seqs)
    found: dict[str, list[dict[str, Any]]] = {"e": [], "d": [], "x": []}
    for seq, data in engine.journal.scan_all():
        if seq not in theirs:
            continue
        entry = engine.entries.decode(data)
        if isinstance(entry, DeadLetter):
            found["x"].append({"seq": seq, **dead_letters.to_dict(entry)})
            continue
        fields = {
            name: msgspec.to_builtins(getattr(entry, name))
            for name in entry.__struct_fields__
            if name not in _NOT_THEIRS
        }
        found["d" if "decision_id" in fields and "placement" in fields else "e"].append(
            {"seq": seq, **fields}
        )
    return {
        "identifiers": list(members),
        "profile": profile,
        "events": found["e"],
        "decisions": found["d"],
        "dead_letters": found["x"],
    }
