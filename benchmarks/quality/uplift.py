"""How well the people who change are found: ``python -m benchmarks.quality.uplift FILE --treatment COLUMN
--outcome COLUMN [--json]``.

``FILE`` (.csv, .csv.gz or .parquet) has one row per person of a randomized trial: a treatment column (0 / 1,
or names of arms, each compared with the control), outcomes, and what was known before. Protocol of
scikit-uplift's Hillstrom notebook: 70 / 30, stratified on treatment and outcome, seed 42. The learner is
chosen by cross-validation on the 70 % alone; the 30 % are asked once. Columns that cannot have been known
before the treatment are left out and named: those called like an outcome, those that differ between the
randomized arms, those that go with the outcome without exception. Beside it, scikit-uplift's own
learners where it is installed (``pip install scikit-uplift``).
"""

from __future__ import annotations

import argparse
import sys
import warnings
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from benchmarks.quality.machine import machine
from benchmarks.quality.tables import Column, is_number, need, one_hot, read

from benchmarks import documents
from opportune.experiments.uplift.audiences import audiences
from opportune.experiments.uplift.learners import Linear, Mean, TLearner, scores_by
from opportune.experiments.uplift.metrics import Floats, bootstrap, qini, uplift_at, uplift_at_interval
from opportune.experiments.uplift.selection import AVERAGE, choose, standard_learners
from opportune.experiments.uplift.trees import Trees

PUBLISHED = {"Womens E-Mail": 0.0314, "Mens E-Mail": 0.0654}
"""scikit-uplift's notebook: uplift at 10 %, class transformation over CatBoost."""

CONTROLS = ("no e-mail", "control", "none", "no", "false", "0", "holdout")
OUTCOMES = {"visit", "conversion", "spend", "click", "purchase", "revenue", "exposure", "target", "outcome"}
LATER_Z = 4.5
MAX_LEVELS = 50
RESAMPLES = 200


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def arms(treatment: Column, control: str | None) -> tuple[str, list[str]]:
    """The control's name and the others'. Without ``control`` the arm is taken that is called like one."""
    names = [str(name) for name in np.unique(treatment.astype(str))]
    if control is None:
        called = [name for name in names if name.lower().removesuffix(".0") in CONTROLS]
        if len(called) != 1:
            raise ValueError(f"say which of {', '.join(names)} is the control: --control NAME")
        control = called[0]
    if control not in names:
        raise ValueError(f"no row has the control {control!r}; there are {', '.join(names)}")
    return control, [name for name in names if name != control]


def not_known_before(
    table: dict[str, Column], arm_of: Column, control: str, outcome: str, ignored: set[str]
) -> dict[str, str]:
    """Columns that cannot be features, and why: outcomes by name, consequences of the treatment (they differ
    between randomized arms), and columns that go with the outcome without exception."""
    event = table[outcome] != 0
    why = {}
    for name, column in table.items():
        if name in ignored:
            continue
        if name.lower() in OUTCOMES:
            why[name] = "an outcome by its name"
        elif not is_number(column):
            if len(np.unique(column.astype(str))) > MAX_LEVELS:
                why[name] = f"over {MAX_LEVELS} different values"
        elif tells_the_outcome(column != 0, event):
            why[name] = "goes with the outcome without exception"
    for name, column in table.items():
        if name in why or name in ignored:
            continue
        values = numbers(column)
        for arm in np.unique(arm_of[arm_of != control]):
            rows = (arm_of == arm) | (arm_of == control)
            on = (arm_of[rows] == arm).astype(np.float64)
            worst = max(abs(difference_z(values[rows, i], on)) for i in range(values.shape[1]))
            if worst > LATER_Z:
                why[name] = f"differs between {arm} and {control} (z {worst:.1f})"
    return why


def tells_the_outcome(there: Column, event: Column) -> bool:
    """Whether the outcome always, or never, happens on one side of a column, where 20 exceptions were due."""
    rate = event.mean()
    for side in (there, ~there):
        happened, n = int(event[side].sum()), int(side.sum())
        if (happened == 0 and n * rate > 20) or (happened == n and n * (1 - rate) > 20):
            return True
    return False


