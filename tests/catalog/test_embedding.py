"""Text vectors: what they must mean, where the packages are installed; the remedy where they are not."""

from __future__ import annotations

import numpy as np
import pytest

from opportune.catalog import embedding
from opportune.errors import InvalidDefinition


@pytest.fixture(scope="module")
def encode():
    lacking = embedding.missing()
    if lacking:
        pytest.skip(f"text vectors need {', '.join(lacking)}")
    return embedding.MiniLM()


def test_vectors_have_unit_length_and_do_not_depend_on_their_neighbours(encode):
    texts = ["red tea cup", "", "a much longer description of a wooden garden bench", "blue tea cup"]
    together = encode(texts)
    assert together.shape == (4, embedding.DIMENSIONS)
    assert np.linalg.norm(together, axis=1) == pytest.approx(np.ones(4), abs=1e-5)
    alone = np.vstack([encode([text]) for text in texts])
    assert (together * alone).sum(axis=1) == pytest.approx(np.ones(4), abs=0.02)


def test_what_means_the_same_is_near(encode):
    cup, mug, bench = encode(["a cup for tea", "mug for hot drinks", "wooden bench for the garden"])
    assert cup @ mug > cup @ bench + 0.2


def test_what_is_missing_is_named_with_a_remedy(monkeypatch):
    monkeypatch.setattr(embedding, "NEEDS", ("numpy", "not_there_at_all"))
    assert embedding.missing() == ["not_there_at_all"]
    with pytest.raises(InvalidDefinition, match=r"saw 'not_there_at_all': pip install 'opportune\[text\]'"):
        embedding.MiniLM()
