"""Real customers of the data whose taste is easy to see: the names in the storefront's *shop as* menu."""

from __future__ import annotations

import msgspec
import numpy as np

from opportune.demo.categories import CATEGORIES, MORE
from opportune.demo.retail import Retail

MIN_ORDERS = 6
MIN_LINES = 40


class Persona(msgspec.Struct, frozen=True):
    """``taste`` is the category that sets this customer apart most, ``share`` its part of their lines."""

    customer: str
    orders: int
    taste: str
    share: float
    country: str


def popularity(retail: Retail) -> dict[str, int]:
    """How many order lines each item has had."""
    sold = np.repeat(retail.refund == 0, np.diff(retail.first))
    counts = np.bincount(retail.item[sold], minlength=len(retail.codes))
    return dict(zip(retail.codes, counts.tolist(), strict=True))


def personas(retail: Retail, count: int = 8) -> list[Persona]:
    """One customer per category, for the categories where somebody stands out most from the average.

    Lift is the share of a category in the customer's lines over its share in all lines. O(lines).
    """
    n = len(retail.customer)
    if not n:
        return []
    lines_of = np.diff(retail.first)
    bought = (retail.refund == 0) & (retail.buyer >= 0)
    buyer = np.repeat(np.where(bought, retail.buyer, -1), lines_of)
    kept = buyer >= 0
    category = retail.category[retail.item]
    table = np.zeros((n, len(CATEGORIES)), dtype=np.float64)
    np.add.at(table, (buyer[kept], category[kept]), 1.0)
    total = table.sum(axis=1)
    orders = np.bincount(retail.buyer[bought], minlength=n)
    share = table / np.maximum(total, 1)[:, None]
    average = table.sum(axis=0) / max(total.sum(), 1)
    regular = (orders >= MIN_ORDERS) & (total >= MIN_LINES)
    lift = np.where(regular[:, None], share / np.maximum(average, 1e-9), 0.0)
    lift[:, MORE] = 0.0
    # Some taste must be more than a quirk: at least a quarter of what they buy.
    lift[share < 0.25] = 0.0
    best = lift.max(axis=0)
    chosen = [c for c in np.argsort(-best, kind="stable")[:count].tolist() if best[c] > 0]
    found = []
    for c in chosen:
        who = int(lift[:, c].argmax())
        found.append(
            Persona(
                customer=str(int(retail.customer[who])),
                orders=int(orders[who]),
                taste=CATEGORIES[c].title,
                share=float(share[who, c]),
                country=retail.countries[int(retail.country[who])],
            )
        )
    return sorted({p.customer: p for p in found}.values(), key=lambda p: -p.orders)
