"""Propensities: learnt from rows as they were, served without LightGBM, scores as features."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from opportune.clock import DAY, HOUR
from opportune.errors import InvalidDefinition
from opportune.events.event import Event
from opportune.identity.as_of import members_as_of
from opportune.identity.links import IDENTIFY, Evidence
from opportune.identity.rules import IdentityRules
from opportune.learn.buying import BuyingModel
from opportune.learn.examples import examples
from opportune.learn.propensity import Propensity, PropensityModel, columns_of, train_propensity
from opportune.learn.scores import Score, ScoreSet, compiled
from opportune.profiles.schema import ProfileSchema

T0 = 1_760_000_000_000


def shoppers(n: int = 1200):
    rng = np.random.default_rng(4)
    rows, outcome = [], []
    for _ in range(n):
        views, plan = int(rng.integers(0, 20)), str(rng.choice(["gold", "tin"]))
        row = {"views": views, "plan": plan, "same": 1, "intents": {"price": rng.random()}, "recency": None}
        rows.append(row)
        outcome.append(bool(rng.random() < 1 / (1 + np.exp(3 - 0.2 * views - 1.5 * (plan == "gold")))))
    return rows, outcome


def test_it_learns_numbers_and_words_and_serves_them_alike():
    rows, outcome = shoppers()
    model = train_propensity(rows, outcome)
    assert "same" not in model.features
    assert "recency" not in model.features
    served = Propensity(msgspec.json.decode(msgspec.json.encode(model), type=PropensityModel))
    low, high = {"views": 1, "plan": "tin"}, {"views": 19, "plan": "gold"}
    truth = [1 / (1 + np.exp(3 - 0.2)), 1 / (1 + np.exp(3 - 3.8 - 1.5))]
    assert [served.read(low), served.read(high)] == pytest.approx(truth, abs=0.12)
    assert served.read_many([low, high]).tolist() == [served.read(low), served.read(high)]
    assert model.base_rate == pytest.approx(np.mean(outcome))


def test_served_predictions_are_those_of_lightgbm():
    import lightgbm

    rows, outcome = shoppers(400)
    model = train_propensity(rows, outcome, features=("views", "plan", "intents.price"))
    x = columns_of(rows, model.features, model.words).T.astype(np.float64)
    expected = lightgbm.Booster(model_str=model.forest).predict(x)
    assert Propensity(model).read_many(rows) == pytest.approx(expected, abs=1e-6)


def test_columns():
    rows = [{"a": True, "w": "x", "d": {"k": 2.5}, "l": [1, 2]}, {"w": "new"}]
    found = columns_of(rows, ("a", "w", "d.k", "d.z", "l"), {"w": ("u", "x")})
    assert found[:, 0].tolist()[:3] == [1.0, 1.0, 2.5]
    assert found[4, 0] == 2.0
    assert found[1, 1] == -1.0
    assert np.isnan(found[[0, 2, 3, 4], 1]).all()


def test_too_few_are_refused():
    with pytest.raises(InvalidDefinition, match="at least 50 rows of either outcome, saw '10 of 200'"):
        train_propensity([{"a": n} for n in range(200)], [n < 10 for n in range(200)])


def test_examples_know_nothing_of_what_came_after():
    def at(day, name, leaf="user_id:u1"):
        return Event("track", name, f"{leaf}{day}", "web", T0 + day * DAY, 0, (leaf,))

    events = [at(0, "product_viewed"), at(5, "order_completed"), at(9, "product_viewed", "user_id:u2")]
    made = examples(ProfileSchema.default(), events, times=[T0 + 4 * DAY, T0 + 9 * DAY], horizon=2 * DAY)
    assert made.leaf == ["user_id:u1", "user_id:u1", "user_id:u2"]
    assert made.outcome == [True, False, False]
    assert [row["orders_all"] for row in made.rows] == [0, 1, 0]
    assert made.rows[1]["order_age"] == 4 * DAY / 1000
    churn = examples(
        ProfileSchema.default(), events, times=[T0 + 4 * DAY, T0 + 9 * DAY], horizon=2 * DAY, absent=True,
        active=HOUR,
    )  # fmt: skip
    assert (churn.leaf, churn.outcome) == (["user_id:u2"], [True])


def test_examples_are_people_as_they_were_joined_then():
    def at(day, name, leaf):
        return Event("track", name, f"{leaf}{day}", "web", T0 + day * DAY, 0, (leaf,))

    browser, login = "anonymous_id:a", "user_id:u1"
    events = [
        at(0, "product_viewed", browser),
        at(1, "product_viewed", login),
        at(5, "order_completed", login),
        at(6, "product_viewed", browser),
    ]
    joined = Evidence(IDENTIFY, T0 + 3 * DAY, "m", "web", T0 + 3 * DAY)
    links = {browser: {login: joined}, login: {browser: joined}}
    made = examples(
        ProfileSchema.default(),
        events,
        times=[T0 + 2 * DAY, T0 + 4 * DAY],
        horizon=4 * DAY,
        members=members_as_of(lambda leaf: links.get(leaf, {}), IdentityRules()),
    )
    # On day 2 nobody knew that the two were one, on day 4 they were: one row with the views of both. The
    # order counts for all of them.
    assert made.leaf == [browser, login, login]
    assert [row["views_30d"] for row in made.rows] == [1, 1, 2]
    assert made.outcome == [True, True, True]


BUYING = msgspec.json.encode(BuyingModel(r=0.243, alpha=4.414, a=0.793, b=2.426))
FILES = {"buying.json": BUYING, "bad.json": b"{", "other.json": b'{"kind": "cat"}'}


def test_scores_are_features_that_follow_the_others():
    scores = compiled(
        ScoreSet(
            (
                Score(name="churned", model="buying.json", what="churned"),
                Score(name="alive", model="buying.json", what="alive"),
            )
        ),
        FILES.__getitem__,
    )
    schema = ProfileSchema.default()
    schema.scores = scores
    leaf = schema.zero()
    assert schema.read(leaf, T0)["churned"] is None
    for n in range(3):
        schema.fold(
            leaf, Event("track", "order_completed", f"m{n}", "web", T0 + n * DAY, 0, ("user_id:u",)), n
        )
    found = schema.read(leaf, T0 + 200 * DAY)
    assert found["churned"] + found["alive"] == pytest.approx(1.0)
    assert found["churned"] > schema.read(leaf, T0 + 3 * DAY)["churned"]


@pytest.mark.parametrize(
    ("score", "message"),
    [
        (Score(name="X", model="buying.json"), r"not a name, or there twice, saw 'X'"),
        (Score(name="x", model="buying.json", what="fun"), r"a score cannot be that, saw 'fun'"),
        (Score(name="x", model="buying.json", what="value"), r"a value needs a model of spending"),
        (Score(name="x", model="bad.json"), r"not a model file .* at scores.yaml \$.scores\[0\].model"),
        (Score(name="x", model="other.json"), r"not a model that gives scores, saw 'cat'"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(score, message):
    with pytest.raises(InvalidDefinition, match=message):
        compiled(ScoreSet((score,)), FILES.__getitem__)
