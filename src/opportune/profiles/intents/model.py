"""The intent of a text, or that it has none that is known."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec
import numpy as np
import numpy.typing as npt

from opportune.profiles.intents.margins import fit_margins, margins
from opportune.profiles.intents.softmax import fit_softmax
from opportune.profiles.intents.terms import Terms

Vectors = npt.NDArray[np.float32]
Floats = npt.NDArray[np.float64]
Encoder = Callable[[Sequence[str]], Vectors]
"""Texts to vectors ``(n, d)`` of unit length, such as :class:`opportune.catalog.embedding.MiniLM`."""

OUT_OF_SCOPE = ""
FOLDS = 5
NOTHING_KNOWN = -1e6
"""Scores of a text without a single known term, when there is nothing else to go by."""
MANY = 2000
"""Examples beyond which one fold is enough to learn when to be unsure."""


class IntentConfig(msgspec.Struct, frozen=True, kw_only=True):
    """``refuse``: the share of texts that do have one of the intents which may be called out of scope; the
    larger, the more of the others are found out. ``term_cost`` and ``vector_cost`` weigh the losses of the
    two models, ``term_share`` the scores of the first when there are vectors too."""

    refuse: float = 0.01
    term_cost: float = 0.5
    vector_cost: float = 30.0
    term_share: float = 3.0


class Intent(msgspec.Struct, frozen=True):
    """``name`` is empty when the text is out of scope; ``score`` above 0 is in scope, on an open scale, and
    ``nearest`` the best label in any case."""

    name: str
    score: float
    nearest: str


class IntentModel:
    """Scores of a linear support vector machine over terms and, with an encoder, those of a logistic
    regression over its vectors; the sum decides. A text is out of scope when its best score is below what all
    but ``refuse`` of the texts with a known intent reach, measured on ``held_out`` examples or else by
    cross-validation (the usual baseline of Larson et al., EMNLP 2019, with unbounded scores for the
    probability, which saturates).

    Fitted from examples alone, the same for the same examples. ``read`` is 0.25 ms, and the encoder's time.
    """

    def __init__(
        self,
        texts: Sequence[str],
        labels: Sequence[str],
        *,
        encoder: Encoder | None = None,
        config: IntentConfig | None = None,
        held_out: tuple[Sequence[str], Sequence[str]] | None = None,
    ) -> None:
        self.config = config or IntentConfig()
        self.labels = sorted(set(labels))
        number = {label: i for i, label in enumerate(self.labels)}
        truth = np.array([number[label] for label in labels], np.int64)
        self._encoder = encoder
        vectors = encoder(texts) if encoder is not None else None
        self._fit(texts, vectors, truth)
        if held_out is not None:
            right = np.array([number[label] for label in held_out[1]], np.int64)
            score = self.scores(held_out[0])
        else:
            score, right = self._crossed(texts, vectors, truth)
        self.threshold = _threshold(score, right, self.config.refuse)

    def _fit(self, texts: Sequence[str], vectors: Vectors | None, truth: npt.NDArray[np.int64]) -> None:
        config, n = self.config, len(self.labels)
        self._terms = Terms(texts)
        weight = fit_margins(self._terms.rows(texts), truth, n, len(self._terms), config.term_cost)
        self._term_weight = np.ascontiguousarray(weight.T, dtype=np.float32)
        self._vector_weight = None
        if vectors is not None:
            self._vector_weight = fit_softmax(vectors, truth, n, config.vector_cost)

    def _crossed(
        self, texts: Sequence[str], vectors: Vectors | None, truth: npt.NDArray[np.int64]
    ) -> tuple[Floats, npt.NDArray[np.int64]]:
        """Scores of examples by a model that has not seen them: all, or a fifth where there are many."""
        fold = np.empty(len(truth), np.int64)
        for label in range(len(self.labels)):
            mine = np.flatnonzero(truth == label)
            fold[mine] = (np.arange(len(mine)) + label) % FOLDS
        score = np.zeros((len(truth), len(self.labels)))
        for one in range(FOLDS if len(truth) <= MANY else 1):
            rest, aside = np.flatnonzero(fold != one), np.flatnonzero(fold == one)
            if not len(rest) or not len(aside):
                continue
            part = IntentModel.__new__(IntentModel)
            part.config, part.labels, part._encoder = self.config, self.labels, None
            part._fit(
                [texts[i] for i in rest.tolist()], None if vectors is None else vectors[rest], truth[rest]
            )
            score[aside] = part._scores(
                [texts[i] for i in aside.tolist()], None if vectors is None else vectors[aside]
            )
        seen = np.flatnonzero(score.any(axis=1))
        return (score[seen], truth[seen]) if len(seen) else (self._scores(texts, vectors), truth)

    def scores(self, texts: Sequence[str]) -> Floats:
        """``(n, labels)``, in the order of ``labels``."""
        return self._scores(texts, self._encoder(texts) if self._encoder is not None else None)

    def _scores(self, texts: Sequence[str], vectors: Vectors | None) -> Floats:
        rows = self._terms.rows(texts)
        score = np.empty((len(rows), len(self.labels)))
        margins(rows.start, rows.term, rows.weight, self._term_weight, score)
        if vectors is None:
            score[np.diff(rows.start) == 0] = NOTHING_KNOWN
        if vectors is not None and self._vector_weight is not None:
            weight = self._vector_weight
            score = self.config.term_share * score + vectors @ weight[:, :-1].T + weight[:, -1]
        return score

    def read(self, text: str) -> Intent:
        """The intent of one text."""
        return self.read_many((text,))[0]

    def read_many(self, texts: Sequence[str]) -> list[Intent]:
        found = []
        for row in self.scores(texts):
            best = int(row.argmax())
            over = float(row[best]) - self.threshold
            nearest = self.labels[best]
            found.append(Intent(nearest if over >= 0 else OUT_OF_SCOPE, over, nearest))
        return found


def _threshold(score: Floats, truth: npt.NDArray[np.int64], refuse: float) -> float:
    """What all but ``refuse`` of the texts reach that are given their own label."""
    right = score.argmax(axis=1) == truth
    reached = score.max(axis=1)[right] if right.any() else score.max(axis=1)
    return float(np.quantile(reached, refuse))
