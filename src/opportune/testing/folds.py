"""The laws of a fold, as a conformance suite that proves any implementation in five lines.

::

    from opportune.testing.folds import FoldCase, check_fold, shop_events

    def test_my_fold_keeps_the_laws():
        check_fold(FoldCase(MyFold(), events=shop_events(), now=NOW))

Needs ``hypothesis`` (a development dependency).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import hypothesis.strategies as st
from hypothesis import HealthCheck, given, settings

from opportune.clock import DAY, HOUR, MINUTE, SECOND, Millis
from opportune.events.event import Event, Line
from opportune.profiles.fold import Fold

S = TypeVar("S")
T = TypeVar("T")

START: Millis = 1_760_000_000_000
"""When the events of :func:`shop_events` begin; they spread over 120 days."""
END: Millis = START + 120 * DAY


@dataclass(frozen=True)
class FoldCase(Generic[S]):
    """A fold, the events it should be tried on, and how its state is looked at.

    ``freeze`` turns a state into something that compares equal exactly when two states mean the same; the
    default reads it at ``now``, which is the least that must agree. ``encode`` and ``decode``, if given,
    must round trip. ``max_bytes`` bounds the encoded state after ``many`` events.
    ``examples`` is how many are tried per law.
    """

    fold: Fold[S]
    events: st.SearchStrategy[list[Event]]
    now: Millis = END
    freeze: Callable[[S], Any] | None = None
    encode: Callable[[S], bytes] | None = None
    decode: Callable[[bytes], S] | None = None
    max_bytes: int = 0
    many: Sequence[Event] = ()
    examples: int = 40

    def state(self, events: Sequence[Event]) -> S:
        state = self.fold.zero()
        for event in events:
            state = self.fold.fold(state, event)
        return state

    def seen(self, state: S) -> Any:
        """What is compared."""
        read = self.fold.read(state, self.now)
        return (self.freeze(state), read) if self.freeze else read


def check_fold(case: FoldCase[Any]) -> None:
    """Every law; raises AssertionError naming the first that does not hold, with a smallest example."""
    check_zero(case)
    check_order(case)
    check_commutative(case)
    check_associative(case)
    check_split(case)
    check_inputs_untouched(case)
    if case.encode is not None and case.decode is not None:
        check_round_trip(case)
    if case.max_bytes:
        check_bound(case)


def _settings(case: FoldCase[Any]) -> settings:
    return settings(
        max_examples=case.examples,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )


def check_zero(case: FoldCase[Any]) -> None:
    """``zero`` is neutral on both sides, and two zeros are zero."""

    @_settings(case)
    @given(case.events)
    def law(events: list[Event]) -> None:
        seen = case.seen(case.state(events))
        zero = case.fold.zero
        assert case.seen(case.fold.combine(zero(), case.state(events))) == seen, "zero is not neutral (left)"
        assert case.seen(case.fold.combine(case.state(events), zero())) == seen, "zero is not neutral (right)"

    law()


def check_order(case: FoldCase[Any]) -> None:
    """Folding does not depend on the order of arrival."""

    @_settings(case)
    @given(_shuffled(case.events))
    def law(pair: tuple[list[Event], list[Event]]) -> None:
        events, shuffled = pair
        assert case.seen(case.state(events)) == case.seen(case.state(shuffled)), "order of arrival matters"

    law()


def check_commutative(case: FoldCase[Any]) -> None:
    """``combine(a, b) = combine(b, a)``."""

    @_settings(case)
    @given(case.events, case.events)
    def law(first: list[Event], second: list[Event]) -> None:
        a, b = case.state(first), case.state(second)
        ab, ba = case.seen(case.fold.combine(a, b)), case.seen(case.fold.combine(b, a))
        assert ab == ba, "combine is not commutative"

    law()


def check_associative(case: FoldCase[Any]) -> None:
    """``combine(combine(a, b), c) = combine(a, combine(b, c))``."""

    @_settings(case)
    @given(case.events, case.events, case.events)
    def law(first: list[Event], second: list[Event], third: list[Event]) -> None:
        a, b, c = case.state(first), case.state(second), case.state(third)
        combine = case.fold.combine
        left, right = case.seen(combine(combine(a, b), c)), case.seen(combine(a, combine(b, c)))
        assert left == right, "combine is not associative"

    law()


def check_split(case: FoldCase[Any]) -> None:
    """Folding events apart and combining is folding them together; and folding goes on after combining."""

    @_settings(case)
    @given(_split(case.events), case.events)
    def law(parts: tuple[list[Event], list[Event], list[Event]], more: list[Event]) -> None:
        events, left, right = parts
        whole = case.state(events)
        combined = case.fold.combine(case.state(left), case.state(right))
        assert case.seen(combined) == case.seen(whole), "fold and combine disagree"
        for event in more:
            whole = case.fold.fold(whole, event)
            combined = case.fold.fold(combined, event)
        assert case.seen(combined) == case.seen(whole), "folding into a combined state goes wrong"

    law()


def check_inputs_untouched(case: FoldCase[Any]) -> None:
    """``combine`` leaves its inputs as they were, also when the result is folded further."""

    @_settings(case)
    @given(case.events, case.events, case.events)
    def law(first: list[Event], second: list[Event], more: list[Event]) -> None:
        a, b = case.state(first), case.state(second)
        before = case.seen(a), case.seen(b)
        combined = case.fold.combine(a, b)
        for event in more:
            combined = case.fold.fold(combined, event)
        assert (case.seen(a), case.seen(b)) == before, "combine or what came after changed an input"

    law()


def check_round_trip(case: FoldCase[Any]) -> None:
    """``decode(encode(s))`` is ``s``, the bytes are the same again, and folding goes on from there."""
    encode, decode = case.encode, case.decode
    assert encode is not None, "no encode to check"
    assert decode is not None, "no decode to check"

    @_settings(case)
    @given(case.events, case.events)
    def law(events: list[Event], more: list[Event]) -> None:
        state = case.state(events)
        data = encode(state)
        back = decode(data)
        assert encode(back) == data, "encoding is not canonical"
        assert case.seen(back) == case.seen(state), "decoding loses something"
        for event in more:
            state, back = case.fold.fold(state, event), case.fold.fold(back, event)
        assert encode(back) == encode(state), "folding into a decoded state goes wrong"

    law()


def check_bound(case: FoldCase[Any]) -> None:
    """The state stays within ``max_bytes`` after ``many`` events."""
    assert case.encode is not None, "a bound needs encode"
    assert case.many, "a bound needs many events"
    size = len(case.encode(case.state(case.many)))
    assert size <= case.max_bytes, f"{size} bytes after {len(case.many)} events, more than {case.max_bytes}"


def _shuffled(events: st.SearchStrategy[list[Event]]) -> st.SearchStrategy[tuple[list[Event], list[Event]]]:
    def shuffle(found: list[Event], seed: int) -> tuple[list[Event], list[Event]]:
        return found, random.Random(seed).sample(found, len(found))

    return st.builds(shuffle, events, st.integers(0, 10_000))


def _split(
    events: st.SearchStrategy[list[Event]],
) -> st.SearchStrategy[tuple[list[Event], list[Event], list[Event]]]:
    def deal(found: list[Event], sides: int) -> tuple[list[Event], list[Event], list[Event]]:
        mine = [(sides >> index % 32) & 1 for index in range(len(found))]
        left = [e for e, m in zip(found, mine, strict=True) if m]
        return found, left, [e for e, m in zip(found, mine, strict=True) if not m]

    return st.builds(deal, events, st.integers(0, (1 << 32) - 1))


_NAMES = (
    "product_viewed", "product_viewed", "product_viewed", "product_clicked", "product_added",
    "product_removed", "product_added_to_wishlist", "order_completed", "products_searched",
    "checkout_started", "coupon_applied", "product_dismissed", "page_read", "identify",
)  # fmt: skip
_GAPS = (0, 1, SECOND, 40 * SECOND, MINUTE, 7 * MINUTE, 31 * MINUTE, HOUR, 5 * HOUR, DAY, 9 * DAY, 40 * DAY)


def shop_events(
    *, max_size: int = 14, identifiers: Sequence[tuple[str, ...]] = (("anonymous_id:a1",),)
) -> st.SearchStrategy[list[Event]]:
    """Events of a shop over 120 days from :data:`START`, in time order, with gaps from none to 40 days.

    Views, carts, orders of several lines, searches, coupons, dismissals, identify calls with traits. Some
    differ in nothing but their time, or not at all.
    """

    def events(start: int, codes: list[int]) -> list[Event]:
        time = START + start
        found = []
        for code in codes:
            choose = _Choices(code)
            time = min(time + choose(_GAPS), END)
            found.append(_shop_event(choose, time, choose(identifiers)))
        return found

    # One number per event, taken apart: a draw for each field would cost a hundred times as much.
    codes = st.lists(st.integers(0, (1 << 48) - 1), max_size=max_size)
    return st.builds(events, st.integers(0, 3 * HOUR), codes)


class _Choices:
    """Takes one choice after another out of a number."""

    def __init__(self, code: int) -> None:
        self._code = code

    def __call__(self, options: Sequence[T]) -> T:
        self._code, index = divmod(self._code, len(options))
        return options[index]


def _shop_event(choose: _Choices, time: Millis, ids: tuple[str, ...]) -> Event:
    name = choose(_NAMES)
    source = choose(("web", "server"))
    message_id = choose(("m1", "m2", "m3"))
    session_id = choose(("", "s1", "s2"))
    if name == "identify":
        value: Any = choose((None, "Ada", "Bob", 7, 7.5, True, ["x", {"y": 1}]))
        traits = {choose(("name", "plan", "tags")): value}
        return Event("identify", name, message_id, source, time, time, ids, session_id, traits=traits)
    count = choose((0, 1, 2, 3)) if name == "order_completed" else choose((1, 1, 1, 0))
    lines = tuple(
        Line(
            f"p{item}",
            choose((1.0, 2.0, 0.5)),
            choose((None, 0.1, 0.2, 19.99, 1e6)),
            f"c{item % 3}" if item else "",
            f"b{item % 2}",
        )
        for item in (choose(range(8)) for _ in range(count))
    )
    value = choose((None, 0.1, 0.2, 0.3, -5.0, 1e9)) if name == "order_completed" else None
    query = choose(("mug", "tea pot", "sale")) if name == "products_searched" else ""
    properties: dict[str, Any] = dict(choose(({}, {"size": "10"}, {"size": 10, "tax": 0.7})))
    return Event(
        "track", name, message_id, source, time, time, ids, session_id, lines, value, query,
        properties=properties,
    )  # fmt: skip