def numbers(column: Column) -> Floats:
    """(n, k): a number as it is (missing becomes -1), text as indicators."""
    return (
        np.nan_to_num(column.astype(np.float64)[:, None], nan=-1.0) if is_number(column) else one_hot(column)
    )


def difference_z(values: Floats, treated: Floats) -> float:
    a, b = values[treated == 1], values[treated == 0]
    error = np.sqrt(a.var() / len(a) + b.var() / len(b))
    return float((a.mean() - b.mean()) / error) if error > 0 else 0.0


def split(treated: Floats, outcome: Floats, seed: int) -> tuple[np.ndarray, np.ndarray, str]:
    """Row numbers of 70 % and 30 %, stratified on treatment and (binary) outcome; scikit-learn's split
    where it is installed, as published."""
    strata = 2 * treated + (outcome > 0)
    try:
        from sklearn.model_selection import train_test_split
    except ImportError:
        rng = np.random.default_rng(seed)
        test = np.zeros(len(treated), dtype=bool)
        for stratum in np.unique(strata):
            rows = rng.permutation(np.flatnonzero(strata == stratum))
            test[rows[: round(0.3 * len(rows))]] = True
        return np.flatnonzero(~test), np.flatnonzero(test), "own"
    train, held = train_test_split(np.arange(len(treated)), test_size=0.3, random_state=seed, stratify=strata)
    return train, held, "scikit-learn"


def compare(context: Floats, treated: Floats, outcome: Floats, seed: int) -> dict[str, Any]:
    train, test, splitter = split(treated, outcome, seed)
    x, t, y = context[train], treated[train], outcome[train]
    binary = bool(np.isin(outcome, (0, 1)).all())
    made = standard_learners(binary, seed=seed)
    say(f"  choosing on {len(train)} people")
    chosen = choose(made, x, t, y, seed=seed)
    fitted: dict[str, Linear] = {name: make() for name, make in made.items()}
    for learner in fitted.values():
        learner.fit(x, t, y)
    fitted[AVERAGE] = Mean(list(fitted.values()))
    predicted = {name: learner.uplift(context[test]) for name, learner in fitted.items()}
    ours = predicted[chosen.name]
    held_y, held_t = outcome[test], treated[test]
    say("  scikit-uplift's learners")
    theirs = library(x, t, y, context[test], seed) if binary else {}
    outcomes = TLearner(Trees(binary=binary, seed=seed))
    outcomes.fit(x, t, y)
    scores = scores_by(outcomes, context[test], held_t, held_y)
    report: dict[str, Any] = {
        "people": {"train": len(train), "test": len(test)},
        "split": splitter,
        "effect": round(float(held_y[held_t == 1].mean() - held_y[held_t == 0].mean()), 4),
        "chosen": chosen.name,
        "chosen_by": {name: round(score, 4) for name, score in chosen.scores.items()},
        "ours": measures(held_y, ours, held_t, seed),
        "learners": {name: brief(held_y, each, held_t) for name, each in predicted.items()},
        "library": {name: brief(held_y, each, held_t) for name, each in theirs.items()},
        "audiences": [msgspec.to_builtins(group) for group in audiences(ours, scores, held_y, held_t).groups],
    }
    defaults = {name: each for name, each in theirs.items() if "small trees" not in name}
    if defaults:
        best = max(defaults, key=lambda name: report["library"][name]["qini"])
        report["against_library"] = against(held_y, ours, theirs[best], held_t, best, seed)
    return report


def brief(outcome: Floats, predicted: Floats, treated: Floats) -> dict[str, float]:
    return {
        "qini": round(qini(outcome, predicted, treated), 4),
        "uplift_at_10": round(uplift_at(0.1)(outcome, predicted, treated), 4),
        "uplift_at_10_overall": round(uplift_at(0.1, by_group=False)(outcome, predicted, treated), 4),
    }


