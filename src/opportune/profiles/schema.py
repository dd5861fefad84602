"""A compiled feature set for one entity: the fold that turns events into leaves, and leaves into values."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import copy
from hashlib import blake2b
from typing import Any

from opportune.clock import MINUTE, Millis
from opportune.errors import InvalidDefinition
from opportune.events.event import Event, Line
from opportune.identity.groups import (
    MAX_GROUPS,
    MAX_MEMBERS,
    fold_groups,
    fold_member,
    is_group,
    merge_groups,
)
from opportune.identity.links import add as add_link
from opportune.identity.links import fold_links
from opportune.identity.survivorship import Survivorship
from opportune.profiles import codec
from opportune.profiles.definitions import Entity, Feature, FeatureSet, default_features
from opportune.profiles.exposed import expose, merge_exposed
from opportune.profiles.golden import combine_told, fold_told
from opportune.profiles.leaf import (
    MAX_BOUGHT,
    MAX_CART,
    MAX_DISMISSED,
    MAX_EXPOSURES,
    MAX_NAMES,
    MAX_SEARCHES,
    MAX_SHOWN,
    MAX_TEXT,
    MAX_TOUCHES,
    MAX_TRAITS,
    NEVER,
    CartLine,
    Exposure,
    Leaf,
    Search,
    Touch,
)
from opportune.profiles.plan import Plan, Slot, apply
from opportune.profiles.recent import (
    count_name,
    keep_greatest,
    keep_last,
    merge_greatest,
    merge_last,
    merge_names,
    trim_greatest,
)
from opportune.profiles.rectified import fold_rectified, merge_rectified
from opportune.profiles.traits import fold_traits, merge_traits
from opportune.profiles.windows import (
    LEVEL_BITS,
    LEVEL_MASK,
    LEVELS,
    OLD,
    Window,
    expires,
    oldest_kept,
    row_key,
    row_start,
    spans_of,
)

_PLANS_REMEMBERED = 4_096
_LAYOUT_BYTES = 4
SLACK_MINUTES = 30
"""How long rows may wait before they roll up, so that rolling up costs next to nothing per event."""
_BEFORE_ALL = -(1 << 61)
_NOBODYS: Any = ({}, [], {}, {}, {}, [], [], {}, {}, {})
"""``names`` to ``exposed`` of a leaf that is no person's. Never changed."""
_Read = tuple[str, int, Callable[[Any, Millis], Any]]


