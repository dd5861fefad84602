"""The next item viewed or carted, live: ``python -m benchmarks.quality.retailrocket PATH [--json]``.

``PATH`` is an ``events.parquet`` (or its folder) with ``Time`` (seconds), ``UserId, Type, ItemId, CatId`` and
types ``view, addtocart, transaction``. Scenario ``retailrocket/next-item``.

Protocol: a session ends after 30 minutes without an event. Events are played in order of time; before each
view or cart that continues a session, every source is asked for 20 items knowing all events before it, as it
would be live. The last fifth of the time is test. Knobs of session-kNN are chosen on the last quarter of the
sessions before it, the learned order on the cases of the seven tenths before it; test is asked once. Nothing
is excluded from a list: the next event is often about the same item. Intervals by bootstrap over sessions.
The whole is the union of the sources' first 40 under LambdaMART.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
from benchmarks.quality import tables
from benchmarks.quality.machine import machine
from benchmarks.quality.ranked_union import Union, gathered, learn, order
from benchmarks.quality.retail_features import OF_CANDIDATE, OF_SESSION, Events, Known
from benchmarks.quality.session_data import Sessions, cases
from benchmarks.quality.session_tuning import search, sized

from benchmarks import documents
from opportune.recommend.attributes import Attributes
from opportune.recommend.covisitation import CoVisitation
from opportune.recommend.popular import Popular, PopularInCategory, Trending
from opportune.recommend.session_knn import SessionKnn
from opportune.recommend.session_knn_config import SessionKnnConfig
from opportune.recommend.source import Candidates, CandidateSource, Interactions, Kind, Query

GAP_S = 1800
TEST, TUNE, LEARN = 0.2, 0.2, 0.7
DEPTH = 20
ASKED = 40
RESAMPLES = 1000
KINDS = {"view": Kind.VIEW, "addtocart": Kind.CART, "transaction": Kind.BUY}
BAR = 1.10
Longs = npt.NDArray[np.int64]


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def load(path: Path) -> Events:
    """Raises :class:`FileNotFoundError` and :class:`ValueError` saying what is missing."""
    path = path / "events.parquet" if path.is_dir() else path
    table = tables.read(path)
    time, user, kind, item, category = (
        tables.need(table, name, path) for name in ("Time", "UserId", "Type", "ItemId", "CatId")
    )
    seconds = time.astype(np.float64)
    by_user = np.lexsort((np.arange(len(time)), seconds, user))
    new = np.ones(len(time), bool)
    new[1:] = (np.diff(user[by_user]) != 0) | (np.diff(seconds[by_user]) > GAP_S)
    session = np.empty(len(time), np.int64)
    session[by_user] = np.cumsum(new) - 1
    order_ = np.argsort(seconds, kind="stable")
    first: dict[int, int] = {}
    number = np.array([first.setdefault(int(s), len(first)) for s in session[order_]], np.int64)
    known: dict[int, int] = {}
    dense = np.array([known.setdefault(int(i), len(known)) for i in item[order_]], np.int32)
    groups: dict[int, int] = {}
    category_of = np.full(len(known), -1, np.int32)
    for one, value in zip(dense.tolist(), category[order_].tolist(), strict=True):
        if category_of[one] < 0 and value is not None and value == value:
            category_of[one] = groups.setdefault(int(value), len(groups))
    return Events(
        Interactions(
            number,
            dense,
            np.array([KINDS.get(str(k), Kind.VIEW) for k in kind[order_]], np.int8),
            (seconds[order_] * 1000).astype(np.int64),
        ),
        user[order_].astype(np.int64),
        category_of,
    )


class InSession:
    """The items of the session, newest first."""

    name, reason = "in_session", "viewed_together"

    def fit(self, interactions: Interactions) -> None: ...

    def update(self, interactions: Interactions) -> None: ...

    def recommend(self, query: Query) -> Candidates:
        item = np.array(list(dict.fromkeys(query.session[::-1].tolist())), np.int32)[: query.count]
        score = np.linspace(1.0, 0.5, len(item), dtype=np.float32) if len(item) else np.zeros(0, np.float32)
        return Candidates(item, score, item)


def sources_of(events: Events, tuned: SessionKnnConfig) -> dict[str, CandidateSource]:
    n = len(events.category)
    clicks = len(events.history)
    return {
        "items of the session": InSession(),
        "session-kNN, shipped defaults": SessionKnn(sized(SessionKnnConfig(), clicks, n)),
        "session-kNN, tuned on train": SessionKnn(sized(tuned, clicks, n)),
        "co-visitation": CoVisitation(),
        "attributes": Attributes(lambda: (events.category,), weights=(1.0,), capacity_items=n),
        "popular in category": PopularInCategory(lambda: events.category, capacity_items=n),
        "popular": Popular(capacity_items=n),
        "trending": Trending(capacity_items=n),
    }


def tuned_config(events: Events, until: int, *, evaluations: int, seed: int) -> SessionKnnConfig:
    """Knobs from whole sessions before the test: the newest quarter asks, the others are the index."""
    h = events.history
    session = h.session[:until]
    by_session = np.lexsort((np.arange(until), session))
    edges = np.flatnonzero(np.diff(session[by_session])) + 1
    whole = Sessions(h.item[:until][by_session], np.concatenate(([0], edges, [until])).astype(np.int64))
    cut = int(len(whole) * (1 - TUNE / (1 - TEST)))
    return search(
        whole.slice(0, cut),
        cases(whole.slice(cut, len(whole))),
        len(events.category),
        evaluations=evaluations,
        seed=seed,
        report=say,
    ).config


class Played(msgspec.Struct):
    """What was asked from ``first`` on: the session of each case, what was wanted, the rank that each source
    gave it (0: not among 20), and all candidates with features."""

    session: Longs
    wanted: npt.NDArray[np.int32]
    ranks: dict[str, npt.NDArray[np.int32]]
    union: Union
    at: Longs


def play(events: Events, sources: dict[str, CandidateSource], first: int) -> Played:
    """Play all events in order, asking before each case from event number ``first`` on."""
    h = events.history
    n = len(h)
    of_session: dict[int, list[int]] = {}
    known = Known(events)
    learnt = 0
    asked: list[int] = []
    ranks: dict[str, list[int]] = {name: [] for name in sources}
    rows: list[tuple[npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[Any]]] = []
    for at in range(n):
        session = of_session.setdefault(int(h.session[at]), [])
        if at >= first and session and h.kind[at] != Kind.BUY:
            for source in sources.values():
                source.update(_part(h, learnt, at))
            learnt = at
            recent = session[-50:]
            query = Query(
                session=h.item[recent],
                kind=h.kind[recent],
                age_s=((h.time[at] - h.time[recent]) / 1000).astype(np.float32),
                now=int(h.time[at]),
                count=ASKED,
                item=int(h.item[recent[-1]]),
            )
            answers = [source.recommend(query) for source in sources.values()]
            target = int(h.item[at])
            for name, answer in zip(sources, answers, strict=True):
                place = np.flatnonzero(answer.item[:DEPTH] == target)
                ranks[name].append(int(place[0]) + 1 if len(place) else 0)
            rows.append(_rows(query, answers, int(events.user[at]), known, target))
            asked.append(at)
        elif at < first and at - learnt >= 2000:
            for source in sources.values():
                source.update(_part(h, learnt, at))
            learnt = at
        known.learn(at, int(h.item[session[-1]]) if session else -1)
        session.append(at)
    return Played(
        h.session[asked],
        h.item[asked],
        {name: np.array(found, np.int32) for name, found in ranks.items()},
        gathered(rows),
        np.array(asked, np.int64),
    )


def _part(h: Interactions, first: int, last: int) -> Interactions:
    part = slice(first, last)
    return Interactions(h.session[part], h.item[part], h.kind[part], h.time[part])


def names_of(sources: dict[str, CandidateSource]) -> list[str]:
    of_source = [f"{what} {s}".replace(",", "") for s in sources for what in ("score", "rank")]
    return [name.replace(" ", "_") for name in [*of_source, *OF_CANDIDATE, *OF_SESSION]]


def _rows(
    query: Query, answers: list[Candidates], user: int, known: Known, target: int
) -> tuple[npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[Any]]:
    """The union of what the sources propose, the session's items and the newest others of the person."""
    session = set(query.session.tolist())
    mine = [i for i in known.people[user].last if i not in session][-DEPTH:]
    item = np.unique(np.concatenate([query.session, np.array(mine, np.int32), *(a.item for a in answers)]))
    said = np.full((len(item), 2 * len(answers)), np.nan, np.float32)
    for s, answer in enumerate(answers):
        place = np.searchsorted(item, answer.item)
        if len(place):
            said[place, 2 * s] = answer.score / max(float(answer.score[0]), 1e-12)
            said[place, 2 * s + 1] = np.arange(1, len(place) + 1)
    feature = np.concatenate([said, known.rows(query, user, item)], axis=1)
    return item, feature, (item == target).astype(np.int8)


