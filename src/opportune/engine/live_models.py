"""Live versions of models that are not rankers, put into what reads them: scores and candidate sources."""

from __future__ import annotations

import logging
from pathlib import Path

from opportune.catalog.items import Catalog
from opportune.engine.history import numbering_digest
from opportune.engine.models import Models
from opportune.engine.versions import Versions
from opportune.errors import InvalidDefinition, OpportuneError
from opportune.learn.bundle import CLV, FACTORS, MICROSEGMENTS, SEQUENCE
from opportune.learn.scores import MODEL, SPENDING, LiveModels
from opportune.recommend.factors import FactorModel, Factors
from opportune.recommend.microsegments import MicrosegmentModel, Microsegments
from opportune.recommend.replaceable import Replaceable
from opportune.recommend.sequence import SequenceSource
from opportune.recommend.sequence_model import ARRAYS, SequenceModel
from opportune.recommend.source import CandidateSource

log = logging.getLogger("opportune.models")

LATELY = 200_000
"""Touches that a new source meets when it is put in: its training knows what was before."""


class LiveVersions:
    """Follows the registries of the kinds that the definitions name; costs nothing where they name none."""

    def __init__(self, data_dir: Path | str, scores: LiveModels, models: Models, catalog: Catalog) -> None:
        self._scores, self._models, self._catalog = scores, models, catalog
        sources = [kind for kind in (FACTORS, MICROSEGMENTS, SEQUENCE) if kind in models.sources]
        self._kinds = [Versions(data_dir, kind) for kind in (*sorted(scores.wanted), *sources)]
        self._serves: dict[str, str | None] = {}

    def refresh(self) -> bool:
        """Serve what is live now; true when that changed. A version that cannot be used is logged, and what
        was served before goes on."""
        changed = False
        for versions in self._kinds:
            live = versions.registry().live
            if live == self._serves.get(versions.kind):
                continue
            self._serves[versions.kind] = live
            changed = True
            try:
                self._put(versions, live)
            except OpportuneError as error:
                log.warning("%s %s cannot be used: %s", versions.kind, live, error)
        return changed

    def _put(self, versions: Versions, live: str | None) -> None:
        kind = versions.kind
        source = self._models.sources.get(kind)
        if isinstance(source, Replaceable):
            model = None if live is None else source_of(versions, live, self._catalog)
            rows = self._models.log
            source.serve(model, rows.tail(max(len(rows) - LATELY, rows.first)))
        elif live is None:
            self._scores.put(kind, None)
        else:
            names = (MODEL, SPENDING) if kind == CLV else (MODEL,)
            self._scores.put(kind, {name: versions.store.text(live, name).encode() for name in names})


def source_of(versions: Versions, version: str, catalog: Catalog) -> CandidateSource:
    """A version of factors, microsegments or the sequence model as a source. Raises
    :class:`InvalidDefinition` when it belongs to another catalogue."""
    config = versions.model_info(version).config
    items = int(config["items"])
    if items > len(catalog) or numbering_digest(catalog, items) != config["catalogue"]:
        raise InvalidDefinition(
            "the model was trained on another numbering of the catalogue",
            seen=f"{version}, {items} items",
            remedy=f"train it again with `opportune train --model {versions.kind}`",
        )
    array = versions.store.array
    if versions.kind == FACTORS:
        ridge, view, cart, buy = array(version, "knobs").tolist()
        return Factors(FactorModel(array(version, "vectors"), ridge, (view, cart, buy)))
    if versions.kind == SEQUENCE:
        return SequenceSource(SequenceModel.of_arrays({name: array(version, name) for name in ARRAYS}))
    names = ("vectors", "centroids", "items", "scores")
    return Microsegments(MicrosegmentModel(*(array(version, name) for name in names)))