class ProfileSchema:
    """``zero / fold / combine / read`` of leaves, plus their bytes.

    An event updates one row of accumulators, those that its name concerns, and the bounded lists. Reading and
    combining cost O(rows), and rows are at most 60 + 48 + 92 + 1, usually under ten.
    """

    def __init__(self, features: Iterable[Feature], entity: Entity = "person") -> None:
        self.entity = entity
        self.features = tuple(features)
        self._of_item = entity == "item"
        self._of_person = entity == "person"
        self._row_slots: list[Slot] = []
        self._life_slots: list[Slot] = []
        for feature in self.features:
            slots = self._row_slots if feature.windowed else self._life_slots
            slots.append(Slot(feature, len(slots)))
        self._slots = [*self._row_slots, *self._life_slots]
        self.spans = spans_of([w for s in self._row_slots for w in s.feature.parsed_windows()])
        self._zero_row = [s.accumulator.zero for s in self._row_slots]
        self._zero_life = [s.accumulator.zero for s in self._life_slots]
        self._complex_row = [(s.index, s.accumulator) for s in self._row_slots if not s.accumulator.plain]
        self._complex_life = [(s.index, s.accumulator) for s in self._life_slots if not s.accumulator.plain]
        self._row_adding, self._row_merging = _merging(self._row_slots)
        self._life_adding, self._life_merging = _merging(self._life_slots)
        self.layout = b"".join(_mark(s.feature) for s in self._slots)
        if len({_mark(s.feature) for s in self._slots}) < len(self._slots):
            raise InvalidDefinition(
                "two features have the same fingerprint",
                seen=[f.name for f in self.features],
                where="$.features",
                remedy="rename one of them",
            )
        self.scores: dict[str, Callable[[dict[str, Any]], Any]] = {}
        self.survivorship: Mapping[str, Survivorship] = {}
        self._plans: dict[str, Plan] = {}
        self._compile_reads()

    @classmethod
    def of(cls, features: FeatureSet, entity: Entity) -> ProfileSchema:
        return cls(features.of(entity), entity)

    @classmethod
    def default(cls, entity: Entity = "person") -> ProfileSchema:
        return cls.of(default_features(), entity)

    @property
    def outputs(self) -> list[str]:
        """The names of everything that :meth:`read` gives, in order."""
        return [output for feature in self.features for output in feature.outputs]

    def zero(self) -> Leaf:
        if self._of_person:
            return Leaf(self.layout, self._zero_life.copy(), {})
        # The lists and maps of a person stay empty here, so they can be the same ones for everybody.
        names, touches, bought, cart, dismissed, searches, exposures, traits, links, exposed = _NOBODYS
        return Leaf(
            self.layout, self._zero_life.copy(), {}, -1, -NEVER, NEVER,
            names, touches, bought, cart, dismissed, searches, exposures, traits, links, exposed,
        )  # fmt: skip

    # fold ---------------------------------------------------------------------------------------------

    def fold(self, leaf: Leaf, event: Event, seq: int, of_item: Sequence[Line] | None = None) -> bool:
        """One event into the leaf, in place; the caller has checked ``seq > leaf.offset``. Answers whether
        the event says anything new of who is who.

        The leaf is that of the event's strongest identifier (or session). For an item's leaf ``of_item`` are
        the lines of the event that are about it (default: the first). Links, touches, traits and the other
        lists are a person's only; items and sessions have features. 4 to 5 us with the default features.
        """
        leaf.offset = seq
        name = event.name
        plan = self._plans.get(name) or self._plan(name)
        of_person = self._of_person
        relinked = (
            of_person and len(event.identifiers) > 1 and fold_links(leaf.links, event, event.identifiers[0])
        )
        if plan.is_note:
            if plan.rectifies and of_person:
                fold_rectified(leaf.rectified, event)
            return relinked
        time = event.time
        minute = time // MINUTE
        newest = leaf.newest
        if time > newest:
            leaf.newest = newest = time
            if minute >= leaf.due:
                self._roll(leaf)
        if time < leaf.first_seen:
            leaf.first_seen = time
        lines: Sequence[Line] = event.lines
        if self._of_item and len(lines) > 1:
            lines = of_item if of_item is not None else lines[:1]
        if plan.row.any:
            # A row of this minute that should have rolled up by now does so when the leaf is settled.
            row = leaf.rows.get(minute * LEVELS)
            if row is None:
                row = self._row(leaf, time, newest)
            apply(row, plan.row, event, lines, time)
        if plan.life.any:
            apply(leaf.life, plan.life, event, lines, time)
        if not of_person:
            return False
        names = leaf.names
        known = names.get(name)
        if known is not None:
            names[name] = known + 1
        else:
            count_name(names, name, MAX_NAMES)
        if plan.touch:
            self._touch(leaf, event, plan.touch)
        elif plan.searches:
            if event.query:
                search = Search(time, event.query[:MAX_TEXT], event.session_id)
                keep_last(leaf.searches, search, MAX_SEARCHES)
        elif plan.dismisses:
            for line in lines:
                keep_greatest(leaf.dismissed, line.item_id, time, MAX_DISMISSED)
        if len(event.identifiers) > 1 and is_group(event.identifiers[-1]):
            fold_groups(leaf.groups, event)
        if event.traits and event.kind != "group":
            fold_traits(leaf.traits, event.traits, time, event.source, MAX_TRAITS)
            if self.survivorship:
                fold_told(leaf.told, event.traits, time, event.source, self.survivorship)
        return relinked

    def concerns(self, event_name: str) -> bool:
        """Whether any feature looks at events of this name."""
        plan = self._plans.get(event_name) or self._plan(event_name)
        return plan.row.any or plan.life.any

    def fold_link(self, leaf: Leaf, event: Event, key: str, seq: int) -> bool:
        """For the leaves of the event's *other* identifiers: what the event says about who ``key``, the
        owner of this leaf, is; answers whether it is new. Touches nothing else. 1 us."""
        leaf.offset = seq
        if is_group(key):
            fold_member(leaf.members, event)
        return fold_links(leaf.links, event, key)

    def fold_decision(
        self, leaf: Leaf, record_id: str, placement: str, time: Millis, item_ids: Sequence[str], seq: int
    ) -> None:
        """A decision that was shown to the leaf's owner; the last 20 are kept."""
        leaf.offset = seq
        shown = Exposure(time, record_id, placement, tuple(item_ids[:MAX_SHOWN]))
        keep_last(leaf.exposures, shown, MAX_EXPOSURES)

    def fold_exposure(self, leaf: Leaf, key: str, arm: str, time: Millis) -> None:
        """An arm of an experiment that the leaf's owner saw, by a decision that is being folded in."""
        expose(leaf.exposed, key, arm, time)

    def _plan(self, name: str) -> Plan:
        plan = Plan(name, self._slots)
        if len(self._plans) < _PLANS_REMEMBERED:
            self._plans[name] = plan
        return plan

    def _touch(self, leaf: Leaf, event: Event, kind: str) -> None:
        time = event.time
        session_id = event.session_id
        if kind == "checkout" or kind == "coupon":
            keep_last(leaf.touches, Touch(time, "", kind, session_id), MAX_TOUCHES)
            return
        touches = leaf.touches
        for line in event.lines:
            item_id = line.item_id
            touch = Touch(time, item_id, kind, session_id)
            if touches and time > touches[-1].time and len(touches) < MAX_TOUCHES:
                touches.append(touch)
            else:
                keep_last(touches, touch, MAX_TOUCHES)
            if kind == "view" or kind == "wish":
                continue
            if kind == "buy":
                keep_greatest(leaf.bought, item_id, time, MAX_BOUGHT)
            price = -1.0 if line.price is None else line.price
            quantity = line.quantity if kind == "cart" else 0.0
            keep_greatest(leaf.cart, item_id, CartLine(time, quantity, price), MAX_CART)

    # rows ---------------------------------------------------------------------------------------------

    def settle(self, leaf: Leaf) -> None:
        """Bring the leaf into its normal form, in place: folding lets rows and maps run over a little, as
        tidying for every event would cost more than the event. 0.3 us when there is nothing to tidy."""
        if leaf.newest // MINUTE >= leaf.due - SLACK_MINUTES:
            self._roll(leaf)
        trim(leaf)

    def _row(self, leaf: Leaf, time: Millis, newest: Millis) -> list[Any]:
        """The row for an event at ``time``, made if need be; there is none of its minute yet."""
        minute = time // MINUTE
        within = self.spans[0]
        if newest // MINUTE - minute <= within:
            # What row_key() and expires() would say, for nearly every event.
            key, due = minute * LEVELS, minute + within + 1
            row = None
        else:
            key = row_key(time, newest, self.spans)
            due = expires(key, self.spans)
            row = leaf.rows.get(key)
        if row is None:
            row = leaf.rows[key] = self._zero_row.copy()
            due += SLACK_MINUTES
            if due < leaf.due:
                leaf.due = due
        return row

    def _roll(self, leaf: Leaf) -> None:
        """Move rows to the level that their age deserves now. O(rows), at most every half hour of event time;
        until then rows have more detail than they need, which no reading can tell."""
        rows = leaf.rows
        spans = self.spans
        newest = leaf.newest
        limits = oldest_kept(newest, spans)
        expired = [key for key in rows if key >> LEVEL_BITS < limits[key & LEVEL_MASK]]
        for key in expired:
            row = rows.pop(key)
            key = row_key(row_start(key), newest, spans)
            mine = rows.get(key)
            if mine is None:
                rows[key] = row
            else:
                self._add_row(mine, row)
        leaf.due = min([expires(key, spans) for key in rows], default=1 << 53) + SLACK_MINUTES

    def _add_row(self, mine: list[Any], row: list[Any]) -> None:
        """Merge ``row`` into ``mine``, in place."""
        for slot in self._row_adding:
            mine[slot] += row[slot]
        for slot, merge in self._row_merging:
            if row[slot] is not None:
                mine[slot] = merge(mine[slot], row[slot])

    def _copy_row(self, row: list[Any]) -> list[Any]:
        row = row.copy()
        for slot, accumulator in self._complex_row:
            if row[slot] is not None:
                row[slot] = accumulator.copy(row[slot])
        return row

    # combine ------------------------------------------------------------------------------------------

    def combine(self, leaves: Sequence[Leaf]) -> Leaf:
        """The leaf that had folded what all of these folded; they stay as they are, and it shares nothing
        with them that changes. O(total size); 20 us for two leaves of twenty events."""
        if not leaves:
            return self.zero()
        out = self._copy(leaves[0])
        if len(leaves) == 1:
            return out
        out.newest = newest = max([leaf.newest for leaf in leaves])
        if newest // MINUTE >= out.due:
            self._roll(out)
        spans = self.spans
        limits = oldest_kept(newest, spans)
        rows = out.rows
        life = out.life
        for leaf in leaves[1:]:
            if leaf.offset > out.offset:
                out.offset = leaf.offset
            if leaf.first_seen < out.first_seen:
                out.first_seen = leaf.first_seen
            for key, row in leaf.rows.items():
                if key >> LEVEL_BITS < limits[key & LEVEL_MASK]:
                    key = row_key(row_start(key), newest, spans)
                mine = rows.get(key)
                if mine is None:
                    rows[key] = self._copy_row(row)
                else:
                    self._add_row(mine, row)
            for slot in self._life_adding:
                life[slot] += leaf.life[slot]
            for slot, merge in self._life_merging:
                if leaf.life[slot] is not None:
                    life[slot] = merge(life[slot], leaf.life[slot])
            self._combine_recent(out, leaf)
        out.due = 0
        return out

    def _combine_recent(self, out: Leaf, leaf: Leaf) -> None:
        """The parts that need no schema: ``leaf`` into ``out``, which is ours to change."""
        if leaf.touches:
            out.touches = merge_last(out.touches, leaf.touches, MAX_TOUCHES)
        if leaf.searches:
            out.searches = merge_last(out.searches, leaf.searches, MAX_SEARCHES)
        if leaf.exposures:
            out.exposures = merge_last(out.exposures, leaf.exposures, MAX_EXPOSURES)
        if leaf.names:
            out.names = merge_names(out.names, leaf.names, MAX_NAMES)
        if leaf.bought:
            out.bought = merge_greatest(out.bought, leaf.bought, MAX_BOUGHT)
        if leaf.cart:
            out.cart = merge_greatest(out.cart, leaf.cart, MAX_CART)
        if leaf.dismissed:
            out.dismissed = merge_greatest(out.dismissed, leaf.dismissed, MAX_DISMISSED)
        if leaf.traits:
            out.traits = merge_traits(out.traits, leaf.traits, MAX_TRAITS)
        if leaf.told:
            out.told = combine_told(out.told, leaf.told)
        if leaf.rectified:
            out.rectified = merge_rectified(out.rectified, leaf.rectified)
        if leaf.groups:
            out.groups = merge_groups(out.groups, leaf.groups, MAX_GROUPS)
        if leaf.members:
            out.members = merge_groups(out.members, leaf.members, MAX_MEMBERS)
        if leaf.exposed:
            out.exposed = merge_exposed(out.exposed, leaf.exposed)
        for other, evidence in leaf.links.items():
            add_link(out.links, other, copy(evidence))

    def _copy(self, leaf: Leaf) -> Leaf:
        life = leaf.life.copy()
        for slot, accumulator in self._complex_life:
            if life[slot] is not None:
                life[slot] = accumulator.copy(life[slot])
        return Leaf(
            self.layout,
            life,
            {key: self._copy_row(row) for key, row in leaf.rows.items()},
            leaf.offset,
            leaf.first_seen,
            leaf.newest,
            leaf.names.copy(),
            leaf.touches.copy(),
            leaf.bought.copy(),
            leaf.cart.copy(),
            leaf.dismissed.copy(),
            leaf.searches.copy(),
            leaf.exposures.copy(),
            leaf.traits.copy(),
            {other: copy(evidence) for other, evidence in leaf.links.items()},
            {key: arms.copy() for key, arms in leaf.exposed.items()},
            leaf.due,
            told=leaf.told.copy(),
            rectified=leaf.rectified.copy(),
            groups=leaf.groups.copy(),
            members=leaf.members.copy(),
        )

    # read ---------------------------------------------------------------------------------------------

    def read(self, leaf: Leaf, now: Millis) -> dict[str, Any]:
        """Every declared value as of ``now``, plain JSON, then ``scores``: name -> what a learnt model makes
        of the values before it. 5 to 15 us.

        Meant for ``now`` at or after the leaf's newest event: an event dated later counts as now, and rows
        keep no more detail than the newest event needs.
        """
        out = self._template.copy()
        if self._row_reads:
            rows = sorted([(row_start(key), key) for key in leaf.rows], reverse=True)
            state = self._zero_row.copy()
            done = 0
            for window, reads in self._row_reads:
                since = window.since(now) if window.level < OLD else _BEFORE_ALL
                while done < len(rows) and rows[done][0] >= since:
                    self._add_row(state, leaf.rows[rows[done][1]])
                    done += 1
                for output, slot, read in reads:
                    out[output] = read(state[slot], now)
        life = leaf.life
        for output, slot, read in self._life_reads:
            out[output] = read(life[slot], now)
        for name, score in self.scores.items():
            out[name] = score(out)
        return out

    def _compile_reads(self) -> None:
        self._template: dict[str, Any] = dict.fromkeys(self.outputs)
        by_window: dict[tuple[int, int], tuple[Window, list[_Read]]] = {}
        for slot in self._row_slots:
            for window in slot.feature.parsed_windows():
                entry = by_window.setdefault((window.level, window.span), (window, []))
                entry[1].append((slot.feature.output(window), slot.index, slot.accumulator.read))
        self._row_reads = [by_window[key] for key in sorted(by_window)]
        self._life_reads: list[_Read] = [
            (output, s.index, s.accumulator.read) for s in self._life_slots for output in s.feature.outputs
        ]

    # bytes --------------------------------------------------------------------------------------------

    def encode(self, leaf: Leaf) -> bytes:
        """Canonical bytes: equal states give equal bytes. 10 us for twenty events."""
        self.settle(leaf)
        life = leaf.life
        if self._complex_life:
            life = life.copy()
            for slot, accumulator in self._complex_life:
                if life[slot] is not None:
                    life[slot] = accumulator.pack(life[slot])
        rows = leaf.rows
        if self._complex_row and rows:
            rows = {key: row.copy() for key, row in rows.items()}
            for row in rows.values():
                for slot, accumulator in self._complex_row:
                    if row[slot] is not None:
                        row[slot] = accumulator.pack(row[slot])
        return codec.encode(leaf, life, rows)

    def decode(self, data: bytes) -> Leaf:
        """The leaf back. Raises :class:`Corrupt` for bytes that are not a leaf.

        A leaf written under other feature definitions keeps the state of features whose meaning is unchanged;
        the others start empty, and become what they would have been when the leaves are rebuilt from the
        journal. Windows may change freely: only the detail that rows had already lost stays lost.
        """
        leaf = codec.decode(data)
        changed = leaf.layout != self.layout
        if changed:
            self._adopt(leaf)
        leaf.layout = self.layout
        life = leaf.life
        for slot, accumulator in self._complex_life:
            life[slot] = accumulator.unpack(life[slot])
        for row in leaf.rows.values():
            for slot, accumulator in self._complex_row:
                if row[slot] is not None:
                    row[slot] = accumulator.unpack(row[slot])
        if changed:
            self._roll(leaf)
        else:
            leaf.due = 0  # The next event that is newer looks what has to roll up.
        return leaf

    def _adopt(self, leaf: Leaf) -> None:
        """Rearrange accumulators that were written under another layout."""
        old = [leaf.layout[i : i + _LAYOUT_BYTES] for i in range(0, len(leaf.layout), _LAYOUT_BYTES)]
        in_rows = len(old) - len(leaf.life)
        place = {mark: index if index < in_rows else index - in_rows for index, mark in enumerate(old)}
        marks = [_mark(s.feature) for s in self._slots]
        row_from = [place.get(mark) for mark in marks[: len(self._row_slots)]]
        life_from = [place.get(mark) for mark in marks[len(self._row_slots) :]]
        leaf.life = [
            z if i is None else leaf.life[i] for i, z in zip(life_from, self._zero_life, strict=True)
        ]
        keep = any(i is not None for i in row_from)
        leaf.rows = {
            key: [z if i is None else row[i] for i, z in zip(row_from, self._zero_row, strict=True)]
            for key, row in leaf.rows.items()
            if keep
        }


def trim(leaf: Leaf) -> None:
    """Cut the maps that folding lets run over, so that what is read does not depend on how it came about."""
    if len(leaf.bought) > MAX_BOUGHT:
        trim_greatest(leaf.bought, MAX_BOUGHT)
    if len(leaf.cart) > MAX_CART:
        trim_greatest(leaf.cart, MAX_CART)
    if len(leaf.dismissed) > MAX_DISMISSED:
        trim_greatest(leaf.dismissed, MAX_DISMISSED)


def _merging(slots: Sequence[Slot]) -> tuple[list[int], list[tuple[int, Callable[[Any, Any], Any]]]]:
    """The slots that merge by adding, and the others with how they merge."""
    adding = [s.index for s in slots if s.accumulator.zero == 0]
    return adding, [(s.index, s.accumulator.merge) for s in slots if s.accumulator.zero is None]


def _mark(feature: Feature) -> bytes:
    return blake2b(feature.meaning, digest_size=_LAYOUT_BYTES).digest()
