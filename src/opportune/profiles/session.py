"""The current visit: which touches belong to it, what they add up to, and what the person seems to want.

A visit is everything with the same explicit session id; touches without one belong together as long as no gap
exceeds 30 minutes (the industry's convention since web analytics began). It is derived from the touches of a
person when it is read, so merging two identifiers merges their visits, and late events find their place.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec

from opportune.clock import MINUTE, Millis
from opportune.profiles.leaf import CartLine, Search, Touch

INACTIVITY: Millis = 30 * MINUTE

Intent = Literal["none", "browsing", "comparing", "ready_to_buy", "bargain", "bought"]

_BARGAIN_WORDS = ("sale", "discount", "cheap", "offer", "deal", "clearance", "coupon", "outlet", "voucher")
_COMPARING_VIEWS = 3


class SessionState(msgspec.Struct, frozen=True):
    """What a visit adds up to. Times in milliseconds, ``dwell_s`` from the first to the last event.

    ``depth`` counts touches, ``views``, ``carts``, ``removes``, ``buys`` those of a kind; ``cart_value`` is
    the value of what was put in the cart during the visit and is still there, at the prices of the events.
    """

    started: Millis = 0
    last: Millis = 0
    dwell_s: float = 0.0
    depth: int = 0
    views: int = 0
    items: int = 0
    carts: int = 0
    removes: int = 0
    buys: int = 0
    searches: int = 0
    cart_value: float = 0.0
    intent: Intent = "none"


def session_touches(
    touches: Sequence[Touch], now: Millis, session_id: str = "", inactivity: Millis = INACTIVITY
) -> list[Touch]:
    """The touches of the visit that is going on at ``now``, oldest first; empty when there is none.

    ``session_id`` is the one that the caller names. Without it the visit is that of the newest touch, if that
    is at most 30 minutes old. Touches must be sorted. O(touches), at most 64.
    """
    if not touches:
        return []
    newest = touches[-1]
    if not session_id:
        if now - newest.time > inactivity:
            return []
        session_id = newest.session_id
    found: list[Touch] = []
    edge = now
    for touch in reversed(touches):
        if touch.session_id == session_id and session_id:
            found.append(touch)
        elif touch.session_id:
            continue  # Another visit, on another device perhaps.
        elif edge - touch.time > inactivity:
            if not session_id:
                break
            continue
        else:
            found.append(touch)
        edge = touch.time
    found.reverse()
    return found


def session_state(
    touches: Sequence[Touch],
    searches: Sequence[Search] = (),
    cart: Mapping[str, CartLine] | None = None,
) -> SessionState:
    """What the touches of one visit, and the searches made during it, add up to. 3 us for ten touches."""
    if not touches and not searches:
        return SessionState()
    times = [touches[0].time, touches[-1].time] if touches else []
    times += [s.time for s in searches]
    started, last = min(times), max(times)
    kinds = [t.kind for t in touches]
    carts, buys = kinds.count("cart"), kinds.count("buy")
    value = sum(
        line.quantity * line.price
        for line in (cart or {}).values()
        if line.time >= started and line.quantity > 0 and line.price > 0
    )
    return SessionState(
        started,
        last,
        (last - started) / 1000,
        len(kinds),
        kinds.count("view"),
        len({t.item_id for t in touches if t.item_id}),
        carts,
        kinds.count("remove"),
        buys,
        len(searches),
        round(value, 6),
        intent(touches, searches),
    )


def intent(touches: Sequence[Touch], searches: Sequence[Search] = ()) -> Intent:
    """A first guess at what the visit is for; rules, so that anybody can check them.

    ``bought``: the last of buying and carting was buying. ``ready_to_buy``: something is in the cart or the
    checkout was begun since. ``bargain``: a coupon was tried, or a search asked for offers. ``comparing``: at
    least three views, and one item seen again after another. ``browsing``: anything else.
    """
    if not touches and not searches:
        return "none"
    if any(t.kind == "coupon" for t in touches) or any(_asks_for_offers(s.query) for s in searches):
        wants_bargain = True
    else:
        wants_bargain = False
    in_cart: set[str] = set()
    checkout = bought = False
    for touch in touches:
        if touch.kind == "cart":
            in_cart.add(touch.item_id)
            bought = False
        elif touch.kind == "remove":
            in_cart.discard(touch.item_id)
        elif touch.kind == "checkout":
            checkout, bought = True, False
        elif touch.kind == "buy":
            in_cart.clear()
            checkout, bought = False, True
    if bought:
        return "bought"
    if checkout or (in_cart and not wants_bargain):
        return "ready_to_buy"
    if wants_bargain:
        return "bargain"
    return "comparing" if _returns(touches) else "browsing"


def _returns(touches: Sequence[Touch]) -> bool:
    viewed = [t.item_id for t in touches if t.kind == "view"]
    changes = [item for i, item in enumerate(viewed) if i == 0 or viewed[i - 1] != item]
    return len(viewed) >= _COMPARING_VIEWS and len(set(changes)) < len(changes)


def _asks_for_offers(query: str) -> bool:
    words = query.lower().split()
    return any(word in words for word in _BARGAIN_WORDS)