def measures(outcome: Floats, predicted: Floats, treated: Floats, seed: int) -> dict[str, Any]:
    ends = uplift_at_interval(0.1, outcome, predicted, treated)
    area = bootstrap(qini, outcome, predicted, treated, resamples=RESAMPLES, seed=seed)
    return {
        **brief(outcome, predicted, treated),
        "uplift_at_10_interval": [round(end, 4) for end in ends],
        "qini_interval": [round(end, 4) for end in area],
    }


def against(
    outcome: Floats, ours: Floats, theirs: Floats, treated: Floats, name: str, seed: int
) -> dict[str, Any]:
    """Our Qini less the library's best, the same people resampled for both."""
    rng = np.random.default_rng(seed)
    drawn = []
    for _ in range(RESAMPLES):
        rows = rng.integers(0, len(outcome), len(outcome))
        y, t = outcome[rows], treated[rows]
        drawn.append(qini(y, ours[rows], t) - qini(y, theirs[rows], t))
    low, high = np.quantile(drawn, (0.025, 0.975))
    gained = qini(outcome, ours, treated) - qini(outcome, theirs, treated)
    return {
        "best": name,
        "qini_difference": round(gained, 4),
        "interval": [round(float(low), 4), round(float(high), 4)],
    }


def library(context: Floats, treated: Floats, outcome: Floats, asked: Floats, seed: int) -> dict[str, Floats]:
    """scikit-uplift's learners over LightGBM as it comes, and over our small trees; none without it."""
    try:
        import lightgbm
        import pandas
        from sklift.models import ClassTransformation, SoloModel, TwoModels
    except ImportError:
        return {}
    trees = Trees()
    small = {
        "n_estimators": trees.rounds,
        "num_leaves": trees.leaves,
        "learning_rate": trees.rate,
        "min_child_samples": trees.smallest_leaf,
    }
    names = [f"c{i}" for i in range(context.shape[1])]
    x, held = pandas.DataFrame(context, columns=names), pandas.DataFrame(asked, columns=names)
    t, y = pandas.Series(treated), pandas.Series(outcome)

    def model(**given: Any) -> Any:
        return lightgbm.LGBMClassifier(verbosity=-1, random_state=seed, n_jobs=1, **given)

    found = {}
    for suffix, given in (("", {}), (", small trees", small)):
        for name, made in {
            "solo": SoloModel(model(**given)),
            "solo, interactions": SoloModel(model(**given), method="treatment_interaction"),
            "two models": TwoModels(model(**given), model(**given)),
            "two models, ddr control": TwoModels(model(**given), model(**given), method="ddr_control"),
            "two models, ddr treatment": TwoModels(model(**given), model(**given), method="ddr_treatment"),
            "class transformation": ClassTransformation(model(**given)),
        }.items():
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # its class transformation warns of unequal arms
                made.fit(x, y, t)
                found[name + suffix] = np.asarray(made.predict(held), dtype=np.float64)
    return found


def run(
    path: Path, treatment: str, outcome: str, control: str | None, ignored: set[str], seed: int
) -> dict[str, Any]:
    table = read(path)
    arm_of, result = need(table, treatment, path).astype(str), need(table, outcome, path)
    if not is_number(result):
        raise ValueError(f"{outcome} must hold numbers, not {result[0]!r}")
    base, others = arms(arm_of, control)
    unused = not_known_before(table, arm_of, base, outcome, {treatment, outcome, *ignored})
    for column, why in unused.items():
        say(f"left out: {column}: {why}")
    columns = [name for name in table if name not in {treatment, outcome, *ignored, *unused}]
    if not columns:
        raise ValueError(f"no column of {path.name} was known before the treatment")
    context = np.concatenate([numbers(table[name]) for name in columns], axis=1)
    arms_found = {}
    for name in others:
        rows = np.flatnonzero((arm_of == name) | (arm_of == base))
        say(f"{name} against {base}: {len(rows)} people, {context.shape[1]} columns")
        arms_found[name] = compare(
            context[rows], (arm_of[rows] == name).astype(np.float64), result[rows].astype(np.float64), seed
        )
    report = {
        "treatment": treatment,
        "outcome": outcome,
        "control": base,
        "columns": columns,
        "left_out": unused,
        "arms": arms_found,
    }
    return {**report, "seed": seed, "machine": machine()}


