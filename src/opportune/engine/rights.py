"""A person's rights, exercised: what was wrong is put right, what is done with their data is restricted, uses
are objected to. Each is an event of the journal, so a rebuild knows it, and each can be taken back."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from opportune.engine.admission import Admission, tally
from opportune.engine.consent_gate import NOTES_WITHHELD
from opportune.engine.erasing import named
from opportune.engine.suppressing import suppress, suppression, unsuppress
from opportune.errors import InvalidRequest, NotFound
from opportune.events import verdicts
from opportune.events.consent import NOTHING, statement_of
from opportune.events.dedupe import digest
from opportune.events.event import Event, Identifier
from opportune.events.rights import EVENT_OF, RESERVED, RESTRICTION, Right
from opportune.events.verdicts import Verdict
from opportune.profiles.consent.policy import USES
from opportune.profiles.leaf import MAX_TEXT, Leaf
from opportune.profiles.traits import MAX_VALUE_BYTES
from opportune.stores.vault import Tombstone

if TYPE_CHECKING:
    from opportune.engine.engine import Engine

SOURCE = "rights"
"""The source that these events are accounted as."""
OBJECTABLE = tuple(use for use in USES if use != "collect")
"""Whoever wants nothing collected withdraws consent, or is suppressed."""


class Rights:
    """What people ask of one engine. On its thread."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def exercise(
        self,
        right: Right,
        identifier: str,
        *,
        who: str,
        why: str = "",
        trait: str = "",
        value: Any = None,
        uses: Sequence[str] = (),
    ) -> Admission:
        """One event, under the identifier that is named; what is taken back, under each identifier of the
        person that has it. ``rectify`` without a value says that there is none; ``withdraw`` with a ``trait``
        takes a correction back. Restrictions and objections hold when this returns; the engine's ``commit``
        makes everything durable.

        Raises :class:`NotFound` for somebody unknown and :class:`InvalidRequest`.
        """
        engine = self._engine
        key = named(identifier)
        members = engine.component(key).identifiers
        leaf = engine.state.leaf
        if all(leaf(name).offset < 0 for name in members):
            raise NotFound(
                "nobody is known by this identifier",
                seen=identifier,
                remedy="write it as type:value; to keep somebody out from the start, suppress them",
            )
        at: Sequence[Identifier] = (key,)
        said: dict[str, Any] = {"who": who, "why": why[:MAX_TEXT]}
        event = EVENT_OF[right]
        if right == "rectify" or (right == "withdraw" and trait):
            said |= _correction(trait, value)
            event = EVENT_OF["rectify"]
            if right == "withdraw":
                at = [n for n in members if trait in (known := leaf(n).rectified) and known[trait].stands]
                said["stands"] = False
        elif right in ("object", "withdraw"):
            said["uses"] = _uses(uses)
            if right == "withdraw":
                at = [n for n in members if any(_refuses(leaf(n), RESERVED + use) for use in said["uses"])]
        elif right == "lift":
            at = [n for n in members if _refuses(leaf(n), RESTRICTION)]
        if not at:
            raise InvalidRequest(
                "there is nothing to take back", seen=identifier, remedy="look at what holds for this person"
            )
        return self._noted(event, said, at)

    def _noted(self, name: str, said: dict[str, Any], at: Sequence[Identifier]) -> Admission:
        now = self._engine.clock()
        events = [
            Event(
                "track", name, secrets.token_hex(16), SOURCE, now, now, (one,),
                properties=said, withheld=NOTES_WITHHELD,
            )
            for one in at
        ]  # fmt: skip
        for event in events:
            if (statement := statement_of(event)) is not NOTHING:
                self._engine.consent.hear(event, statement)
        found = [Verdict(i, event.message_id, verdicts.STORED) for i, event in enumerate(events)]
        marks = [digest(event.source, event.message_id) for event in events]
        return Admission(found, [*events, tally(SOURCE, found)], marks, now)

    def of(self, identifier: str) -> dict[str, Any]:
        """What holds for a person now. Raises :class:`NotFound`."""
        profile = self._engine.profile(identifier)
        consent = profile["consent"]
        return {
            "id": profile["id"],
            "restricted": consent["restricted"],
            "objections": consent["objections"],
            "rectified": profile["rectified"],
            "uses": consent["uses"],
            "said": [one for one in consent["said"] if one["category"].startswith(RESERVED)],
        }

    def suppress(self, identifiers: Sequence[str], *, lift: bool = False) -> Tombstone:
        """Keep people out from now on, or with ``lift`` let them in again; see
        :mod:`opportune.engine.suppressing`. Durable when it returns. Raises :class:`InvalidRequest`."""
        return (unsuppress if lift else suppress)(self._engine, identifiers)

    def suppression(self, stone_id: str) -> Tombstone | None:
        """What :meth:`suppress` answered under this id; None when it did not."""
        return suppression(self._engine, stone_id)


def _refuses(leaf: Leaf, category: str) -> bool:
    word = None if leaf.consent is None else leaf.consent.choices.get(category)
    return word is not None and not word.allowed


def _uses(uses: Sequence[str]) -> list[str]:
    wrong = [use for use in uses if use not in OBJECTABLE]
    if wrong or not uses:
        raise InvalidRequest(
            "an objection names the uses that it is against",
            seen=list(uses),
            where="$.uses",
            remedy=f"one or more of {', '.join(OBJECTABLE)}",
        )
    return list(uses)


def _correction(trait: str, value: Any) -> dict[str, Any]:
    if not 0 < len(trait) <= MAX_TEXT:
        raise InvalidRequest(
            "a correction names the trait", seen=trait, where="$.trait", remedy="name one, for example city"
        )
    if len(msgspec.msgpack.encode(value)) > MAX_VALUE_BYTES:
        raise InvalidRequest(
            f"the value has more than {MAX_VALUE_BYTES} bytes", where="$.value", remedy="shorten it"
        )
    return {"trait": trait, "value": value}
