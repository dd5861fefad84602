"""Read-only questions: what faces show of people, decisions, events and the engine itself."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Sequence
from itertools import islice
from typing import Any

import msgspec

from opportune.catalog.items import Catalog
from opportune.clock import Clock, Millis
from opportune.decide.attribution import DecisionOutcomes
from opportune.decide.explain import explain
from opportune.decide.placement import Placements
from opportune.decide.request import DecisionRecord
from opportune.decide.whatif import WhatIf, what_if
from opportune.decide.world import World
from opportune.engine import keys
from opportune.engine.checkpoints import Checkpoints
from opportune.engine.company import Company
from opportune.engine.consent_gate import ConsentGate
from opportune.engine.groups import group_of, groups_of
from opportune.engine.kin import LikelyPeople
from opportune.engine.sealed import SealedEntries
from opportune.engine.state import State
from opportune.engine.tastes import taste
from opportune.engine.workspace import Workspace
from opportune.errors import NotFound
from opportune.events import dead_letters
from opportune.events.event import DeadLetter, Event
from opportune.events.identifiers import parse
from opportune.identity.components import Component, resolve
from opportune.identity.corrections import Together, together
from opportune.identity.links import UNLINKED
from opportune.privacy.sensitive import HIDDEN
from opportune.profiles.consent.policy import Use
from opportune.profiles.golden import told
from opportune.profiles.leaf import Leaf, Touch
from opportune.profiles.likely import dial
from opportune.profiles.person import Person
from opportune.stores.journal import Journal
from opportune.stores.records import RecordStore

DECISION_ID_CHARS = 24
_SEQ_CHARS = 12


class Queries:
    """The reading half of the engine. Nothing here changes state."""

    entries: SealedEntries
    journal: Journal
    store: RecordStore
    state: State
    workspace: Workspace
    clock: Clock
    consent: ConsentGate
    company: Company | None
    kin: LikelyPeople | None
    _checkpoints: Checkpoints
    _world: World

    @property
    def catalog(self) -> Catalog:
        """Every item, as it stands."""
        return self.state.catalog

    def profile(self, identifier: str, *, whole: bool = False) -> dict[str, Any]:
        """All that is known of the person with this identifier (``user_id:u1``), with the evidence of who
        they are; what is sensitive only when ``whole``. Raises :class:`NotFound`."""
        key = parse(identifier)
        component = self.component(key)
        leaves = [self.state.leaf(name) for name in component.identifiers]
        person = Person(self.state.person, component.identifiers, leaves)
        person.company, person.kin = self.company, self.kin
        if not key or not person.known:
            raise NotFound(
                "nobody is known by this identifier",
                seen=identifier,
                remedy="write it as type:value, for example user_id:u1",
            )
        now = self.clock()
        leaf = person.leaf
        found = self._profile(component, leaves, person, leaf, now)
        return found if whole else self._fenced(found)

    def _fenced(self, found: dict[str, Any]) -> dict[str, Any]:
        """A profile for colleagues: without what is sensitive."""
        fence = self.workspace.fence
        for name in fence.hidden("traits", "profiles"):
            for part in (found["traits"], found["rectified"]):
                if name in part:
                    part[name] = {**part[name], "value": HIDDEN, "said": []}
        found["features"] = fence.without_features(found["features"], "profiles")
        session = found["session"]
        session["features"] = fence.without_features(session["features"], "profiles")
        return found

    def _profile(
        self, component: Component, leaves: Sequence[Leaf], person: Person, leaf: Leaf, now: Millis
    ) -> dict[str, Any]:
        touches = person.session(now)
        return {
            "id": component.person_id,
            "identifiers": [
                {
                    "identifier": name,
                    "type": name.partition(":")[0],
                    "value": name.partition(":")[2],
                    "events": one.events,
                    "first_seen": one.first_seen if one.events else None,
                    "last_seen": one.newest if one.events else None,
                }
                for name, one in zip(component.identifiers, leaves, strict=True)
            ],
            "groups": list(groups_of(leaves)),
            "links": [link.to_dict() for link in component.links],
            "refused": [{**link.to_dict(), "reason": reason} for link, reason in component.refused],
            "traits": {
                name: {"value": t.value, "updated_at": t.time, "source_id": t.source} | self._told(name, leaf)
                for name, t in sorted(person.golden.items())
                if t.value is not None
            },
            "rectified": {name: msgspec.structs.asdict(one) for name, one in sorted(leaf.rectified.items())},
            "features": dict(person.own(now)),
            "taste": self._taste(component, person, now),
            "session": {
                **msgspec.to_builtins(person.session_state(now)),
                "touches": [_touch(t) for t in touches],
                "features": self._session_features(component, touches, now),
            },
            "recent": [_touch(t) for t in person.recent],
            "searches": [
                {"time": s.time, "query": s.query, "session_id": s.session_id} for s in person.searches
            ],
            "cart": {item: {"quantity": c.quantity, "price": c.price} for item, c in person.cart.items()},
            "bought": dict(person.bought),
            "dismissed": dict(person.dismissed),
            "exposures": [
                {
                    "decision_id": e.decision_id,
                    "placement": e.placement,
                    "time": e.time,
                    "items": list(e.item_ids),
                }
                for e in reversed(person.exposures)
            ],
            "consent": self.consent.standing(component.identifiers).to_dict()
            | {"said": _said(component.identifiers, leaves)},
            "events": dict(sorted(leaf.names.items())),
            "first_seen": leaf.first_seen if leaf.events else None,
            "last_seen": leaf.newest if leaf.events else None,
            "segments": self.workspace.segments.of(person.features(now), dial(person, now)),
        }

    def _session_features(
        self, component: Component, touches: Sequence[Touch], now: Millis
    ) -> dict[str, Any]:
        """The declared features of the current session, where it has an id, over all identifiers that it came
        under."""
        schema = self.state.session
        session_id = touches[-1].session_id if touches else ""
        if not schema.features or not session_id:
            return {}
        get = self.state.records.get
        found = [get(f"{keys.SESSION}{name}|{session_id}") for name in component.identifiers]
        known = [record for record in found if record.offset >= 0]
        return schema.read(schema.combine(known), now) if known else {}

    def _taste(self, component: Component, person: Person, now: Millis) -> dict[str, Any]:
        """Their own model, of who allows personalization."""
        if not self.consent.standing(component.identifiers).may(Use.PERSONALIZE):
            return {}
        return taste(self._world, person, self.catalog, now)

    def _told(self, name: str, leaf: Leaf) -> dict[str, Any]:
        """The rule of a trait, and all that was said of it; nothing for a trait without a rule."""
        rule = self.workspace.identity.traits.get(name)
        claims = leaf.told.get(name)
        return {} if rule is None or claims is None else {"rule": rule.keep, "said": list(told(claims))}

    def group(self, identifier: str) -> dict[str, Any]:
        """An account or a household; see :func:`opportune.engine.groups.group_of`."""
        return group_of(self, identifier)

    def component(self, identifier: str) -> Component:
        """Who is who around one identifier."""
        return resolve(identifier, lambda key: self.state.leaf(key).links, self.workspace.identity)

    def together(self, a: str, b: str) -> Together:
        """How two identifiers stand to each other: one person or not, and why."""
        return together(parse(a), parse(b), self.state.links_of, self.workspace.identity)

    def reviews(self, limit: int = 50) -> dict[str, Any]:
        """Links in quarantine that wait for somebody to decide, newest first; and whether there are more."""
        found = list(
            islice(self.state.reviews.pending(self.state.links_of, self.workspace.identity), limit + 1)
        )
        return {"reviews": [review.to_dict() for review in found[:limit]], "more": len(found) > limit}

    def corrections(self, limit: int = 50) -> list[dict[str, Any]]:
        """What was joined and taken apart by hand, newest first; ``undo`` is the action that takes the last
        word about two back, empty for what has been overtaken."""
        found: list[dict[str, Any]] = []
        said: set[tuple[str, str]] = set()
        for one in reversed(self.state.reviews.corrections):
            if len(found) == limit:
                break
            is_last = (one.a, one.b) not in said
            said.add((one.a, one.b))
            undo = ("merge" if one.action == UNLINKED else "unmerge") if is_last else ""
            found.append({**msgspec.structs.asdict(one), "undo": undo})
        return found

    def record(self, decision_id: str) -> DecisionRecord:
        """The journal's record of a decision. Raises :class:`NotFound`."""
        missing = NotFound("no such decision", seen=decision_id, remedy="decision ids come with the answers")
        if len(decision_id) != DECISION_ID_CHARS:
            raise missing
        try:
            found = self.entries.decode(self.journal.read(int(decision_id[:_SEQ_CHARS], 16)))
        except (ValueError, NotFound) as error:
            raise missing from error
        if not isinstance(found, DecisionRecord) or found.decision_id != decision_id:
            raise missing
        return found

    def decision(self, decision_id: str) -> dict[str, Any]:
        """A decision's record, its explanation, and what happened after it."""
        record = self._explicable(self.record(decision_id))
        outcomes: DecisionOutcomes = self.state.records.get(keys.OUTCOMES + decision_id)
        shown: dict[str, Any] = msgspec.to_builtins(record)
        return {**_named(record), "explanation": explain(record), "outcomes": outcomes.to_list()} | {
            "record": shown
        }

    def _explicable(self, record: DecisionRecord) -> DecisionRecord:
        """The record without what is sensitive."""
        fence = self.workspace.fence
        return msgspec.structs.replace(
            record,
            features=fence.without_features(record.features, "explanations"),
            context=fence.masked("context", record.context, "explanations"),
        )

    def what_if(
        self, placements: Placements, *, since: Millis, kinds: Collection[str] = (), limit: int = 5000
    ) -> WhatIf:
        """What the newest ``limit`` decisions from ``since`` on would have been with other placements, and
        what would have come of them. Reads the whole journal."""
        newest: deque[int] = deque(maxlen=limit)
        for seq, data in self.journal.scan(self.journal.first_seq):
            entry = self.entries.decode(data)
            if isinstance(entry, DecisionRecord) and entry.time >= since:
                newest.append(seq)
        return what_if(self._world, placements, map(self._with_outcomes, newest), kinds)

    def _with_outcomes(self, seq: int) -> tuple[DecisionRecord, DecisionOutcomes]:
        record = self.entries.decode(self.journal.read(seq))
        assert isinstance(record, DecisionRecord)
        return record, self.state.records.get(keys.OUTCOMES + record.decision_id)

    def accounting(self) -> dict[str, Any]:
        """What became of every received event; the sums agree."""
        return self.state.accounting.to_dict()

    def dead_letters(
        self, cursor: str = "", limit: int = 50, code: str = "", source: str = ""
    ) -> dict[str, Any]:
        """One page of open dead letters, newest first."""
        page = self.state.dead_letters.page(cursor=cursor, limit=limit, code=code, source=source)
        return dead_letters.listing(page, self.state.dead_letters)

    def letter(self, letter_id: str) -> DeadLetter:
        """One open dead letter, whole. Raises :class:`NotFound`."""
        kept = self.state.dead_letters.get(letter_id)
        if kept is None:
            raise NotFound("no open dead letter has this id", seen=letter_id, remedy="list the dead letters")
        if kept.is_whole:
            return kept.letter
        found = self.entries.decode(self.journal.read(kept.offset))
        assert isinstance(found, DeadLetter)
        return found

    def recent_events(self, limit: int = 50, after_seq: int = 0) -> list[dict[str, Any]]:
        """The newest events, newest first, with their journal sequence; at most 500."""
        found: list[dict[str, Any]] = []
        for seq in reversed(self.state.recent_events):
            if seq <= after_seq or len(found) >= limit:
                break
            event = self.entries.decode(self.journal.read(seq))
            if isinstance(event, Event):
                named = _named(event)
                for part in ("traits", "properties", "context"):
                    named[part] = self.workspace.fence.masked(part, named[part], "profiles")
                found.append({"seq": seq, **named})
        return found

    def recent_decisions(self, limit: int = 50, after_seq: int = 0) -> list[dict[str, Any]]:
        """The newest decisions, newest first: who, where, how many items, how long."""
        found: list[dict[str, Any]] = []
        for seq in reversed(self.state.recent_decisions):
            if seq <= after_seq or len(found) >= limit:
                break
            record = self.entries.decode(self.journal.read(seq))
            if isinstance(record, DecisionRecord):
                found.append(
                    {
                        "seq": seq,
                        "decision_id": record.decision_id,
                        "placement": record.placement,
                        "time": record.time,
                        "identifiers": list(record.identifiers),
                        "items": record.candidates[: record.shown],
                        "reasons": [msgspec.to_builtins(r) for r in record.reasons],
                        "degraded": record.degraded,
                        "took_ms": record.took_ms,
                    }
                )
        return found

    def ready(self) -> dict[str, Any]:
        return {
            "ready": True,
            "journal_seq": self.journal.durable_seq - 1,
            "checkpoint_seq": self.store.offset,
        }

    def gauges(self) -> dict[str, float]:
        """Numbers for ``/metrics``, named without the prefix."""
        state = self.state
        return {
            "journal_entries": float(self.journal.next_seq - 1),
            "journal_unflushed_entries": float(self.journal.next_seq - self.journal.durable_seq),
            "checkpoint_age_seconds": self._checkpoints.age_ms / 1000,
            "checkpoint_lag_entries": float(state.next_seq - max(self.store.offset, 1)),
            "records_cached": float(state.records.cached_count),
            "records_dirty": float(state.records.dirty_count),
            "catalog_items": float(len(state.catalog)),
            "interactions": float(len(state.models.log)),
            "dead_letters_open": float(len(state.dead_letters.kept)),
        }

    def status(self) -> dict[str, Any]:
        """The engine at a glance."""
        return {
            **self.ready(),
            "items": len(self.catalog),
            "interactions": len(self.state.models.log),
            "sessions": self.state.models.log.sessions,
            "definitions": self.workspace.revision,
            "placements": [p.name for p in self.workspace.placements],
            "gauges": self.gauges(),
        }


def _said(identifiers: Sequence[str], leaves: Sequence[Leaf]) -> list[dict[str, Any]]:
    """Every word on consent that is remembered, with its evidence."""
    return [
        {"identifier": name, "category": category, **msgspec.structs.asdict(choice)}
        for name, leaf in zip(identifiers, leaves, strict=True)
        if leaf.consent is not None
        for category, choice in sorted(leaf.consent.choices.items())
    ]


def _touch(touch: Any) -> dict[str, Any]:
    return {"time": touch.time, "item_id": touch.item_id, "kind": touch.kind, "session_id": touch.session_id}


def _named(struct: msgspec.Struct) -> dict[str, Any]:
    """A struct that travels as an array, with its field names again."""
    return {name: msgspec.to_builtins(getattr(struct, name)) for name in struct.__struct_fields__}
