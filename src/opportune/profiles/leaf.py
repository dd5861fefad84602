"""The leaf record: everything that is known under one identifier (or about one item).

State lives here and nowhere else; a person is the combination of the leaves of their identity component. All
parts are bounded, and every bound is one that no order of arrival can change.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import msgspec

from opportune.clock import Millis
from opportune.events.event import Identifier
from opportune.identity.links import Evidence
from opportune.profiles.consent.record import Consent
from opportune.profiles.exposed import Exposed

NEVER: Millis = -(1 << 53)
"""Before every event time."""

TouchKind = Literal["view", "cart", "remove", "wish", "buy", "checkout", "coupon"]

TOUCH_KINDS: tuple[TouchKind, ...] = ("view", "cart", "remove", "wish", "buy", "checkout", "coupon")
"""In this order on disk; new kinds go at the end."""

TOUCHES: dict[str, TouchKind] = {
    "product_viewed": "view",
    "product_clicked": "view",
    "product_added": "cart",
    "wishlist_product_added_to_cart": "cart",
    "product_removed": "remove",
    "product_added_to_wishlist": "wish",
    "order_completed": "buy",
    "checkout_started": "checkout",
    "coupon_entered": "coupon",
    "coupon_applied": "coupon",
}
"""Canonical event name -> how it touches. The last two kinds touch no item: their ``item_id`` is empty."""

DISMISSALS = frozenset({"product_dismissed", "item_dismissed", "recommendation_dismissed"})
"""Somebody said "not this one"."""

SEARCHES = frozenset({"products_searched"})

MAX_TOUCHES = 64
MAX_BOUGHT = 500
MAX_DISMISSED = 200
MAX_CART = 50
MAX_SEARCHES = 8
MAX_EXPOSURES = 20
MAX_SHOWN = 50
MAX_TRAITS = 100
MAX_NAMES = 64
MAX_TEXT = 500
"""Characters kept of any text: a trait, a query, a name."""


class Touch(msgspec.Struct, frozen=True, order=True, array_like=True, gc=False):
    """One interaction with an item. Sorted by event time, then by what it says."""

    time: Millis
    item_id: str
    kind: str
    session_id: str = ""


class Search(msgspec.Struct, frozen=True, order=True, array_like=True, gc=False):
    time: Millis
    query: str
    session_id: str = ""


class Exposure(msgspec.Struct, frozen=True, order=True, array_like=True, gc=False):
    """A decision that was shown: at most 50 of its items, in the order shown."""

    time: Millis
    decision_id: str
    placement: str
    item_ids: tuple[str, ...]


class Trait(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A value that somebody said about the person, when (event time), and through which source. ``None``
    withdraws what was said before."""

    value: Any
    time: Millis
    source: str


class Said(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """How often a value was said, first and last when, and by which source last."""

    count: int
    first: Millis
    last: Millis
    source: str


class Claims(msgspec.Struct, frozen=True, array_like=True):
    """All that was said of one trait (see ``golden.py``): the latest by source, how often each value (by its
    JSON), and when a value was last taken back."""

    by_source: dict[str, Trait]
    values: dict[str, Said]
    withdrawn: Millis = NEVER


class Rectified(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A trait put right at the person's request: it stands whatever else is said, until the correction is
    taken back (``stands`` false). ``None`` as the value says that there is none."""

    value: Any
    time: Millis
    message_id: str
    who: str
    why: str
    stands: bool = True


class CartLine(NamedTuple):
    """The last thing that happened to an item in the cart; a ``quantity`` of 0 took it out (or bought it)."""

    time: Millis
    quantity: float
    price: float = -1.0


class Leaf(msgspec.Struct):
    """One identifier's, item's or session's state. Mutable: only :class:`ProfileSchema` changes it.

    ``offset`` is the last journal sequence number folded in, -1 before the first. ``newest`` is the latest
    event time, ``first_seen`` the earliest. ``rows`` holds one list of accumulators per bucket of event time
    (see ``windows.py``), ``life`` those that have no window. ``touches``, ``searches`` and ``exposures`` are
    sorted, oldest first. ``bought`` and ``dismissed`` map item -> latest time. ``links`` map the other
    identifier -> evidence. ``names`` counts events by name. ``exposed`` has the arms of experiments that were
    seen, and when first.

    ``consent`` is what was said about consent under the identifier: judged leaf by leaf, never combined.

    ``told`` is what was said of traits that have a rule (``golden.py``).
    ``rectified`` are the traits that were put right (``rectified.py``).
    ``groups`` are accounts and households it was seen with, and when last; ``members``, of a group's own
    leaf, the leaves that were seen with it (``identity/groups.py``).
    ``slot`` is the key that seals the leaf's entries in the journal, -1 for none.

    ``layout`` says which features ``rows`` and ``life`` were made for; ``due`` is the minute at which rows
    next roll up (derived, not stored).
    """

    layout: bytes
    life: list[Any]
    rows: dict[int, list[Any]]
    offset: int = -1
    first_seen: Millis = -NEVER
    newest: Millis = NEVER
    names: dict[str, int] = {}
    touches: list[Touch] = []
    bought: dict[str, Millis] = {}
    cart: dict[str, CartLine] = {}
    dismissed: dict[str, Millis] = {}
    searches: list[Search] = []
    exposures: list[Exposure] = []
    traits: dict[str, Trait] = {}
    links: dict[Identifier, Evidence] = {}
    exposed: Exposed = {}
    due: int = -NEVER
    consent: Consent | None = None
    told: dict[str, Claims] = {}
    slot: int = -1
    rectified: dict[str, Rectified] = {}
    groups: dict[Identifier, Millis] = {}
    members: dict[Identifier, Millis] = {}

    @property
    def empty(self) -> bool:
        """Whether it holds nothing but links: the leaf of an identifier that was never the strongest."""
        return self.newest == NEVER and not self.exposures and not self.rectified

    @property
    def events(self) -> int:
        """How many events were folded in (of the names that are kept)."""
        return sum(self.names.values())
