"""Versions on disk: whole or not there, never changed, moves kept."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from opportune.errors import InvalidRequest, NotFound
from opportune.stores.models import ModelStore


def test_a_version_comes_back_as_it_was_saved(tmp_path: Path) -> None:
    store = ModelStore(tmp_path, "ranker")
    vectors = np.arange(12, dtype=np.float32).reshape(4, 3)
    store.save("r1", b'{"a":1}', {"trees": "tree\n"}, {"vectors": vectors})
    assert store.info("r1") == b'{"a":1}'
    assert store.text("r1", "trees") == "tree\n"
    mapped = store.array("r1", "vectors")
    assert isinstance(mapped, np.memmap)
    np.testing.assert_array_equal(mapped, vectors)
    with pytest.raises(InvalidRequest, match="this version is there already, saw 'r1'"):
        store.save("r1", b"{}", {}, {})
    assert [path.name for path in (tmp_path / "models" / "ranker").iterdir()] == ["r1"]


def test_moves_survive_a_line_that_was_cut_off(tmp_path: Path) -> None:
    store = ModelStore(tmp_path, "ranker")
    assert store.moves() == []
    store.append([b'{"n":1}', b'{"n":2}'])
    with (store.folder / "moves.jsonl").open("ab") as file:
        file.write(b'{"n":')
    assert store.moves() == [b'{"n":1}', b'{"n":2}']


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"a part of the model is missing, at .*r9/bundle.json"):
        ModelStore(tmp_path, "ranker").info("r9")
