"""From the history of interactions to a trained ranker, without looking ahead.

The candidate stage is fitted on the earlier sessions and asked about the later ones; the ranker learns from
their first part what was really returned, the number of trees is chosen on the second, and the last part is
held out for the metrics. Serving then uses the live candidate stage, which has learnt everything.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from typing import Any, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from opportune.errors import InvalidRequest
from opportune.learn.ablation import ablate
from opportune.learn.bundle import Bundle
from opportune.learn.candidate_rows import Cases, Progress, Rows, candidate_rows, cases_of, no_progress
from opportune.learn.candidate_stage import CandidateStage
from opportune.learn.drift import Baseline, ranker_baselines
from opportune.learn.impressions import FEWEST, Shown, impression_rows
from opportune.learn.item_vectors import item_vectors
from opportune.learn.measures import difference, measures
from opportune.learn.outcomes import outcome_report, train_outcomes
from opportune.learn.ranker_evaluation import Ranked, rank_cases
from opportune.learn.ranker_training import RankerConfig, best_size, importances, train_trees
from opportune.recommend.past import Past
from opportune.recommend.rank_features import ItemTable
from opportune.recommend.sequence import SequenceSource
from opportune.recommend.source import Interactions
from opportune.recommend.tree_scorer import TreeScorer

LEAST_CASES = 200
ENOUGH_SESSIONS = 3_000
"""A ranker of fewer ordered small histories worse than session-kNN alone did, on the last training sessions
of three public shops; of so many, or a quarter, better."""
Pasts = Callable[[Interactions, npt.NDArray[np.int64]], Sequence[Past]]
"""(touches, whole sessions one after another; row numbers) -> the earlier visits of the person of each row,
as they were known just before it."""


class Slices(msgspec.Struct, frozen=True, kw_only=True):
    """Shares of the sessions, in order of time: what the stage is fitted on, then learnt from, chosen on,
    and measured on. ``most_cases`` bounds what is learnt from; later sessions are kept. A small history
    gives more of itself to learning (:meth:`learnt`)."""

    learn: float = 0.10
    choose: float = 0.03
    measure: float = 0.05
    most_cases: int = 40_000

    def learnt(self, sessions: int) -> float:
        """The share to learn from of so many sessions: :data:`ENOUGH_SESSIONS`, or a quarter of them, where
        ``learn`` would be fewer."""
        return max(self.learn, min(ENOUGH_SESSIONS / max(sessions, 1), 0.25))


class Rival(NamedTuple):
    """Another version, asked the same measured cases."""

    version: str
    trees: str
    vectors: npt.NDArray[np.float32]
    sequence: SequenceSource | None = None


class Trained(NamedTuple):
    """``vectors`` are of the whole history; ``report`` has metrics, segments and importance; ``baselines``
    are those of the cases that the size was chosen on, which no tree has seen. ``sequence``: the sequence
    model whose opinion is a feature, trained on what was before the cases; serving uses the same one, for a
    model that has met the cases would be surer of them than of anything to come."""

    trees: str
    size: int
    vectors: npt.NDArray[np.float32]
    cases: int
    report: dict[str, Any]
    baselines: dict[str, Baseline]
    outcomes: dict[str, str]
    sequence: SequenceSource | None = None


def train_ranker(
    stage: CandidateStage,
    history: Interactions,
    table: ItemTable,
    items: int,
    config: RankerConfig,
    slices: Slices,
    *,
    outcomes: bool = False,
    ablation: bool = False,
    rival: Rival | None = None,
    shown: Sequence[Shown] | None = None,
    known: Callable[[Interactions], frozenset[int]] | None = None,
    pasts: Pasts | None = None,
    threads: int = 2,
    progress: Callable[[str], Progress] = lambda step: no_progress,
) -> Trained:
    """Train on a history as the interaction log keeps it. About half a millisecond a case, and the trees.

    ``stage`` is fitted anew here. ``outcomes``: also learn the chances that objectives weigh. ``shown``:
    learn the order from these lists instead, with their places (position bias); everything else, the
    measuring too, stays. ``known`` says which of the sessions measured are of people who had been there
    before: they are told apart in the report. ``pasts`` tells the person's earlier visits as of each case;
    without, the columns about them are empty. Raises :class:`InvalidRequest` when the history
    is too short.
    """
    touches = by_session(history)
    session = np.unique(touches.session)
    learn, choose, measure = (
        round(len(session) * (1.0 - share))
        for share in (
            slices.learnt(len(session)) + slices.choose + slices.measure,
            slices.choose + slices.measure,
            slices.measure,
        )
    )
    bounds = np.searchsorted(
        touches.session, [session[at] for at in (learn, choose, measure)] if len(session) > 20 else [0, 0, 0]
    )
    parts = [part(touches, a, b) for a, b in zip(bounds, [*bounds[1:], len(touches)], strict=True)]
    cases = [cases_of(one) for one in parts]
    cases[0] = newest(cases[0], slices.most_cases)
    if len(cases[0]) < LEAST_CASES or not len(cases[1]) or not len(cases[2]):
        raise InvalidRequest(
            f"too little history: at least {LEAST_CASES} touches that follow another one are needed",
            seen=f"{len(touches)} touches in {len(session)} sessions",
            remedy="import more history, or go on collecting; until then the blend ranks",
        )
    cases = with_pasts(cases, bounds, touches, pasts)
    past = part(touches, 0, int(bounds[0]))
    stage.fit(past)
    vectors = item_vectors(past, items)
    stage.items = table._replace(vector=vectors)
    sequence = stage.sequence
    rows = candidate_rows(stage, cases[0], progress=progress("learning cases"))
    if shown is None:
        text = train_trees(rows, config, threads=threads)
    else:
        lists = _between(shown, parts[0], parts[1])
        logged, place = impression_rows(stage, lists, progress=progress("shown lists"))
        if len(logged.start) <= FEWEST:
            raise InvalidRequest(
                f"at least {FEWEST} shown lists with a click are needed",
                seen=f"{len(logged.start) - 1} of {len(shown)}, in the time that is learnt from",
                remedy="train on sessions, or let more decisions be acted on",
            )
        text = train_trees(logged, config, place=place, threads=threads)
    chances = train_outcomes(rows, cases[0], config, threads=threads) if outcomes else {}
    stage.update(parts[0])
    held_out = candidate_rows(stage, cases[1], progress=progress("choosing cases"))
    size, text = best_size(text, held_out, sorted({*range(20, config.trees, 20), config.trees}))
    stage.update(parts[1])
    scorer = TreeScorer.from_text(text)
    baselines = ranker_baselines(held_out.features, scorer.score(np.ascontiguousarray(held_out.features.T)))
    ranked = rank_cases(stage, cases[2], (scorer,), progress=progress("measured cases"))
    of_known = None if known is None else known(parts[2])
    report = report_of(ranked, cases[2], past, items, config.seed, importances(text), of_known)
    report["ablation"] = (
        ablate(rows, held_out, cases[1], config, threads=threads, progress=progress) if ablation else {}
    )
    report["rival"] = {}
    if rival is not None:
        stage.items = table._replace(vector=np.array(rival.vectors, np.float32))
        stage.sequence = rival.sequence
        theirs = rank_cases(stage, cases[2], (TreeScorer.from_text(rival.trees),)).rankers[0]
        session_of = cases[2].session()
        report["rival"] = {
            "version": rival.version,
            "metrics": measures(theirs, session_of, config.seed),
            "difference": difference(ranked.rankers[0], theirs, session_of, config.seed),
        }
    report["outcomes"] = outcome_report(chances, held_out, cases[1])
    return Trained(
        trees=text,
        size=size,
        vectors=item_vectors(touches, items),
        cases=len(cases[0]),
        report=report,
        baselines=baselines,
        outcomes=chances,
        sequence=sequence,
    )


def evaluate(
    stage: CandidateStage,
    history: Interactions,
    table: ItemTable,
    bundles: Mapping[str, Bundle],
    share: float,
    seed: int,
    *,
    pasts: Pasts | None = None,
    progress: Callable[[str], Progress] = lambda step: no_progress,
) -> dict[str, dict[str, Any]]:
    """Metrics of the stage alone (``stage``) and of each bundle on the last ``share`` of the sessions, with
    candidates and signals of what was before. Raises :class:`InvalidRequest` when there is no case."""
    touches = by_session(history)
    session = np.unique(touches.session)
    first = session[max(round(len(session) * (1.0 - share)), 1) :]
    at = int(np.searchsorted(touches.session, first[0])) if len(first) else len(touches)
    cases = cases_of(part(touches, at, len(touches)))
    if not len(cases):
        raise InvalidRequest(
            "no session of the last ones has two touches",
            seen=f"{len(first)} sessions",
            remedy="a larger share",
        )
    [cases] = with_pasts([cases], [at], touches, pasts)
    stage.fit(part(touches, 0, at))
    told: dict[str, dict[str, Any]] = {}
    for version, bundle in bundles.items():
        stage.items = table._replace(vector=np.array(bundle.vectors, np.float32))
        stage.sequence = bundle.sequence_source()
        ranked = rank_cases(stage, cases, (TreeScorer.from_text(bundle.trees),), progress=progress(version))
        told["stage"] = measures(ranked.stage, cases.session(), seed)
        told[version] = measures(ranked.rankers[0], cases.session(), seed)
    return told


def report_of(
    ranked: Ranked,
    cases: Cases,
    past: Interactions,
    items: int,
    seed: int,
    importance: dict[str, float],
    known: frozenset[int] | None = None,
) -> dict[str, Any]:
    """Metrics of the stage alone and with the ranker, the same by segment, coverage and novelty."""
    session = cases.session()
    shown = ranked.rankers[0]
    told = {"stage": measures(ranked.stage, session, seed), "ranked": measures(shown, session, seed)}
    count = np.bincount(past.item, minlength=items)
    head = count >= np.sort(count)[::-1][max(items // 20, 1) - 1]
    length = cases.at - cases.first
    target = cases.touches.item[cases.at]
    segments = {
        "short sessions (1 or 2 touches)": length <= 2,
        "longer sessions": length > 2,
        "head items (the top 5 %)": head[target],
        "tail items": ~head[target] & (count[target] > 0),
        "new items": count[target] == 0,
    }
    if known is not None:
        is_known = np.isin(session, np.array(sorted(known), np.int64))
        segments = {"new people": ~is_known, "known people": is_known, **segments}
    top = ranked.top[ranked.top >= 0]
    told["ranked"]["coverage"] = round(float(len(np.unique(top)) / max((count > 0).sum(), 1)), 4)
    share = np.maximum(count[top], 1) / max(count.sum(), 1)
    told["ranked"]["novelty_bits"] = round(float(-np.log2(share).mean()), 2) if len(top) else 0.0
    return {
        "metrics": told,
        "segments": {
            name: {
                "stage": measures(ranked.stage[which], session[which], seed),
                "ranked": measures(shown[which], session[which], seed),
            }
            for name, which in segments.items()
        },
        "importance": importance,
    }


def _between(shown: Sequence[Shown], learnt: Interactions, later: Interactions) -> list[Shown]:
    """The lists of the time that is learnt from: earlier ones are known to the stage already."""
    since, until = int(learnt.time.min()), int(later.time.min())
    return [one for one in shown if since <= one.time < until]


def by_session(history: Interactions) -> Interactions:
    """Whole sessions one after another, in the order of their numbers, which is that of their beginning."""
    order = np.argsort(history.session, kind="stable")
    return Interactions(*(column[order] for column in _columns(history)))


def part(touches: Interactions, first: int, last: int) -> Interactions:
    return Interactions(*(column[first:last] for column in _columns(touches)))


def newest(cases: Cases, most: int) -> Cases:
    """At most the last ``most`` cases."""
    return msgspec.structs.replace(
        cases,
        first=cases.first[-most:],
        at=cases.at[-most:],
        past=None if cases.past is None else cases.past[-most:],
    )


def with_pasts(
    cases: Sequence[Cases],
    begins: Sequence[int] | npt.NDArray[np.int64],
    touches: Interactions,
    pasts: Pasts | None,
) -> list[Cases]:
    """The cases with the earlier visits of their people; ``begins`` says at which row of ``touches`` the
    touches of each set of cases begin. All are asked for at once."""
    if pasts is None:
        return list(cases)
    asked = [one.at + begin for one, begin in zip(cases, begins, strict=True)]
    found = iter(pasts(touches, np.concatenate(asked)))
    return [msgspec.structs.replace(one, past=list(islice(found, len(one)))) for one in cases]


def _columns(rows: Interactions) -> tuple[npt.NDArray[Any], ...]:
    return rows.session, rows.item, rows.kind, rows.time


__all__ = ["RankerConfig", "Rows", "Slices", "Trained", "train_ranker"]
