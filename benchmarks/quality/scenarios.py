"""The scenarios of the next-item benchmark: permanent ids, what each is, and how far it may fall.

A result that is lower than the one in docs/benchmarks.md by more than its tolerance (points, the same data
and seed) is a regression. Baselines and untrained sources compute the same thing every time; what is trained
moves a little with the library's version and the order of its sums.
"""

from __future__ import annotations

from typing import NamedTuple


class Scenario(NamedTuple):
    label: str
    hr20: float
    mrr20: float


SCENARIOS = {
    "sessions/popular": Scenario("popular", 0.0, 0.0),
    "sessions/s-pop": Scenario("session popularity (S-POP)", 0.0, 0.0),
    "sessions/markov": Scenario("Markov chain", 0.0, 0.0),
    "sessions/sr": Scenario("sequential rules (SR)", 0.0, 0.0),
    "sessions/ar": Scenario("association rules (AR)", 0.0, 0.0),
    "sessions/item-knn": Scenario("item-kNN", 0.0, 0.0),
    "sessions/v-sknn": Scenario("V-SKNN, textbook", 0.05, 0.05),
    "sessions/knn-default": Scenario("session-kNN, shipped defaults", 0.05, 0.05),
    "sessions/knn-tuned": Scenario("session-kNN, tuned on train", 0.3, 0.2),
    "sessions/covisitation": Scenario("co-visitation", 0.05, 0.05),
    "sessions/sequence": Scenario("sequence model", 0.8, 0.4),
    "sessions/ranked": Scenario("ranked", 0.3, 0.2),
    "sessions/ranked-live": Scenario("ranked, index living through test (prequential)", 0.3, 0.2),
    "sessions/ranked-sampled-negatives": Scenario("ranked, from sampled negatives (ablation)", 1.0, 0.5),
}


def label(scenario: str) -> str:
    return SCENARIOS[scenario].label


def fallen(now: dict[str, dict[str, float]], before: dict[str, dict[str, float]]) -> list[str]:
    """What became worse than its tolerance allows, one line each; scenarios that are not in both runs are
    left out."""
    lines = []
    for name, scenario in SCENARIOS.items():
        if name not in now or name not in before:
            continue
        for measure, tolerance in (("hr20", scenario.hr20), ("mrr20", scenario.mrr20)):
            was, found = before[name][measure], now[name][measure]
            if found < was - tolerance - 1e-9:
                lines.append(f"{name} {measure}: {found:.2f}, was {was:.2f}, may fall by {tolerance:.2f}")
    return lines
