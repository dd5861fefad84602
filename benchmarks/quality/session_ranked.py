"""The ranked whole on session data: candidate stage, features and trees, trained on train alone.

The index is fitted on all but the last slice of train; the ranker learns from that slice what the candidate
stage really returned, and how many trees it needs from the end of the slice. Then the index is built anew
from the whole of train and test is asked, once.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import msgspec
import numpy as np
from benchmarks.quality.session_data import Sessions, Split
from benchmarks.quality.session_pasts import pasts_of
from benchmarks.quality.session_ranks import Ranks, hit_rate, reciprocal_rank
from benchmarks.quality.session_sources import alone, percentiles
from benchmarks.quality.session_tuning import sized

from opportune.errors import InvalidRequest
from opportune.learn.candidate_rows import Cases, Rows, candidate_rows, cases_of
from opportune.learn.candidate_stage import CandidateStage
from opportune.learn.item_vectors import item_vectors
from opportune.learn.ranker_evaluation import rank_cases
from opportune.learn.ranker_training import RankerConfig, best_size, importances, train_trees
from opportune.learn.sequence_training import SequenceConfig, train_sequence
from opportune.recommend.covisitation import CoVisitation, CoVisitationConfig
from opportune.recommend.rank_features import COLUMNS, no_items
from opportune.recommend.rank_signals import RankSignals
from opportune.recommend.sequence import SequenceSource
from opportune.recommend.sequence_model import SequenceModel
from opportune.recommend.session_knn import SessionKnn
from opportune.recommend.session_knn_config import SessionKnnConfig
from opportune.recommend.source import CandidateSource
from opportune.recommend.tree_scorer import TreeScorer, room_for

CANDIDATES = 100
COVISITATION_WEIGHT = 0.02
"""In the blend: enough to add candidates at the end, too little to reorder those of session-kNN."""
SEQUENCE_WEIGHT = 0.1
HELD_OUT = 0.15
"""Last share of the ranker's sessions, on which the number of trees is chosen."""
FEW_NEGATIVES = 10
TIMED = 3000
RANKED, LIVE = "sessions/ranked", "sessions/ranked-live"
SAMPLED = "sessions/ranked-sampled-negatives"
Say = Callable[[str], None]


class RankedWhole(NamedTuple):
    """By scenario: ranks, and what a query costs where it was timed."""

    ranks: dict[str, Ranks]
    costs_us: dict[str, dict[str, Any]]
    report: dict[str, Any]


def stage_for(
    split: Split, knn: SessionKnnConfig, clicks: int, sequence: SequenceModel | None = None
) -> CandidateStage:
    sources: list[tuple[CandidateSource, float]] = [
        (SessionKnn(sized(knn, clicks, split.items)), 1.0),
        (CoVisitation(CoVisitationConfig(capacity_items=split.items)), COVISITATION_WEIGHT),
    ]
    if sequence is not None:
        sources.append((SequenceSource(sequence), SEQUENCE_WEIGHT))
    return CandidateStage(sources, RankSignals(split.items, 1 << 18), CANDIDATES)


def fitted(
    split: Split,
    knn: SessionKnnConfig,
    history: Sessions,
    room: int = 0,
    sequence: SequenceModel | None = None,
) -> CandidateStage:
    stage = stage_for(split, knn, len(history.item) + room, sequence)
    past = history.interactions()
    stage.fit(past)
    stage.items = no_items()._replace(vector=item_vectors(past, split.items))
    return stage


