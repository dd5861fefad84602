"""Intents from a few examples of each, and the parts that find them, against references from outside."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize

from opportune.profiles.intents.margins import fit_margins, margins
from opportune.profiles.intents.model import IntentConfig, IntentModel
from opportune.profiles.intents.softmax import fit_softmax
from opportune.profiles.intents.terms import Terms

EXAMPLES = {
    "price": [
        "what does the blue mug cost", "is there a discount on mugs", "cheapest tea cup please",
        "do you have a sale on plates", "any coupon for the teapot", "price of the red lamp",
    ],
    "fit": [
        "does this shirt run small", "which size should I take", "the shoes are too tight",
        "is the jacket true to size", "what size fits a 42 foot", "sleeves are too long on me",
    ],
    "delivery": [
        "when will my parcel arrive", "how long does shipping take", "track my order",
        "where is my package", "do you deliver to Norway", "shipping time to France",
    ],
}  # fmt: skip
TEXTS = [text for texts in EXAMPLES.values() for text in texts]
LABELS = [label for label, texts in EXAMPLES.items() for _ in texts]


def bag_encoder(texts):
    """A stand-in for a language model: counts of letters."""
    rows = np.zeros((len(texts), 26), np.float32)
    for row, text in zip(rows, texts, strict=True):
        for letter in text.lower():
            if "a" <= letter <= "z":
                row[ord(letter) - ord("a")] += 1
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9)


def test_texts_near_the_examples_get_their_label():
    model = IntentModel(TEXTS, LABELS)
    assert model.labels == ["delivery", "fit", "price"]
    assert model.read("is there a discount on the teapot").name == "price"
    assert model.read("the shirt is too tight, which size").name == "fit"
    assert model.read("when will my order arrive").name == "delivery"


def test_what_shares_nothing_with_the_examples_is_out_of_scope():
    model = IntentModel(TEXTS, LABELS)
    for text in ("", "zzz", "播放音乐"):
        found = model.read(text)
        assert (found.name, found.score < 0, found.nearest in model.labels) == ("", True, True)


def test_refusing_more_calls_more_texts_out_of_scope():
    asked = ["a red plate", "a size", "order the lamp", "quantum chromodynamics", "tight", "cost"]

    def refusals(share):
        model = IntentModel(TEXTS, LABELS, config=IntentConfig(refuse=share))
        return [not found.name for found in model.read_many(asked)]

    refused = [sum(refusals(share)) for share in (0.0, 0.2, 0.9)]
    assert refused == sorted(refused)
    assert refused[-1] > refused[0]


def test_the_threshold_is_reached_by_all_but_the_refused_share_of_held_out_texts():
    held_out = (
        ["discount on cups", "too tight", "where is my parcel", "coupon"],
        ["price", "fit", "delivery", "price"],
    )
    model = IntentModel(TEXTS, LABELS, held_out=held_out, config=IntentConfig(refuse=0.25))
    scores = sorted(model.scores(held_out[0]).max(axis=1))
    assert model.threshold == pytest.approx(scores[0] + 0.75 * (scores[1] - scores[0]))


def test_the_same_examples_give_the_same_model_with_vectors_too():
    a = IntentModel(TEXTS, LABELS, encoder=bag_encoder)
    b = IntentModel(TEXTS, LABELS, encoder=bag_encoder)
    assert a.scores(TEXTS).tolist() == b.scores(TEXTS).tolist()
    assert [found.name for found in a.read_many(TEXTS)] == LABELS


def test_one_text_scores_as_it_does_among_others():
    model = IntentModel(TEXTS, LABELS, encoder=bag_encoder)
    together = model.scores(TEXTS)
    assert np.allclose(np.vstack([model.scores([text]) for text in TEXTS]), together, atol=1e-9)


def test_terms_are_two_halves_of_unit_length():
    terms = Terms(["red cup", "blue cup"])
    numbers, weights = terms.row("red cup")
    words = weights[: np.searchsorted(numbers, len(terms._number[0]))]
    assert words @ words == pytest.approx(1.0)
    assert weights @ weights == pytest.approx(2.0)
    # red and "red cup" are in one of two texts, cup in both: log(3 / 2) + 1 against log(3 / 3) + 1.
    rare = np.log(3 / 2) + 1
    assert sorted(words) == pytest.approx(sorted(np.array([rare, 1.0, rare]) / np.sqrt(2 * rare**2 + 1)))


def test_a_text_without_known_terms_is_an_empty_row():
    rows = Terms(["red cup"]).rows(["", "ωμέγα", "red"])
    assert np.diff(rows.start).tolist()[:2] == [0, 0]


def test_margins_are_the_optimum_of_the_squared_hinge():
    rows = Terms(TEXTS).rows(TEXTS)
    n_terms = len(Terms(TEXTS))
    truth = np.array([sorted(EXAMPLES).index(label) for label in LABELS])
    found = fit_margins(rows, truth, 3, n_terms, cost=0.5)
    dense = np.zeros((len(rows), n_terms + 1))
    dense[:, -1] = 1.0
    for r in range(len(rows)):
        part = slice(rows.start[r], rows.start[r + 1])
        dense[r, rows.term[part]] = rows.weight[part]
    for one in range(3):
        sign = np.where(truth == one, 1.0, -1.0)

        def loss(w, sign=sign):
            slack = np.maximum(0.0, 1.0 - sign * (dense @ w))
            return 0.5 * w @ w + 0.5 * slack @ slack, w - dense.T @ (sign * slack)

        best = minimize(loss, np.zeros(n_terms + 1), jac=True, method="L-BFGS-B", options={"gtol": 1e-9})
        assert loss(found[one])[0] <= best.fun * 1.002
    scores = np.empty((len(rows), 3))
    margins(rows.start, rows.term, rows.weight, np.ascontiguousarray(found.T, dtype=np.float32), scores)
    assert np.allclose(scores, dense @ found.T, atol=1e-5)


def test_softmax_is_the_optimum_of_the_log_loss():
    rng = np.random.default_rng(5)
    vectors = rng.normal(size=(80, 6)).astype(np.float32)
    truth = (vectors @ rng.normal(size=(6, 4)) + rng.gumbel(size=(80, 4))).argmax(axis=1)
    x = np.hstack((vectors, np.ones((80, 1))))

    def loss(flat):
        w = flat.reshape(4, 7)
        score = x @ w.T
        total = np.log(np.exp(score).sum(axis=1))
        return 2.0 * (total - score[np.arange(80), truth]).sum() + 0.5 * (w[:, :-1] ** 2).sum()

    best = minimize(loss, np.zeros(28), method="BFGS")
    found = fit_softmax(vectors, truth, 4, cost=2.0, precise=1e-7)
    assert loss(found.ravel()) == pytest.approx(best.fun, rel=1e-6)
