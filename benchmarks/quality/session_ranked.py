"""The ranked whole on session data: candidate stage, features and trees, trained on train alone.

The index is fitted on all but the last slice of train; the ranker learns from that slice what the candidate
stage really returned, and how many trees it needs from the end of the slice. Then the index is built anew
from the whole of train and test is asked, once.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec
import numpy as np
from benchmarks.quality.session_data import Sessions, Split
from benchmarks.quality.session_ranks import Ranks, hit_rate, reciprocal_rank
from benchmarks.quality.session_tuning import sized

from opportune.learn.candidate_rows import Rows, candidate_rows, cases_of
from opportune.learn.candidate_stage import CandidateStage
from opportune.learn.item_vectors import item_vectors
from opportune.learn.ranker_evaluation import rank_cases
from opportune.learn.ranker_training import RankerConfig, best_size, importances, train_trees
from opportune.recommend.covisitation import CoVisitation, CoVisitationConfig
from opportune.recommend.rank_features import COLUMNS, no_items
from opportune.recommend.rank_signals import RankSignals
from opportune.recommend.session_knn import SessionKnn
from opportune.recommend.session_knn_config import SessionKnnConfig
from opportune.recommend.tree_scorer import TreeScorer, room_for

CANDIDATES = 100
COVISITATION_WEIGHT = 0.02
"""In the blend: enough to add candidates at the end, too little to reorder those of session-kNN."""
HELD_OUT = 0.15
"""Last share of the ranker's sessions, on which the number of trees is chosen."""
FEW_NEGATIVES = 10
TIMED = 3000
Say = Callable[[str], None]


class RankedWhole(NamedTuple):
    ranks: Ranks
    live_ranks: Ranks
    sampled_ranks: Ranks
    report: dict[str, Any]


def stage_for(split: Split, knn: SessionKnnConfig, clicks: int) -> CandidateStage:
    return CandidateStage(
        [
            (SessionKnn(sized(knn, clicks, split.items)), 1.0),
            (CoVisitation(CoVisitationConfig(capacity_items=split.items)), COVISITATION_WEIGHT),
        ],
        RankSignals(split.items, 1 << 18),
        CANDIDATES,
    )


def fitted(split: Split, knn: SessionKnnConfig, history: Sessions, room: int = 0) -> CandidateStage:
    stage = stage_for(split, knn, len(history.item) + room)
    past = history.interactions()
    stage.fit(past)
    stage.items = no_items()._replace(vector=item_vectors(past, split.items))
    return stage


def fewer_negatives(rows: Rows, seed: int) -> Rows:
    """The same cases with only some negatives kept at random: what not to do, for comparison."""
    size = np.diff(rows.start)
    draw = np.random.default_rng(seed).random(len(rows))
    kept = rows.hit | (draw < FEW_NEGATIVES / np.repeat(np.maximum(size, 1), size))
    start = np.concatenate(([0], np.cumsum(kept)))[rows.start]
    return Rows(rows.features[kept], rows.item[kept], rows.hit[kept], start.astype(np.int64))


def cut(rows: Rows, first: int, last: int) -> Rows:
    a, b = rows.start[first], rows.start[last]
    return Rows(rows.features[a:b], rows.item[a:b], rows.hit[a:b], rows.start[first : last + 1] - a)


