"""Sources that exist only where a placement names them, through an engine that is opened again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from opportune import Engine
from opportune.engine import optional_sources

PLACEMENTS = """
placements:
  - name: near
    count: 2
    sources: [{source: content_meaning}, {source: attributes, weight: 0.1}]
    fallbacks: []
"""
ITEMS = [
    {"item_id": "cup", "name": "cup", "category": "Tea"},
    {"item_id": "mug", "name": "mug", "category": "Tea"},
    {"item_id": "bench", "name": "bench", "category": "Garden"},
]
encoded: list[str] = []


def encode(texts: list[str]) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    """Bench on one axis, everything else on the other."""
    encoded.extend(texts)
    rows = np.zeros((len(texts), optional_sources.DIMENSIONS), np.float32)
    for row, text in zip(rows, texts, strict=True):
        row[int("bench" in text)] = 1
    return rows


def test_a_named_source_is_made_learns_and_comes_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(optional_sources, "MiniLM", lambda: encode)
    (tmp_path / "w").mkdir()
    (tmp_path / "w" / "placements.yaml").write_text(PLACEMENTS)
    asked = {"placement": "near", "context": {"item_id": "cup"}}
    with Engine.open(tmp_path / "data", workspace=tmp_path / "w") as engine:
        engine.ingest(ITEMS, dialect="catalog")
        shown = [item.item_id for item in engine.decide(asked).decisions[0].items]
        assert shown == ["mug"]
    n = len(encoded)
    assert n == 3
    with Engine.open(tmp_path / "data", workspace=tmp_path / "w") as engine:
        assert [item.item_id for item in engine.decide(asked).decisions[0].items] == ["mug"]
    assert len(encoded) == n


def test_nobody_pays_for_a_source_that_no_placement_names(tmp_path: Path) -> None:
    with Engine.open(tmp_path / "data") as engine:
        assert not {"attributes", "content_meaning"} & set(engine.state.models.sources)