def run(events: Events, *, evaluations: int, seed: int) -> dict[str, Any]:
    h = events.history
    span = int(h.time[-1] - h.time[0])
    test = int(np.searchsorted(h.time, h.time[0] + (1 - TEST) * span))
    first = int(np.searchsorted(h.time, h.time[0] + (1 - TEST - LEARN) * span))
    tuned = tuned_config(events, test, evaluations=evaluations, seed=seed)
    sources = sources_of(events, tuned)
    say(f"{len(h)} events, asked from {first}, test from {test}")
    played = play(events, sources, first)
    cut = int(np.searchsorted(played.at, test))
    say(f"{cut} cases to learn from, {len(played.at) - cut} of test")
    booster = learn(played.union.slice(0, cut), names=names_of(sources), seed=seed, truncation=8, again=True)
    part = played.union.slice(cut, len(played.at))
    whole = order(part, np.asarray(booster.predict(part.feature)))
    wanted = played.wanted[cut:]
    ranks = {name: found[cut:] for name, found in played.ranks.items()}
    best = max(ranks, key=lambda name: reciprocal(ranks[name]).mean())
    ranks["the whole"] = np.array(
        [_rank(items, target) for items, target in zip(whole, wanted, strict=True)], np.int32
    )
    session = played.session[cut:]
    gain = np.argsort(-booster.feature_importance("gain"))[:8]
    return {
        "scenario": "retailrocket/next-item",
        "events": len(h),
        "cases": len(wanted),
        "learning_cases": cut,
        "seed": seed,
        "trees": booster.current_iteration(),
        "found_by_some_source": round(
            100 * float((np.add.reduceat(part.target, part.start[:-1]) > 0).mean()), 2
        ),
        "best_single": best,
        "gain_over_best_single": ratio(ranks["the whole"], ranks[best], session, seed),
        "bar": BAR,
        "results": {name: measured(found, session, seed) for name, found in ranks.items()},
        "most_useful": [booster.feature_name()[int(i)] for i in gain],
        "machine": machine(),
    }


