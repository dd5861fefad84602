"""The shop's year as events: the catalogue, its customers, their orders and returns.

Message ids are derived from the data, so that a load that was interrupted can simply run again: what was
stored the first time is a duplicate the second time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any, Protocol

import numpy as np

from opportune.clock import DAY, Millis
from opportune.demo.categories import CATEGORIES
from opportune.demo.retail import MINUTE_MS, Retail
from opportune.events.event import Event, Line

SOURCE = "demo_history"
CURRENCY = "GBP"
BATCH = 200
"""Events per commit. Orders have 23 lines on average, so this is some five thousand lines."""


class Ingests(Protocol):
    """The engine, as far as loading needs it."""

    def ingest(self, events: list[Any], /, *, source: str) -> Any: ...

    def accounting(self) -> dict[str, Any]: ...


def shift_ms(retail: Retail, now: Millis) -> Millis:
    """Whole days to add so that the last day of the data is the day before ``now``; 0 for empty data."""
    if not retail.n_invoices:
        return 0
    last_day = int(retail.minute[-1]) * MINUTE_MS // DAY
    return (now // DAY - 1 - last_day) * DAY


def catalogue_events(retail: Retail, now: Millis) -> Iterator[Event]:
    """One event of kind ``item`` per item: name, category, price, stock and picture."""
    for number, code in enumerate(retail.codes):
        category = CATEGORIES[int(retail.category[number])].title
        yield Event(
            kind="item",
            name="item",
            message_id=f"item-{code}",
            source=SOURCE,
            time=now,
            received=now,
            lines=(Line(code, category=category),),
            properties={
                "name": retail.names[number],
                "category": category,
                "price": int(retail.pence[number]) / 100,
                "currency": CURRENCY,
                "in_stock": not retail.stale[number],
                "image_url": f"/pictures/{code}.svg",
                "url": f"/product/{code}",
            },
        )


def history_events(retail: Retail, now: Millis, *, shift: bool = True) -> Iterator[Event]:
    """The customers as ``identify`` calls at their first order, and every invoice as ``order_completed`` or
    ``order_refunded``, in time order. Guests are the anonymous id of their one order."""
    offset = shift_ms(retail, now) if shift else 0
    categories = [CATEGORIES[number].title for number in retail.category.tolist()]
    item, quantity, price = retail.item.tolist(), retail.quantity.tolist(), retail.price.tolist()
    first, minute = retail.first.tolist(), retail.minute.tolist()
    buyer, refund = retail.buyer.tolist(), retail.refund.tolist()
    customers, countries = retail.customer.tolist(), retail.country.tolist()
    met: set[int] = set()
    for number, invoice in enumerate(retail.invoice):
        time = minute[number] * MINUTE_MS + offset
        who = buyer[number]
        if who < 0:
            identifiers = (f"anonymous_id:guest-{invoice}",)
        else:
            customer = str(customers[who])
            identifiers = (f"user_id:{customer}",)
            if who not in met:
                met.add(who)
                traits = {"name": f"Customer {customer}", "country": retail.countries[countries[who]]}
                yield Event(
                    "identify",
                    "identify",
                    f"customer-{customer}",
                    SOURCE,
                    time,
                    now,
                    identifiers,
                    traits=traits,
                )
        codes = retail.codes
        lines = tuple(
            Line(codes[i], float(n), pence / 100, categories[i])
            for i, n, pence in zip(
                item[first[number] : first[number + 1]],
                quantity[first[number] : first[number + 1]],
                price[first[number] : first[number + 1]],
                strict=True,
            )
        )
        yield Event(
            kind="track",
            name="order_refunded" if refund[number] else "order_completed",
            message_id=f"invoice-{invoice}",
            source=SOURCE,
            time=time,
            received=now,
            identifiers=identifiers,
            session_id=f"order-{invoice}",
            lines=lines,
            value=sum(round(line.quantity * (line.price or 0) * 100) for line in lines) / 100,
            properties={"order_id": invoice, "currency": CURRENCY},
        )


def n_events(retail: Retail) -> int:
    """How many events a complete load sends."""
    with_orders = len(np.unique(retail.buyer[retail.buyer >= 0]))
    return len(retail.codes) + with_orders + retail.n_invoices


def is_loaded(engine: Ingests, retail: Retail) -> bool:
    """True when an earlier load was stored completely; costs one query of the accounting."""
    sources = engine.accounting().get("sources", {})
    counts = sources.get(SOURCE, {}) if isinstance(sources, dict) else {}
    return int(counts.get("stored", 0)) >= n_events(retail)


def load(
    engine: Ingests,
    retail: Retail,
    now: Millis,
    *,
    shift: bool = True,
    on_progress: Callable[[int], None] = lambda done: None,
) -> int:
    """Send everything in order, ``BATCH`` events at a time; ``on_progress`` hears how many are done."""
    done = 0
    for events in (catalogue_events(retail, now), history_events(retail, now, shift=shift)):
        while batch := list(islice(events, BATCH)):
            engine.ingest(batch, source=SOURCE)
            done += len(batch)
            on_progress(done)
    return done
