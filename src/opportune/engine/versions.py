"""Versions of one kind of model in a data folder: what made each, and which one serves."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import numpy.typing as npt

from opportune.clock import Millis
from opportune.learn.bundle import ModelInfo
from opportune.learn.registry import Move, Registry
from opportune.stores.models import ModelStore

_move = msgspec.json.Decoder(Move).decode
_model_info = msgspec.json.Decoder(ModelInfo).decode


class Versions:
    """``kind`` is the model's name: its folder under ``models/``."""

    def __init__(self, data_dir: Path | str, kind: str) -> None:
        self.kind = kind
        self.store = ModelStore(data_dir, kind)

    def registry(self) -> Registry:
        """As it is on disk now."""
        return Registry([_move(line) for line in self.store.moves()])

    def record(self, moves: list[Move]) -> None:
        self.store.append([msgspec.json.encode(move) for move in moves])

    def keep(
        self,
        version: str,
        info: bytes,
        texts: dict[str, str],
        arrays: dict[str, npt.NDArray[Any]],
        at: Millis,
        note: str = "",
    ) -> None:
        """Store a version and make it a candidate."""
        moves = self.registry().add(version, at, note)
        self.store.save(version, info, texts, arrays)
        self.record(moves)

    def model_info(self, version: str) -> ModelInfo:
        """What is known of any kind's version."""
        return _model_info(self.store.info(version))


def new_version(registry: Registry, at: Millis, letter: str = "r") -> str:
    """``r<date>-<n>``: readable, and in order."""
    day = datetime.fromtimestamp(at / 1000, UTC).strftime("%Y%m%d")
    taken = sum(version.startswith(f"{letter}{day}-") for version in registry.states())
    return f"{letter}{day}-{taken + 1}"
