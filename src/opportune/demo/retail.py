"""A shop's year of invoices as flat columns: what the demo learns from, whether shipped or the user's own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from opportune.demo.categories import classify
from opportune.demo.names import display_name, is_goods, is_name

Ints = npt.NDArray[np.int32]

MINUTE_MS = 60_000
STALE_MINUTES = 90 * 24 * 60


class Row(NamedTuple):
    """One line of an invoice, as the source spells it. ``minute`` counts from 1970; ``customer`` is 0 for
    guests; ``quantity`` is negative for returns; ``pence`` is the unit price in hundredths."""

    invoice: str
    code: str
    description: str
    quantity: int
    minute: int
    pence: int
    customer: int
    country: str


class Retail(msgspec.Struct, frozen=True):
    """Three tables as columns of int32.

    Items (``n_items``): ``codes``, ``names``, ``category`` (number in ``CATEGORIES``), ``pence`` (median unit
    price), ``stale`` (1 when nobody bought it in the last 90 days: the demo shows it as out of stock).
    Customers (``n_customers``): ``customer`` numbers rising, ``country`` (index into ``countries``).
    Invoices (``n_invoices``, in time order): ``invoice`` names, ``minute``, ``buyer`` (index into
    customers, -1 for guests), ``refund`` (0 or 1), ``first`` (``n_invoices + 1`` offsets into the lines).
    Lines (``n_lines``): ``item`` (index, rising within an invoice), ``quantity`` (1 or more), ``price``
    (pence).
    """

    codes: list[str]
    names: list[str]
    category: Ints
    pence: Ints
    stale: Ints
    countries: list[str]
    customer: Ints
    country: Ints
    invoice: list[str]
    minute: Ints
    buyer: Ints
    refund: Ints
    first: Ints
    item: Ints
    quantity: Ints
    price: Ints

    @property
    def n_invoices(self) -> int:
        return len(self.minute)

    @property
    def n_lines(self) -> int:
        return len(self.item)

    def summary(self) -> str:
        return (
            f"{len(self.codes):,} items, {len(self.customer):,} customers, "
            f"{self.n_invoices:,} invoices with {self.n_lines:,} lines"
        )


def assemble(rows: Iterable[Row], *, trusted: bool = False) -> Retail:
    """Clean and group rows into columns.

    Dropped: service codes (postage, fees, manual corrections), rows without a price, negative quantities that
    are not returns (``C...`` invoices), and zero quantities. Lines of one invoice with the same item and
    price are added up and ordered by item. ``trusted`` takes every code for goods and every description
    for a name: what the two tests know is this one data set's habits. O(rows log rows).
    """
    names: dict[str, Counter[str]] = {}
    invoices: dict[str, tuple[int, int, dict[tuple[str, int], int]]] = {}
    country_of: dict[int, str] = {}
    for row in rows:
        if not trusted:
            # Clerks typed 15056BL and 15056bl for one thing.
            row = row._replace(code=row.code.upper())
            if not is_goods(row.code):
                continue
        if row.description.strip() if trusted else is_name(row.description):
            names.setdefault(row.code, Counter())[row.description.strip()] += 1
        is_return = row.invoice[:1] in "Cc"
        if row.pence <= 0 or row.quantity == 0 or (row.quantity < 0) != is_return:
            continue
        if row.customer:
            country_of.setdefault(row.customer, row.country)
        _, _, lines = invoices.setdefault(row.invoice, (row.minute, row.customer, {}))
        key = (row.code, row.pence)
        lines[key] = lines.get(key, 0) + abs(row.quantity)
    if trusted:
        for _, _, lines in invoices.values():
            for code, _ in lines:
                names.setdefault(code, Counter({code: 1}))
    return _columns(names, invoices, country_of)


def _columns(
    names: dict[str, Counter[str]],
    invoices: dict[str, tuple[int, int, dict[tuple[str, int], int]]],
    country_of: dict[int, str],
) -> Retail:
    sold = sorted({code for _, _, lines in invoices.values() for code, _ in lines} & names.keys())
    number = {code: i for i, code in enumerate(sold)}
    best = {code: names[code].most_common(1)[0][0] for code in sold}
    customers = sorted(country_of)
    customer_number = {customer: i for i, customer in enumerate(customers)}
    countries = sorted(set(country_of.values()))
    order = sorted(invoices, key=lambda name: (invoices[name][0], name))

    kept: list[str] = []
    minute: list[int] = []
    buyer: list[int] = []
    first: list[int] = [0]
    item: list[int] = []
    quantity: list[int] = []
    price: list[int] = []
    for name in order:
        when, who, lines = invoices[name]
        wanted = sorted((number[code], pence, n) for (code, pence), n in lines.items() if code in number)
        if not wanted:
            continue
        kept.append(name)
        minute.append(when)
        buyer.append(customer_number.get(who, -1))
        for i, pence, n in wanted:
            item.append(i)
            price.append(pence)
            quantity.append(n)
        first.append(len(item))

    refund = [int(name[:1] in "Cc") for name in kept]
    median, stale = _per_item(len(sold), minute, refund, first, item, price)
    return Retail(
        codes=sold,
        names=[display_name(best[code]) if is_name(best[code]) else best[code] for code in sold],
        category=_ints([classify(best[code]) for code in sold]),
        pence=median,
        stale=stale,
        countries=countries,
        customer=_ints(customers),
        country=_ints([countries.index(country_of[c]) for c in customers]),
        invoice=kept,
        minute=_ints(minute),
        buyer=_ints(buyer),
        refund=_ints(refund),
        first=_ints(first),
        item=_ints(item),
        quantity=_ints(quantity),
        price=_ints(price),
    )


def _per_item(
    n: int, minute: list[int], refund: list[int], first: list[int], item: list[int], price: list[int]
) -> tuple[Ints, Ints]:
    """Median unit price of sales (of returns, where there are only those), and whether it went stale."""
    prices: list[list[int]] = [[] for _ in range(n)]
    returned: list[list[int]] = [[] for _ in range(n)]
    last = [0] * n
    for invoice, when in enumerate(minute):
        into = returned if refund[invoice] else prices
        for line in range(first[invoice], first[invoice + 1]):
            into[item[line]].append(price[line])
            if not refund[invoice]:
                last[item[line]] = when
    median = [int(np.median(prices[i] or returned[i])) for i in range(n)]
    end = max(minute, default=0)
    return _ints(median), _ints([int(when < end - STALE_MINUTES) for when in last])


def _ints(values: list[int]) -> Ints:
    return np.asarray(values, dtype=np.int32)