def _rank(items: npt.NDArray[np.int32], target: int) -> int:
    place = np.flatnonzero(items[:DEPTH] == target)
    return int(place[0]) + 1 if len(place) else 0


def reciprocal(ranks: npt.NDArray[np.int32]) -> npt.NDArray[np.float64]:
    found: npt.NDArray[np.float64] = np.where(ranks > 0, 1.0 / np.maximum(ranks, 1), 0.0)
    return found


def _resampled(
    columns: list[npt.NDArray[np.float64]], session: Longs, seed: int, of: Callable[[Any], Any]
) -> list[float]:
    """The 95 % interval of a statistic of sums over whole sessions."""
    _, inverse = np.unique(session, return_inverse=True)
    sums = np.stack([np.bincount(inverse, weights=column) for column in columns])
    rng = np.random.default_rng(seed)
    n = sums.shape[1]
    drawn = [of(sums[:, rng.integers(0, n, n)].sum(axis=1)) for _ in range(RESAMPLES)]
    return [float(v) for v in np.percentile(drawn, (2.5, 97.5))]


def ratio(
    ours: npt.NDArray[np.int32], theirs: npt.NDArray[np.int32], session: Longs, seed: int
) -> dict[str, Any]:
    a, b = reciprocal(ours), reciprocal(theirs)
    interval = _resampled([a, b], session, seed, lambda s: s[0] / s[1])
    return {"mrr20_ratio": round(float(a.sum() / b.sum()), 4), "interval": [round(v, 4) for v in interval]}


def measured(ranks: npt.NDArray[np.int32], session: Longs, seed: int) -> dict[str, Any]:
    one = np.ones(len(ranks))
    gain, hit = reciprocal(ranks), (ranks > 0).astype(np.float64)
    return {
        "mrr20": round(100 * float(gain.mean()), 2),
        "mrr20_interval": [
            round(100 * v, 2) for v in _resampled([gain, one], session, seed, lambda s: s[0] / s[1])
        ],
        "hr20": round(100 * float(hit.mean()), 2),
    }


def markdown(report: dict[str, Any]) -> str:
    gain = report["gain_over_best_single"]
    lines = [
        f"{report['cases']:,} cases, {report['learning_cases']:,} to learn from, seed {report['seed']}; "
        "intervals by bootstrap over sessions. The whole against the best single source "
        f"({report['best_single']}): "
        f"MRR@20 x {gain['mrr20_ratio']:.3f} ({gain['interval'][0]:.3f}-{gain['interval'][1]:.3f}); "
        f"{report['found_by_some_source']:.1f} % of the items wanted are among the candidates.",
        "",
        "| | MRR@20 | 95 % | HR@20 |",
        "|---|---|---|---|",
    ]
    for name, r in report["results"].items():
        low, high = r["mrr20_interval"]
        lines.append(f"| {name} | {r['mrr20']:.1f} | {low:.1f}-{high:.1f} | {r['hr20']:.1f} |")
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="benchmarks.quality.retailrocket", description=__doc__)
    parser.add_argument("path", type=Path, help="events.parquet or its folder")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--evaluations", type=int, default=100, help="configurations tried at most")
    parser.add_argument("--write-docs", type=Path, metavar="FILE", help="put the table into a document")
    options = parser.parse_args(arguments)
    try:
        events = load(options.path)
    except (FileNotFoundError, ValueError) as error:
        say(str(error))
        return 2
    report = run(events, evaluations=options.evaluations, seed=options.seed)
    if options.write_docs:
        documents.put(options.write_docs, "quality-retailrocket", markdown(report))
    print(msgspec.json.encode(report).decode() if options.json else markdown(report))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
