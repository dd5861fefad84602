"""What the pages ask the engine; one function per page, from a request's words to plain JSON."""

from __future__ import annotations

import base64
import contextlib
from collections import Counter
from collections.abc import Mapping
from typing import Any, Protocol

import msgspec

from opportune.catalog.items import Catalog
from opportune.clock import Clock
from opportune.console.proposals import waiting
from opportune.console.pulse import Pulse
from opportune.engine.admission import Admission
from opportune.engine.anonymous_desk import AnonymousDesk
from opportune.engine.minimising import Minimisation
from opportune.engine.rights import Rights
from opportune.engine.state import State
from opportune.engine.workspace import Workspace
from opportune.errors import InvalidRequest, NotFound
from opportune.events import dead_letters
from opportune.events.event import DeadLetter
from opportune.events.identifiers import ORDER
from opportune.experiments.bandits.picture import picture
from opportune.experiments.switch import listed
from opportune.identity.corrections import Action, Together
from opportune.identity.likely import Proposal
from opportune.stores.likely import PROPOSALS, LikelyStore
from opportune.stores.simulated import Simulated

LIVE_ROWS = 100
SCANNED = 500
LATELY = 200
"""Events read for the list of people: reading one takes some 60 us."""


class Engine(Protocol):
    """The read-only half of the engine, and the two verbs of dead letters."""

    clock: Clock
    workspace: Workspace
    state: State

    @property
    def catalog(self) -> Catalog: ...

    def profile(self, identifier: str) -> dict[str, Any]: ...

    def decision(self, decision_id: str) -> dict[str, Any]: ...

    def accounting(self) -> dict[str, Any]: ...

    def dead_letters(
        self, cursor: str = "", limit: int = 50, code: str = "", source: str = ""
    ) -> dict[str, Any]: ...

    def letter(self, letter_id: str) -> DeadLetter: ...

    def recent_events(self, limit: int = 50, after_seq: int = 0) -> list[dict[str, Any]]: ...

    def recent_decisions(self, limit: int = 50, after_seq: int = 0) -> list[dict[str, Any]]: ...

    def status(self) -> dict[str, Any]: ...

    def models(self) -> list[dict[str, Any]]: ...

    def minimisation(self) -> Minimisation: ...

    def simulated(self, experiment: str) -> Simulated | None: ...

    def replay_dead_letter(self, letter_id: str, fixed: bytes | None = None) -> Admission: ...

    def discard_dead_letter(self, letter_id: str) -> Admission: ...

    @property
    def rights(self) -> Rights: ...

    @property
    def anonymous(self) -> AnonymousDesk: ...

    def commit(self, admission: Admission) -> None: ...

    def together(self, a: str, b: str) -> Together: ...

    def reviews(self, limit: int = 50) -> dict[str, Any]: ...

    def corrections(self, limit: int = 50) -> list[dict[str, Any]]: ...

    def relink(self, a: str, b: str, action: Action, *, who: str, why: str = "") -> Admission: ...


Query = Mapping[str, str]


