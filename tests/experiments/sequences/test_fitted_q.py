"""Learning which message next: against exact dynamic programming, and against the simulator's truth."""

from __future__ import annotations

import numpy as np
import pytest

from opportune.errors import InvalidRequest
from opportune.experiments.sequences.fitted_q import FittedQ
from opportune.experiments.sequences.journeys import Journeys
from opportune.experiments.sequences.judging import judge, weighed
from opportune.simulate.messages import MessageShop, journeys, worth


def two_steps(n: int, seed: int) -> Journeys:
    """Action 1 pays 1 now and nothing later; action 0 pays 0 now and lets action 0 pay 3 later."""
    rng = np.random.default_rng(seed)
    action = rng.integers(0, 2, (n, 2))
    state = np.zeros((n, 2, 1))
    state[:, 1, 0] = action[:, 0]
    reward = np.stack([action[:, 0], 3.0 * (1 - state[:, 1, 0]) * (action[:, 1] == 0)], axis=1)
    return Journeys(state, action, np.full((n, 2), 0.5), reward + rng.normal(0, 0.1, (n, 2)), 2)


def test_it_gives_up_a_little_now_for_more_later() -> None:
    log = two_steps(2_000, 1)
    assert FittedQ().fit(log).choose(np.zeros((1, 1)), 0).tolist() == [0]
    assert FittedQ(steps_ahead=False).fit(log).choose(np.zeros((1, 1)), 0).tolist() == [1]
    assert FittedQ().fit(log).choose(np.zeros((1, 1)), 1).tolist() == [0]


def test_the_weights_find_what_the_policies_earn() -> None:
    """By hand: looking ahead earns 0 + 3, the best of each moment 1 + 0."""
    log = two_steps(4_000, 2)
    assert weighed(log, FittedQ().fit(log)).mean() == pytest.approx(3.0, abs=0.1)
    assert weighed(log, FittedQ(steps_ahead=False).fit(log)).mean() == pytest.approx(1.0, abs=0.1)


def test_where_messages_echo_looking_ahead_pays() -> None:
    """8,000 logged journeys (seed 1): the truth is inside the interval, and well over the myopic policy."""
    shop = MessageShop(echo=1.0)
    log = journeys(shop, 8_000, 1)
    verdict = judge(log)
    assert verdict.looks_ahead
    myopic = worth(shop, FittedQ(steps_ahead=False).fit(log).choose, 20_000)
    assert worth(shop, verdict.policy.choose, 20_000) > 1.5 * myopic
    assert verdict.sentence.startswith("looking ahead pays: +")


def test_where_every_message_stands_alone_it_says_that_it_does_not_help() -> None:
    shop = MessageShop(echo=0.0)
    verdict = judge(journeys(shop, 8_000, 2))
    assert not verdict.looks_ahead
    assert verdict.low <= 0 <= verdict.high
    assert verdict.sentence.endswith("the best message of each moment is sent")


def test_what_was_hardly_tried_is_not_sent() -> None:
    log = two_steps(1_000, 3)
    action = np.repeat((np.arange(1_000) < 990).astype(np.int64)[:, None], 2, axis=1)
    rare = Journeys(log.state, action, log.propensity, log.reward, 2)
    assert FittedQ(least=50).fit(rare).choose(np.zeros((5, 1)), 0).tolist() == [1] * 5
    with pytest.raises(
        InvalidRequest, match=r"no action was tried often enough, saw 990, at step 1: log more"
    ):
        FittedQ(least=2_000).fit(rare)


@pytest.mark.parametrize(
    ("field", "value", "text"),
    [
        ("reward", np.zeros((10, 3)), r"journeys must be as long as each other, saw '\(10, 3\)', at reward"),
        ("propensity", np.zeros((10, 2)), r"propensities must be over 0 and at most 1, saw 0.0"),
        ("action", np.full((10, 2), 7), r"no such action, saw 7, at action: 0 to 1"),
    ],
)
def test_wrong_logs_are_refused(field: str, value: np.ndarray, text: str) -> None:
    given = {
        "state": np.zeros((10, 2, 1)),
        "action": np.zeros((10, 2), np.int64),
        "propensity": np.full((10, 2), 0.5),
        "reward": np.zeros((10, 2)),
    }
    with pytest.raises(InvalidRequest, match=text):
        Journeys(**{**given, field: value}, actions=2)
