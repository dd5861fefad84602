"""What is in a customer's next order: ``python -m benchmarks.quality.next_basket PATH [--json]``.

``PATH`` is UCI Online Retail (Chen, 2015) as ``online_retail.parquet`` or its folder: ``InvoiceNo, StockCode,
Quantity, InvoiceDate, CustomerID``. Scenario ``next-basket/online-retail``.

Protocol: returns and lines without a customer are left out; a basket is one invoice's distinct products.
Orders are played in order of time; every order of a customer who has ordered before is a case: ten products
are proposed knowing all orders before it. The last sixth of the time is test, the sixth before it teaches the
order of candidates. Recall@10 is the share of the basket that was proposed, its mean over baskets; intervals
by bootstrap over customers.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
from benchmarks.quality import tables
from benchmarks.quality.machine import machine
from benchmarks.quality.ranked_union import gathered, learn, order

from benchmarks import documents
from opportune.recommend.covisitation import CoVisitation
from opportune.recommend.popular import MostBought
from opportune.recommend.session_knn import SessionKnn
from opportune.recommend.session_knn_config import SessionKnnConfig
from opportune.recommend.source import Interactions, Kind, Query

DEPTH = 10
PERSONAL = 150
ASKED = 50
TEST_SHARE, LEARN_SHARE = 1 / 6, 1 / 6
LEARN_MOST = 2000
RESAMPLES = 1000
DAY_MS = 86_400_000
MEMORY = 5
FADE = 0.8
Items = npt.NDArray[np.int32]


class Basket(msgspec.Struct, frozen=True):
    customer: int
    time: int
    items: Items


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def load(path: Path) -> tuple[list[Basket], int]:
    """Baskets in order of time, and the number of products. Raises :class:`FileNotFoundError` and
    :class:`ValueError` saying what is missing."""
    path = path / "online_retail.parquet" if path.is_dir() else path
    table = tables.read(path)
    invoice, code, quantity, date, customer = (
        tables.need(table, name, path)
        for name in ("InvoiceNo", "StockCode", "Quantity", "InvoiceDate", "CustomerID")
    )
    number: dict[str, int] = {}
    found: dict[str, tuple[int, int, dict[int, None]]] = {}
    moments = date.astype("datetime64[ms]").astype(np.int64)
    for one, product, n, when, who in zip(
        invoice.tolist(), code.tolist(), quantity.tolist(), moments.tolist(), customer.tolist(), strict=True
    ):
        if n <= 0 or who is None or who != who:
            continue
        item = number.setdefault(str(product).upper(), len(number))
        found.setdefault(str(one), (int(who), int(when), {}))[2][item] = None
    baskets = [Basket(who, when, np.array(list(items), np.int32)) for who, when, items in found.values()]
    return sorted(baskets, key=lambda b: b.time), len(number)


class Person:
    """The orders of a customer, as counts that fade and as recency."""

    def __init__(self) -> None:
        self.count: Counter[int] = Counter()
        self.faded: dict[int, float] = {}
        self.last_order: dict[int, int] = {}
        self.last_time: dict[int, int] = {}
        self.orders: list[Basket] = []

    def add(self, basket: Basket) -> None:
        items = basket.items.tolist()
        self.faded = {item: value * FADE for item, value in self.faded.items()}
        for item in items:
            self.count[item] += 1
            self.faded[item] = self.faded.get(item, 0.0) + 1.0
            self.last_order[item] = len(self.orders)
            self.last_time[item] = basket.time
        self.orders.append(basket)

    def recent(self) -> Items:
        """The products of the last orders, oldest first."""
        parts = [basket.items for basket in self.orders[-MEMORY:]]
        return np.concatenate(parts)[-50:]


class Sources:
    """Co-purchase within orders, similar baskets, most bought."""

    def __init__(self, items: int, lines: int) -> None:
        capacity = 1 << max(lines - 1, 1).bit_length()
        self.by_name = {
            "co-purchase": CoVisitation(),
            "similar baskets": SessionKnn(
                SessionKnnConfig(capacity_clicks=capacity, capacity_items=items, seen=1.0, seen_last=1.0)
            ),
            "most bought": MostBought(capacity_items=items),
        }
        self._orders = 0
        self._waiting: list[Basket] = []

    def add(self, basket: Basket) -> None:
        self._waiting.append(basket)

    def learn(self) -> None:
        if not self._waiting:
            return
        sizes = [len(b.items) for b in self._waiting]
        news = Interactions(
            np.repeat(np.arange(self._orders, self._orders + len(sizes)), sizes).astype(np.int64),
            np.concatenate([b.items for b in self._waiting]),
            np.full(sum(sizes), Kind.BUY, np.int8),
            np.repeat([b.time for b in self._waiting], sizes).astype(np.int64),
        )
        for source in self.by_name.values():
            source.update(news)
        self._orders += len(sizes)
        self._waiting = []


NAMES = [
    "score_co_purchase", "rank_co_purchase", "score_similar_baskets", "rank_similar_baskets",
    "score_most_bought", "rank_most_bought",
    "orders_with_it", "share_of_orders", "faded", "orders_since", "days_since", "days_between", "due",
    "bought_by_all", "bought_by_all_lately", "orders", "basket_size",
]  # fmt: skip


def rows(
    person: Person,
    sources: Sources,
    time: int,
    everybody: npt.NDArray[np.float64],
    lately: npt.NDArray[np.float64],
) -> tuple[Items, npt.NDArray[np.float32], dict[str, Items]]:
    """Candidates of a customer at a time, their features, and the list of each single method."""
    recent = person.recent()
    query = Query(
        session=recent,
        kind=np.full(len(recent), Kind.BUY, np.int8),
        age_s=np.zeros(len(recent), np.float32),
        now=time,
        count=ASKED,
    )
    answers = {name: source.recommend(query) for name, source in sources.by_name.items()}
    mine = sorted(person.faded, key=lambda item: -person.faded[item])[:PERSONAL]
    item = np.unique(np.concatenate([np.array(mine, np.int32), *(a.item for a in answers.values())]))
    feature = np.full((len(item), len(NAMES)), np.nan, np.float32)
    for s, answer in enumerate(answers.values()):
        place = np.searchsorted(item, answer.item)
        if len(place):
            feature[place, 2 * s] = answer.score / max(float(answer.score[0]), 1e-12)
            feature[place, 2 * s + 1] = np.arange(1, len(place) + 1)
    n = len(person.orders)
    span = (person.orders[-1].time - person.orders[0].time) / DAY_MS
    for place, one in enumerate(item.tolist()):
        count = person.count.get(one, 0)
        if count:
            since = (time - person.last_time[one]) / DAY_MS
            between = span / (count - 1) if count > 1 else np.nan
            feature[place, 6:13] = (
                count, count / n, person.faded[one], n - person.last_order[one], since, between,
                since / between if between else np.nan,
            )  # fmt: skip
    feature[:, 13] = everybody[item]
    feature[:, 14] = lately[item]
    feature[:, 15] = n
    feature[:, 16] = np.mean([len(b.items) for b in person.orders])
    frequent = np.array(
        sorted(person.count, key=lambda i: (-person.count[i], -person.last_order[i]))[:DEPTH], np.int32
    )
    faded = np.array(mine[:DEPTH], np.int32)
    single = {name: answer.item[:DEPTH] for name, answer in answers.items()}
    single["personal top frequency"] = frequent
    single["personal top frequency, filled up with most bought"] = _filled(frequent, single["most bought"])
    single["personal, fading by a fifth an order"] = _filled(faded, single["most bought"])
    return item, feature, single


def _filled(first: Items, then: Items) -> Items:
    return np.array(list(dict.fromkeys([*first.tolist(), *then.tolist()]))[:DEPTH], np.int32)


def run(baskets: list[Basket], items: int, *, seed: int) -> dict[str, Any]:
    start, end = baskets[0].time, baskets[-1].time
    test = end - int((end - start) * TEST_SHARE)
    first = test - int((end - start) * LEARN_SHARE)
    sources = Sources(items, sum(len(b.items) for b in baskets))
    people: dict[int, Person] = {}
    everybody, lately = np.zeros(items), np.zeros(items)
    learning = [i for i, b in enumerate(baskets) if first <= b.time < test]
    rng = np.random.default_rng(seed)
    chosen = set(rng.choice(learning, min(LEARN_MOST, len(learning)), replace=False).tolist())
    taught: list[tuple[Any, Any, Any]] = []
    asked: list[tuple[Any, Any, Any]] = []
    wanted: list[set[int]] = []
    customer: list[int] = []
    lists: dict[str, list[Items]] = {}
    day = start
    for i, basket in enumerate(baskets):
        while basket.time >= day + DAY_MS:
            lately *= 0.5 ** (1 / 14)
            day += DAY_MS
        person = people.setdefault(basket.customer, Person())
        if person.orders and (basket.time >= test or i in chosen):
            sources.learn()
            item, feature, single = rows(person, sources, basket.time, everybody, lately)
            case = (item, feature, np.isin(item, basket.items).astype(np.int8))
            if basket.time < test:
                taught.append(case)
            else:
                asked.append(case)
                wanted.append(set(basket.items.tolist()))
                customer.append(basket.customer)
                for name, found in single.items():
                    lists.setdefault(name, []).append(found)
        person.add(basket)
        sources.add(basket)
        np.add.at(everybody, basket.items, 1)
        np.add.at(lately, basket.items, 1)
    say(f"{len(taught)} orders to learn from, {len(asked)} of test")
    booster = learn(gathered(taught), names=NAMES, seed=seed)
    union = gathered(asked)
    lists["the whole"] = order(union, np.asarray(booster.predict(union.feature)))
    possible = [len(w.intersection(c[0].tolist())) / len(w) for w, c in zip(wanted, asked, strict=True)]
    gain = np.argsort(-booster.feature_importance("gain"))[:8]
    return {
        "scenario": "next-basket/online-retail",
        "cases": len(asked),
        "customers": len(set(customer)),
        "learning_cases": len(taught),
        "products": items,
        "seed": seed,
        "trees": int(booster.best_iteration),
        "candidates_hold": round(100 * float(np.mean(possible)), 2),
        "results": {name: measured(found, wanted, customer, seed) for name, found in lists.items()},
        "most_useful": [NAMES[int(i)] for i in gain],
        "machine": machine(),
    }


def measured(lists: list[Items], wanted: list[set[int]], customer: list[int], seed: int) -> dict[str, Any]:
    hits = np.array(
        [len(w.intersection(found[:DEPTH].tolist())) for found, w in zip(lists, wanted, strict=True)]
    )
    recall = hits / np.array([len(w) for w in wanted])
    _, inverse = np.unique(customer, return_inverse=True)
    sums = np.stack([np.bincount(inverse, weights=c) for c in (recall, np.ones(len(recall)))])
    rng = np.random.default_rng(seed)
    n = sums.shape[1]
    drawn = [sums[:, rng.integers(0, n, n)].sum(axis=1) for _ in range(RESAMPLES)]
    return {
        "recall10": round(100 * float(recall.mean()), 2),
        "recall10_interval": [
            round(100 * float(v), 2) for v in np.percentile([d[0] / d[1] for d in drawn], (2.5, 97.5))
        ],
        "hit10": round(100 * float((hits > 0).mean()), 2),
        "precision10": round(100 * float((hits / DEPTH).mean()), 2),
    }


def markdown(report: dict[str, Any]) -> str:
    lines = [
        f"{report['cases']:,} orders of {report['customers']:,} customers, {report['products']:,} products, "
        f"{report['learning_cases']:,} earlier orders to learn from, seed {report['seed']}; intervals by "
        f"bootstrap over customers. {report['candidates_hold']:.0f} % of what was bought is among the "
        "candidates.",
        "",
        "| | recall@10 | 95 % | any of ten | precision@10 |",
        "|---|---|---|---|---|",
    ]
    for name, r in report["results"].items():
        low, high = r["recall10_interval"]
        lines.append(
            f"| {name} | {r['recall10']:.1f} | {low:.1f}-{high:.1f} | {r['hit10']:.1f} "
            f"| {r['precision10']:.1f} |"
        )
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="benchmarks.quality.next_basket", description=__doc__)
    parser.add_argument("path", type=Path, help="online_retail.parquet or its folder")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--write-docs", type=Path, metavar="FILE", help="put the table into a document")
    options = parser.parse_args(arguments)
    try:
        baskets, items = load(options.path)
    except (FileNotFoundError, ValueError) as error:
        say(str(error))
        return 2
    report = run(baskets, items, seed=options.seed)
    if options.write_docs:
        documents.put(options.write_docs, "quality-next-basket", markdown(report))
    print(msgspec.json.encode(report).decode() if options.json else markdown(report))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