def run(
    split: Split,
    knn: SessionKnnConfig,
    config: RankerConfig,
    *,
    share: float,
    cases: int,
    seed: int,
    say: Say,
) -> RankedWhole:
    began = time.perf_counter(), time.process_time()
    at = int(len(split.train) * (1.0 - share))
    asked = split.train.slice(at, len(split.train))
    per_session = max(len(asked.item) / max(len(asked), 1) - 1.0, 1e-9)
    asked = asked.sample(max(int(cases / per_session), 1), seed)
    stage = fitted(split, knn, split.train.slice(0, at))
    say(f"ranker: asking the candidate stage about {len(asked)} later sessions")
    learnt_cases = cases_of(asked.interactions(), timed=False)
    rows = candidate_rows(stage, learnt_cases)
    turn = int(np.searchsorted(learnt_cases.session(), int(len(asked) * (1.0 - HELD_OUT))))
    held_out = cut(rows, turn, len(learnt_cases))
    learnt = cut(rows, 0, turn)
    say(f"ranker: learning from {len(learnt)} candidates of {turn} cases")
    text = train_trees(learnt, config)
    sizes = sorted({*range(20, config.trees, 20), config.trees})
    trees, text = best_size(text, held_out, sizes)
    say(f"ranker: {trees} trees; building the index from the whole of train")
    stage = fitted(split, knn, split.train, len(split.test.item))
    trained = time.perf_counter() - began[0], time.process_time() - began[1]
    sampled = train_trees(fewer_negatives(learnt, seed), config)
    scorers = (TreeScorer.from_text(sampled), TreeScorer.from_text(text))
    test = cases_of(split.test.interactions(), timed=False)
    query_us = query_times(stage, scorers[1], test, seed)
    say(f"test: ranked, {len(test)} cases")
    began_test = time.process_time()
    static = rank_cases(stage, test, scorers, progress=_every(say))
    for name, ranks in (
        ("stage", static.stage),
        ("sampled", static.rankers[0]),
        ("ranked", static.rankers[1]),
    ):
        say(f"{name}: {100 * hit_rate(ranks):.2f} / {100 * reciprocal_rank(ranks):.2f}")
    say(f"{1e6 * (time.process_time() - began_test) / len(test):.0f} us a case with both rankers")
    say("test: ranked, index living through the test period")
    live = rank_cases(stage, _later(test, len(split.train)), scorers[1:], live=True, progress=_every(say))
    return RankedWhole(
        ranks=static.rankers[1],
        live_ranks=live.rankers[0],
        sampled_ranks=static.rankers[0],
        report={
            "candidates": CANDIDATES,
            "features": COLUMNS,
            "trees": trees,
            "leaves": config.leaves,
            "learnt_cases": turn,
            "training_seconds": round(trained[0], 1),
            "training_cpu_seconds": round(trained[1], 1),
            "query_us": query_us,
            "importance": importances(text),
        },
    )


def _later(cases: Any, sessions: int) -> Any:
    """The same cases with session numbers after those of train."""
    touches = cases.touches
    later = msgspec.structs.replace(touches, session=touches.session + sessions)
    return msgspec.structs.replace(cases, touches=later)


def query_times(stage: CandidateStage, scorer: TreeScorer, cases: Any, seed: int) -> dict[str, Any]:
    """Processor microseconds from Python, as a decision calls them: the median of each part, and the
    percentiles of the whole."""
    columns = np.zeros((COLUMNS, room_for(stage.count)), np.float32)
    whole, trees = [], []
    for case in np.random.default_rng(seed).choice(len(cases), min(TIMED, len(cases)), replace=False):
        query = cases.query(int(case), stage.count)
        started = time.thread_time_ns()
        items, _, features = stage.propose(query)
        columns[:, : len(items)] = features
        between = time.thread_time_ns()
        np.argsort(-scorer.score(columns)[: len(items)], kind="stable")
        ended = time.thread_time_ns()
        whole.append((ended - started) / 1000)
        trees.append((ended - between) / 1000)
    p50, p90, p99 = np.percentile(whole, (50, 90, 99))
    return {
        "p50": round(float(p50), 1),
        "p90": round(float(p90), 1),
        "p99": round(float(p99), 1),
        "trees_p50": round(float(np.median(trees)), 1),
    }


def _every(say: Say) -> Callable[[int, int], None]:
    def progress(done: int, of: int) -> None:
        if done % 10_000 == 0:
            say(f"{done} of {of}")

    return progress