class Desk:
    """Answers for every page. Times are milliseconds; ``now`` is in every answer that shows ages."""

    def __init__(self, engine: Engine, likely: LikelyStore | None = None) -> None:
        self.engine = engine
        self._likely = likely
        self.clock = engine.clock
        self.pulse = Pulse(engine.recent_events, engine.recent_decisions, engine.clock)

    def overview(self, query: Query) -> dict[str, Any]:
        """The state of the engine at a glance."""
        reading = self.pulse.read()
        decisions = self.engine.recent_decisions(50)
        letters = self.engine.dead_letters("", 1)
        return {
            "now": self.clock(),
            "status": self.engine.status(),
            "events_per_s": reading.events_per_s,
            "decisions_per_s": reading.decisions_per_s,
            "decision_p50_ms": reading.p50_ms,
            "decision_p99_ms": reading.p99_ms,
            "events_by_second": reading.events,
            "decisions_by_second": reading.decisions,
            "accounting": self.engine.accounting(),
            "dead_letters": letters["summary"],
            "placements": dict(Counter(d["placement"] for d in decisions).most_common(8)),
            "degraded": dict(Counter(stage for d in decisions for stage in d["degraded"]).most_common(8)),
            "decisions": decisions[:6],
            "events": [self._event(e) for e in self.engine.recent_events(6)],
        }

    def events(self, query: Query) -> dict[str, Any]:
        """The newest events, filtered by words that must all occur in name, kind, identifier, source,
        item."""
        after = whole(query, "after", 0)
        wanted = query.get("q", "").lower().split()
        found = self.engine.recent_events(SCANNED if wanted else LIVE_ROWS, after)
        newest = found[0]["seq"] if found else after
        events = [self._event(e) for e in found]
        if wanted:
            events = [e for e in events if all(word in e["words"] for word in wanted)]
        for event in events:
            del event["words"]
        return {
            "now": self.clock(),
            "newest": newest,
            "query": query.get("q", ""),
            "events": events[:LIVE_ROWS],
        }

    def people(self, query: Query) -> dict[str, Any]:
        """Who was active lately; with ``q``, the identifiers that this value is known as."""
        wanted = query.get("q", "").strip()
        active: dict[str, dict[str, Any]] = {}
        for event in self.engine.recent_events(LATELY):
            for identifier in event["identifiers"][:1]:
                person = active.setdefault(
                    identifier,
                    {
                        "identifier": identifier,
                        "events": 0,
                        "last": event["time"],
                        "last_event": event["name"],
                    },
                )
                person["events"] += 1
        return {
            "now": self.clock(),
            "query": wanted,
            "found": self._known_as(wanted),
            "active": list(active.values())[:50],
        }

    def person(self, identifier: str) -> dict[str, Any]:
        """Everything about one person, with the names of the items that occur."""
        profile = self.engine.profile(identifier)
        items = {t["item_id"] for t in (*profile["recent"], *profile["session"]["touches"])}
        items.update(profile["cart"], profile["dismissed"], list(profile["bought"])[:50])
        for exposure in profile["exposures"]:
            items.update(exposure["items"])
        for side in ("toward", "away"):
            items.update(t["item_id"] for t in profile["taste"].get(side, ()))
        return {"now": self.clock(), "asked": identifier, **profile, "names": self._names(items)}

    def identity(self, query: Query) -> dict[str, Any]:
        """What waits for review, who is likely one, what was done by hand, and how the two that are asked for
        stand."""
        a, b = query.get("a", "").strip(), query.get("b", "").strip()
        return {
            "now": self.clock(),
            "a": a,
            "b": b,
            "pair": self._pair(a, b) if a and b else None,
            **self.engine.reviews(50),
            "likely": waiting(self.proposals(), self.engine.together, self.engine.workspace.identity),
            "corrections": self.engine.corrections(50),
        }

    def proposals(self) -> list[Proposal]:
        """As the command that made them left them."""
        return [] if self._likely is None else self._likely.read(PROPOSALS, list[Proposal]) or []

    def _pair(self, a: str, b: str) -> dict[str, Any]:
        found = self.engine.together(a, b)
        others = self.engine.together(b, a).members
        return {**found.to_dict(), "others": list(others)}

    def decisions(self, query: Query) -> dict[str, Any]:
        """The newest decisions, of one placement where asked."""
        placement = query.get("placement", "")
        found = self.engine.recent_decisions(SCANNED if placement else LIVE_ROWS)
        if placement:
            found = [d for d in found if d["placement"] == placement]
        return {
            "now": self.clock(),
            "placement": placement,
            "placements": [p.name for p in self.engine.workspace.placements],
            "decisions": found[:LIVE_ROWS],
        }

    def decision(self, decision_id: str) -> dict[str, Any]:
        """One decision, with the names of the items that occur."""
        found = self.engine.decision(decision_id)
        explanation = found["explanation"]
        items = {c["item_id"] for c in explanation["candidates"]}
        items.update(c["because"] for c in explanation["candidates"] if c.get("because"))
        items.update(t["item_id"] for t in explanation["session"])
        items.update(item for removed in explanation["removed"] for item in removed["examples"])
        _tell(explanation["candidates"], found["reasons"], found["inputs"].get("reason_of"))
        return {"now": self.clock(), **found, "names": self._names(items)}

    def accounting(self, query: Query) -> dict[str, Any]:
        """The sums, and one page of the dead letters."""
        return {
            "now": self.clock(),
            **self.engine.accounting(),
            "code": query.get("code", ""),
            "source": query.get("source", ""),
            "dead_letters": self.engine.dead_letters(
                query.get("cursor", ""), 25, query.get("code", ""), query.get("source", "")
            ),
        }

    def letter(self, letter_id: str) -> dict[str, Any]:
        """One dead letter, whole."""
        return {"now": self.clock(), **dead_letters.to_dict(self.engine.letter(letter_id))}

    def placements(self, query: Query) -> dict[str, Any]:
        """The definitions as they are in force."""
        workspace = self.engine.workspace
        return {
            "definitions": workspace.revision,
            "placements": [msgspec.to_builtins(p, str_keys=True) for p in workspace.placements],
        }

    def models(self, query: Query) -> dict[str, Any]:
        """Versions of every kind of model, and what the shadow has found."""
        return {"now": self.clock(), "models": self.engine.models()}

    def experiments(self, query: Query) -> dict[str, Any]:
        """What is tried, as it is declared and as it stands."""
        return {
            "definitions": self.engine.workspace.revision,
            "experiments": listed(self.engine.workspace.experiments, self.engine.state.switches),
        }

    def minimise(self, query: Query) -> dict[str, Any]:
        """What is declared about people, and what reads it and gains from it."""
        return self.engine.minimisation().told()

    def anonymous(self, query: Query) -> dict[str, Any]:
        """People who refuse, counted."""
        return self.engine.anonymous.report()

    def bandit(self, experiment_id: str) -> dict[str, Any]:
        """An experiment whose traffic follows the rewards. Raises :class:`NotFound`."""
        experiment = self.engine.workspace.experiments.get(experiment_id)
        bandits, allocation = self.engine.state.bandits, experiment.bandit
        if allocation is None or experiment.id not in bandits.running:
            raise NotFound("this experiment has no bandit", seen=experiment_id, remedy="read its report")
        found = picture(bandits, experiment.id, self.engine.clock())
        arms = bandits.running[experiment.id].bandit.arms
        policy = type(allocation.policy).__name__
        return {
            "experiment": {"id": experiment.id, "name": experiment.name or experiment.id},
            "policy": f"Its policy is {policy}, every arm keeps {allocation.floor:.0%}",
            "reward": f"{allocation.reward or 'any outcome'} within {allocation.within_hours:g} h",
            "contextual": bool(allocation.features),
            "mode": found.mode,
            "bandit": found,
            "simulated": self.engine.simulated(experiment.id),
            "shares": [(arm, [100 * shares[arm] for _, shares in found.traffic]) for arm in arms],
        }

    def _known_as(self, wanted: str) -> list[str]:
        kind, colon, _ = wanted.partition(":")
        tries = [wanted] if colon else []
        if wanted and not (colon and kind in ORDER):
            tries += [f"{kind}:{wanted}" for kind in ORDER if kind != "external"]
        found = []
        for identifier in tries:
            with contextlib.suppress(NotFound):
                self.engine.profile(identifier)
                found.append(identifier)
        return found

    def _event(self, event: dict[str, Any]) -> dict[str, Any]:
        lines = event.pop("lines")
        items = [{"item_id": line[0], "quantity": line[1], "price": line[2]} for line in lines]
        words = " ".join(
            (
                event["name"],
                event["kind"],
                event["source"],
                *event["identifiers"],
                *(i["item_id"] for i in items),
            )
        )
        names = self._names({items[0]["item_id"]}) if items else {}
        return {**event, "items": items, "names": names, "words": words.lower()}

    def _names(self, items: set[str]) -> dict[str, str]:
        catalog = self.engine.catalog
        numbers = {item: catalog.number(item) for item in sorted(items)}
        return {item: catalog.name(number) for item, number in numbers.items() if number >= 0}


def _tell(candidates: list[dict[str, Any]], reasons: list[dict[str, Any]], index: Any) -> None:
    """Put the reason that was told beside each shown candidate. The record keeps every distinct reason once,
    and one byte per shown item (base64 in JSON) that points to it."""
    which = base64.b64decode(index) if isinstance(index, str) else bytes(range(len(reasons)))
    shown = [candidate for candidate in candidates if candidate["shown_at"]]
    for candidate, at in zip(shown, which, strict=False):
        if at < len(reasons):
            candidate["reason"] = reasons[at]["text"]


def whole(query: Query, name: str, default: int) -> int:
    text = query.get(name, "")
    if not text:
        return default
    if not (text.isascii() and text.isdigit() and len(text) <= 16):
        raise InvalidRequest(
            f"{name} must be a whole number", seen=text, where=f"?{name}", remedy="change it"
        )
    return int(text)
