"""Rankers of a data folder: made from its history, kept in its registry, served from it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from opportune.catalog.items import Catalog
from opportune.clock import Millis
from opportune.engine.history import numbering_digest
from opportune.engine.versions import Versions
from opportune.errors import InvalidDefinition, OpportuneError
from opportune.learn.bundle import RANKER, Bundle, BundleInfo
from opportune.learn.side_by_side import SideBySide
from opportune.recommend.rank_features import ItemTable
from opportune.recommend.rank_signals import RankSignals
from opportune.recommend.ranker import LearnedRanker
from opportune.recommend.sequence_model import ARRAYS
from opportune.recommend.source import Floats, Items, Query
from opportune.recommend.tree_scorer import TreeScorer

_TREES, _VECTORS, _OUTCOME, _SEQUENCE = "trees", "vectors", "outcome-", "sequence-"
_comparison = msgspec.json.Decoder(SideBySide).decode
_info = msgspec.json.Decoder(BundleInfo).decode


class Rankers(Versions):
    """Versions and states of a folder's rankers."""

    def __init__(self, data_dir: Path | str) -> None:
        super().__init__(data_dir, RANKER)

    def add(self, bundle: Bundle, at: Millis, note: str = "") -> None:
        """Store a version and make it a candidate."""
        info = bundle.info
        self.keep(
            info.version,
            msgspec.json.encode(info),
            {_TREES: bundle.trees, **{_OUTCOME + name: text for name, text in bundle.outcomes.items()}},
            {_VECTORS: bundle.vectors, **{_SEQUENCE + name: a for name, a in bundle.sequence.items()}},
            at,
            note,
        )

    def info(self, version: str) -> BundleInfo:
        return _info(self.store.info(version))

    def comparison(self, version: str) -> SideBySide | None:
        """What the shadow of this version has found so far; None when it never was one."""
        data = self.store.note(version)
        return None if data is None else _comparison(data)

    def save_comparison(self, found: SideBySide) -> None:
        self.store.put_note(found.version, msgspec.json.encode(found))

    def load(self, version: str) -> Bundle:
        info, store = self.info(version), self.store
        return Bundle(
            info,
            store.text(version, _TREES),
            store.array(version, _VECTORS),
            {name: store.text(version, _OUTCOME + name) for name in info.outcomes},
            {name: store.array(version, _SEQUENCE + name) for name in ARRAYS} if info.sequence else {},
        )


def item_table(catalog: Catalog) -> ItemTable:
    """The catalogue as features read it, with no vectors. Copies: the catalogue's arrays grow."""
    return ItemTable(
        vector=np.zeros((0, 1), np.float32),
        price=np.array(catalog.price, np.float32),
        category=np.array(catalog.category, np.int32),
        brand=np.array(catalog.brand, np.int32),
    )


def serving(bundle: Bundle, catalog: Catalog, signals: RankSignals) -> LearnedRanker:
    """The ranker of a bundle over live signals. Raises :class:`InvalidDefinition` when the bundle belongs to
    another catalogue or another version of the features."""
    info = bundle.info
    if info.items > len(catalog) or numbering_digest(catalog, info.items) != info.catalogue:
        raise InvalidDefinition(
            "the model was trained on another numbering of the catalogue",
            seen=f"{info.version}, {info.items} items",
            remedy="train it again in this data folder with `opportune train`",
        )
    vectors = np.array(bundle.vectors, np.float32)
    ranker = LearnedRanker(
        f"{RANKER}/{info.version}",
        TreeScorer.from_text(bundle.trees),
        signals,
        item_table(catalog)._replace(vector=vectors),
        {name: TreeScorer.from_text(text) for name, text in bundle.outcomes.items()},
        bundle.sequence_source(),
    )
    ranker.warm_up()
    return ranker


class MissingRanker:
    """Stands for a live version that cannot be used: scoring raises, so that the decision names it and the
    blend ranks."""

    def __init__(self, version: str, why: OpportuneError) -> None:
        self.name = f"{RANKER}/{version}"
        self._why = why

    def score(
        self,
        items: Items,
        blended: Floats,
        query: Query,
        features: Mapping[str, Any],
        said: Floats,
        sources: tuple[str, ...],
    ) -> Floats:
        raise InvalidDefinition(
            f"{self.name} cannot be used: {self._why}", remedy="`opportune rollback`, or train it again"
        )
