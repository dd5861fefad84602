"""What a model version is: everything that made it, and everything that serving needs."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from opportune.clock import Millis
from opportune.learn.drift import Baseline
from opportune.recommend.sequence import SequenceSource
from opportune.recommend.sequence_model import SequenceModel

RANKER = "ranker"
FACTORS = "factors"
MICROSEGMENTS = "microsegments"
SEQUENCE = "sequence"
BUY = "buy"
CHURN = "churn"
CLV = "clv"
UPLIFT = "uplift"
MODELS = (RANKER, FACTORS, MICROSEGMENTS, SEQUENCE, BUY, CHURN, CLV, UPLIFT)
"""Every kind of model that a data folder keeps versions of."""


class BundleInfo(msgspec.Struct, frozen=True, kw_only=True):
    """The metadata of a version.

    ``window`` is event time from the first to the last touch learnt from, ``offsets`` the journal's range
    read. ``sources`` are the candidate sources with their weights, of which the best ``candidates`` were
    ranked. ``catalogue`` is a digest of the item numbering that ``vectors`` follow. ``metrics`` by scenario
    (``stage``, ``ranked``), each with intervals; ``segments`` the same by kind of case. ``outcomes``: how
    well each chance that objectives weigh was foretold. ``ablation``: what each group of features adds.
    ``rival``: the version that was live, on the same cases. ``baselines`` are histograms of features and
    scores as they were in training. ``sequence``: whether a sequence model's opinion is a feature.
    """

    model: str
    version: str
    created: Millis
    code_version: str
    definitions: str
    offsets: tuple[int, int]
    window: tuple[Millis, Millis]
    items: int
    catalogue: str
    sources: dict[str, float]
    candidates: int
    features: list[str]
    config: dict[str, Any]
    trees: int
    cases: int
    metrics: dict[str, dict[str, Any]]
    segments: dict[str, dict[str, Any]] = {}
    importance: dict[str, float] = {}
    ablation: dict[str, dict[str, Any]] = {}
    outcomes: dict[str, dict[str, Any]] = {}
    rival: dict[str, Any] = {}
    baselines: dict[str, Baseline] = {}
    sequence: bool = False
    trained_from: str = ""
    seconds: float = 0.0


class ModelInfo(msgspec.Struct, frozen=True, kw_only=True):
    """The metadata of a version of any kind; what only rankers have is in :class:`BundleInfo`. ``rows`` is
    what was learnt from, ``metrics`` were measured on later ones."""

    model: str
    version: str
    created: Millis
    code_version: str
    definitions: str
    offsets: tuple[int, int]
    window: tuple[Millis, Millis]
    metrics: dict[str, Any]
    config: dict[str, Any] = {}
    rows: int = 0
    trained_from: str = ""
    seconds: float = 0.0


class Bundle(NamedTuple):
    """``trees``: LightGBM's text model; ``outcomes``: those of the chances that objectives weigh, by name.
    ``vectors`` (items, d). ``sequence``: the arrays of the sequence model whose opinion is a feature, empty
    where it was trained without one."""

    info: BundleInfo
    trees: str
    vectors: npt.NDArray[np.float32]
    outcomes: Mapping[str, str] = MappingProxyType({})
    sequence: Mapping[str, npt.NDArray[Any]] = MappingProxyType({})

    def sequence_source(self) -> SequenceSource | None:
        """The sequence model as features read it."""
        return SequenceSource(SequenceModel.of_arrays(dict(self.sequence))) if self.sequence else None