def table_of(report: dict[str, Any]) -> str:
    lines = [f"left out: {', '.join(report['left_out']) or 'nothing'}"]
    for name, arm in report["arms"].items():
        ours = arm["ours"]
        lines += [
            f"{name} against {report['control']}, {report['outcome']}: {arm['people']['train']} train, "
            f"{arm['people']['test']} test ({arm['split']} split), effect {arm['effect']:+.4f}",
            f"  chosen on train: {arm['chosen']}",
            f"  uplift@10% {ours['uplift_at_10']:.4f} {ours['uplift_at_10_interval']}, "
            f"Qini {ours['qini']:.4f} {ours['qini_interval']}"
            + (f"; published uplift@10% {PUBLISHED[name]}" if name in PUBLISHED else ""),
        ]
        for kind in ("learners", "library"):
            for which, each in arm[kind].items():
                lines.append(f"    {kind:9} {which:40} {each['uplift_at_10']:8.4f} {each['qini']:8.4f}")
        if "against_library" in arm:
            lines.append(f"  against the library's best: {arm['against_library']}")
        lines += [
            f"    {group['audience']:13} {group['people']:6} people, effect {group['effect']:+.4f} "
            f"({group['low']:+.4f} to {group['high']:+.4f})"
            for group in arm["audiences"]
        ]
    return "\n".join(lines)


def markdown(report: dict[str, Any]) -> str:
    lines = [
        f"Outcome `{report['outcome']}`, control `{report['control']}`, seed {report['seed']}.",
        "",
        "| arm | chosen on train | uplift@10 % | 95 % | published | Qini | 95 % | library's best Qini |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, arm in report["arms"].items():
        ours, beside = arm["ours"], arm.get("against_library")
        ends, area = ours["uplift_at_10_interval"], ours["qini_interval"]
        best = f"{arm['library'][beside['best']]['qini']:.4f} ({beside['best']})" if beside else ""
        lines.append(
            f"| {name} | {arm['chosen']} | {ours['uplift_at_10']:.4f} | {ends[0]:.4f} to {ends[1]:.4f} "
            f"| {PUBLISHED.get(name, '')} | {ours['qini']:.4f} | {area[0]:.4f} to {area[1]:.4f} | {best} |"
        )
    for name, arm in report["arms"].items():
        beside = arm.get("against_library")
        if beside:
            low, high = beside["interval"]
            lines += [
                "",
                f"{name}: Qini less the library's best, the same people resampled: "
                f"{beside['qini_difference']:+.4f} ({low:+.4f} to {high:+.4f}). "
                + "With trees as small as ours the library's learners range from "
                + " to ".join(f"{end:.4f}" for end in small_trees(arm["library"]))
                + ".",
            ]
    return "\n".join(lines)


def small_trees(library: dict[str, dict[str, float]]) -> tuple[float, float]:
    found = [each["qini"] for name, each in library.items() if name.endswith("small trees")]
    return min(found), max(found)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="benchmarks.quality.uplift", description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--treatment", required=True, metavar="COLUMN")
    parser.add_argument("--outcome", required=True, metavar="COLUMN")
    parser.add_argument("--control", metavar="NAME", help="the arm that others are compared with")
    parser.add_argument("--ignore", default="", metavar="COLUMNS", help="further outcomes, comma-separated")
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("--write-docs", type=Path, metavar="FILE", help="put the table into a document")
    options = parser.parse_args(arguments)
    ignored = {name.strip() for name in options.ignore.split(",") if name.strip()}
    try:
        report = run(options.file, options.treatment, options.outcome, options.control, ignored, options.seed)
    except (FileNotFoundError, ValueError) as error:
        say(str(error))
        return 2
    if options.write_docs:
        documents.put(options.write_docs, "quality-uplift", markdown(report))
    print(msgspec.json.encode(report).decode() if options.json else table_of(report))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