def timely(history: Sequence[Sessions], asked: Sessions) -> Cases:
    """Every prefix of every session asked, with times and the people's earlier visits where the data has
    them."""
    found = cases_of(asked.interactions(), timed=asked.time is not None)
    return msgspec.structs.replace(found, past=pasts_of(history, asked, found))


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
    passes: int,
    ablation: bool,
    seed: int,
    say: Say,
) -> RankedWhole:
    began = time.perf_counter(), time.process_time()
    at = int(len(split.train) * (1.0 - share))
    asked = split.train.slice(at, len(split.train))
    per_session = max(len(asked.item) / max(len(asked), 1) - 1.0, 1e-9)
    asked = asked.sample(max(int(cases / per_session), 1), seed)
    history = split.train.slice(0, at)
    model = sequence_of(history, split.items, passes, seed, say)
    stage = fitted(split, knn, history, sequence=model)
    say(f"ranker: asking the candidate stage about {len(asked)} later sessions")
    learnt_cases = timely([history], asked)
    rows = candidate_rows(stage, learnt_cases)
    turn = int(np.searchsorted(learnt_cases.session(), int(len(asked) * (1.0 - HELD_OUT))))
    held_out = cut(rows, turn, len(learnt_cases))
    learnt = cut(rows, 0, turn)
    say(f"ranker: learning from {len(learnt)} candidates of {turn} cases")
    text = train_trees(learnt, config)
    sizes = sorted({*range(20, config.trees, 20), config.trees})
    trees, text = best_size(text, held_out, sizes)
    say(f"ranker: {trees} trees; building the index from the whole of train")
    model = sequence_of(split.train, split.items, min(passes, 1), seed, say, model)
    stage = fitted(split, knn, split.train, len(split.test.item), model)
    trained = time.perf_counter() - began[0], time.process_time() - began[1]
    scorers = [TreeScorer.from_text(text)]
    if ablation:
        scorers.append(TreeScorer.from_text(train_trees(fewer_negatives(learnt, seed), config)))
    test = timely([split.train], split.test)
    costs = {RANKED: query_times(stage, scorers[0], test, seed)}
    found = {}
    for source in stage.sources[1:]:
        say(f"test: {source.name}")
        ranks, cost = alone(source, test, seed)
        found[f"sessions/{source.name}"], costs[f"sessions/{source.name}"] = ranks, cost
    say(f"test: ranked, {len(test)} cases")
    static = rank_cases(stage, test, tuple(scorers), progress=_every(say))
    found.update(zip((RANKED, SAMPLED), static.rankers, strict=False))
    say("test: ranked, index living through the test period")
    later = _later(timely([split.train, split.test], split.test), len(split.train))
    live = rank_cases(stage, later, (scorers[0],), live=True, progress=_every(say))
    found[LIVE] = live.rankers[0]
    for name, ranks in found.items():
        say(f"{name}: {100 * hit_rate(ranks):.2f} / {100 * reciprocal_rank(ranks):.2f}")
    return RankedWhole(
        ranks=found,
        costs_us=costs,
        report={
            "candidates": CANDIDATES,
            "features": COLUMNS,
            "trees": trees,
            "leaves": config.leaves,
            "learnt_cases": turn,
            "training_seconds": round(trained[0], 1),
            "training_cpu_seconds": round(trained[1], 1),
            "query_us": costs[RANKED],
            "sequence_passes": passes if model is not None else 0,
            "importance": importances(text),
        },
    )


def sequence_of(
    history: Sessions, items: int, passes: int, seed: int, say: Say, before: SequenceModel | None = None
) -> SequenceModel | None:
    """A sequence model of the history; None without ``passes``, or where JAX is not installed."""
    if not passes:
        return None
    began = time.process_time()
    say(f"sequence model: {passes} passes over {len(history)} sessions")
    try:
        model = train_sequence(
            history.interactions(),
            items,
            SequenceConfig(passes=passes, seed=seed),
            before=before,
            progress=_every(say, 500),
        )
    except InvalidRequest as error:
        say(f"no sequence model: {error}")
        return None
    say(f"sequence model: trained in {time.process_time() - began:.0f} s of processor time")
    return model


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
    return {**percentiles(whole), "trees_p50": round(float(np.median(trees)), 1)}


def _every(say: Say, step: int = 10_000) -> Callable[[int, int], None]:
    def progress(done: int, of: int) -> None:
        if done % step == 0:
            say(f"{done} of {of}")

    return progress
