"""A person as a decision sees them: the combination of the leaves of their identity component."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from opportune.clock import Millis
from opportune.events.event import Identifier
from opportune.identity.groups import current
from opportune.profiles.golden import golden
from opportune.profiles.history import history_before
from opportune.profiles.leaf import CartLine, Exposure, Leaf, Search, Touch, Trait
from opportune.profiles.likely import Kin, Likely
from opportune.profiles.rectified import put_right
from opportune.profiles.schema import ProfileSchema, trim
from opportune.profiles.session import SessionState, session_state, session_touches


class Company(Protocol):
    """What somebody's groups add to what is known of them."""

    def features(self, groups: Sequence[Identifier], now: Millis) -> Mapping[str, Any]: ...

    def exposed(
        self, groups: Sequence[Identifier], own: Mapping[str, Mapping[str, Millis]]
    ) -> Mapping[str, Mapping[str, Millis]]: ...


class Person:
    """A read-only view. With one leaf that holds anything it reads that leaf itself, so it is never older
    than the last event; with several it is their combination when it was built (see :class:`People`). What
    leaves know about links is not part of it: ask ``resolve`` for evidence. ``company`` tells of their
    groups and ``kin`` of who is probably the same, where somebody asks."""

    __slots__ = ("_features", "company", "groups", "identifiers", "kin", "leaf", "schema")

    def __init__(
        self, schema: ProfileSchema, identifiers: Sequence[Identifier], leaves: Sequence[Leaf]
    ) -> None:
        self.schema = schema
        self.identifiers = tuple(identifiers)
        self.groups: tuple[Identifier, ...] = ()
        self.company: Company | None = None
        self.kin: Kin | None = None
        held = [leaf for leaf in leaves if not leaf.empty] or leaves[:1]
        self.leaf = held[0] if len(held) == 1 else schema.combine(held)
        trim(self.leaf)
        if self.leaf.groups:
            self.groups = current(self.leaf.groups)
        self._features: tuple[tuple[int, Millis], dict[str, Any]] | None = None

    @property
    def known(self) -> bool:
        """Whether anything was ever folded."""
        return self.leaf.offset >= 0

    @property
    def recent(self) -> list[Touch]:
        """The last touches of items, oldest first, at most 64."""
        return [t for t in self.leaf.touches if t.item_id]

    def history(self, before: Millis) -> dict[str, list[Any]]:
        """What they did before a visit that began at ``before``; see :func:`history_before`."""
        leaf = self.leaf
        return history_before(leaf.touches, leaf.bought, leaf.dismissed, before)

    @property
    def searches(self) -> Sequence[Search]:
        """The last searches, oldest first, at most 8."""
        return self.leaf.searches

    @property
    def bought(self) -> Mapping[str, Millis]:
        """Item -> when it was last bought; the 500 newest."""
        return self.leaf.bought

    @property
    def dismissed(self) -> Mapping[str, Millis]:
        """Item -> when it was last dismissed; the 200 newest."""
        return self.leaf.dismissed

    @property
    def cart(self) -> dict[str, CartLine]:
        """What is in the cart, as far as the last event about each item tells."""
        return {item: line for item, line in self.leaf.cart.items() if line.quantity > 0}

    @property
    def exposures(self) -> Sequence[Exposure]:
        """The last decisions shown, oldest first, at most 20."""
        return self.leaf.exposures

    @property
    def exposed(self) -> Mapping[str, Mapping[str, Millis]]:
        """Experiment -> arm seen -> when first (see ``exposed.py``), by them and by their groups."""
        if self.company is None or not self.groups:
            return self.leaf.exposed
        return self.company.exposed(self.groups, self.leaf.exposed)

    @property
    def traits(self) -> dict[str, Any]:
        """Name -> the value that stands: by its rule, else the latest by event time. Withdrawn ones are left
        out."""
        return {name: t.value for name, t in self.golden.items() if t.value is not None}

    @property
    def golden(self) -> Mapping[str, Trait]:
        """Every trait with the value that stands, its source and time. What was put right stands first."""
        leaf = self.leaf
        traits: Mapping[str, Trait] = leaf.traits
        if leaf.told:
            traits = golden(traits, leaf.told, self.schema.survivorship)
        return put_right(traits, leaf.rectified) if leaf.rectified else traits

    def session(self, now: Millis, session_id: str = "") -> list[Touch]:
        """The touches of the current visit that are about items, oldest first. See ``session.py``."""
        found = session_touches(self.leaf.touches, now, session_id)
        return [t for t in found if t.item_id]

    def session_state(self, now: Millis, session_id: str = "") -> SessionState:
        """The current visit in numbers, with its intent. 5 us."""
        touches = session_touches(self.leaf.touches, now, session_id)
        started = touches[0].time if touches else now
        searches = [
            s
            for s in self.leaf.searches
            if (s.session_id == session_id if session_id and s.session_id else s.time >= started)
        ]
        return session_state(touches, searches, self.leaf.cart)

    def features(self, now: Millis) -> dict[str, Any]:
        """Every declared feature as of ``now``, and those of their groups where somebody asks."""
        own = self.own(now)
        if self.company is None or not self.groups:
            return own
        return {**self.company.features(self.groups, now), **own}

    def likely(self, least: float) -> Likely | None:
        """This person together with somebody who is at least so probably the same; see :mod:`likely`."""
        return None if self.kin is None else self.kin.likely(self, least)

    def own(self, now: Millis) -> dict[str, Any]:
        """Every declared feature as of ``now``; computed once per state and instant. 5 to 15 us."""
        key = (self.leaf.offset, now)
        if self._features is None or self._features[0] != key:
            self._features = (key, self.schema.read(self.leaf, now))
        return self._features[1]


class People:
    """Persons of several leaves, remembered while none of their leaves changed. Least recently used go."""

    def __init__(self, schema: ProfileSchema, capacity: int = 10_000) -> None:
        self._schema = schema
        self._capacity = capacity
        self._kept: OrderedDict[tuple[Identifier, ...], tuple[tuple[int, ...], Person]] = OrderedDict()

    def get(self, identifiers: Sequence[Identifier], leaves: Sequence[Leaf]) -> Person:
        """The person of these identifiers (a whole component) and their leaves, in the same order. 1 us when
        remembered, or when only one of the leaves holds more than links."""
        leaves = [leaf for leaf in leaves if not leaf.empty] or leaves[:1]
        if len(leaves) == 1:
            return Person(self._schema, identifiers, leaves)
        key = tuple(identifiers)
        offsets = tuple([leaf.offset for leaf in leaves])
        kept = self._kept.get(key)
        if kept is not None and kept[0] == offsets:
            self._kept.move_to_end(key)
            return kept[1]
        person = Person(self._schema, identifiers, leaves)
        self._kept[key] = (offsets, person)
        self._kept.move_to_end(key)
        if len(self._kept) > self._capacity:
            self._kept.popitem(last=False)
        return person

    def __len__(self) -> int:
        return len(self._kept)
