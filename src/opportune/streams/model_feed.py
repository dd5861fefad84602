"""Trained models as a decider has them: a folder that follows what the derive role published, by this
process's own numbers of items, so that everything that serves a data folder's models serves these."""

from __future__ import annotations

import io
import logging
import shutil
import tarfile
import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import msgspec
import numpy as np

from opportune.catalog.items import Catalog
from opportune.engine.renumbering import items_of, renumbered
from opportune.errors import Corrupt, NotFound, OpportuneError
from opportune.learn.bundle import MODELS
from opportune.learn.registry import Move, Registry
from opportune.stores.disk import translated
from opportune.stores.models import ModelStore
from opportune.streams.artifacts import Artifacts
from opportune.streams.config import ClusterConfig
from opportune.streams.model_shelf import registry_name, served, told_moves, unpacked, version_name
from opportune.streams.topics import Topics

log = logging.getLogger("opportune.models")

LOOK_EVERY_S = 5.0


class ModelFeed:
    """:meth:`step` every now and then; a thread of its own looks, loads and writes. ``folder`` gets the
    versions under ``models`` as a data folder has them. A version that cannot be loaded is told in the log,
    and what was served before goes on."""

    def __init__(self, config: ClusterConfig, topics: Topics, folder: Path, catalog: Catalog) -> None:
        self._artifacts = Artifacts(config, topics.artifacts)
        self._folder = folder
        self._catalog = catalog
        self._pool = ThreadPoolExecutor(1, "opportune-models")
        self._work: Future[None] | None = None
        self._looked_at = float("-inf")
        self._has: dict[str, list[Move]] = {}
        self._made: dict[str, str] = {}

    def step(self) -> None:
        """Start to look when it is time; tell what went wrong last time."""
        now = time.monotonic()
        if now - self._looked_at < LOOK_EVERY_S or (self._work is not None and not self._work.done()):
            return
        self._looked_at, last = now, self._work
        self._work = self._pool.submit(self.take)
        try:
            if last is not None:
                last.result()
        except OpportuneError as error:
            log.warning("it cannot be seen whether other models were promoted: %s", error)

    def take(self) -> None:
        """What is new, here and now. Raises :class:`StorageError` when Kafka does not answer."""
        self._artifacts.follow()
        for kind in MODELS:
            moves = [
                _without_shadow(move) for move in told_moves(self._artifacts.known.get(registry_name(kind)))
            ]
            if moves == self._has.get(kind, []):
                continue
            try:
                for version in served(Registry(moves)):
                    self._make(kind, version)
            except OpportuneError as error:
                log.warning("a promoted %s cannot be loaded, what is served stays: %s", kind, error)
                continue
            ModelStore(self._folder, kind).put_moves([msgspec.json.encode(move) for move in moves])
            self._has[kind] = moves

    def close(self) -> None:
        self._pool.shutdown(wait=True)
        self._artifacts.close()

    def _make(self, kind: str, version: str) -> None:
        """Write a version into the folder. Raises :class:`NotFound` and :class:`StorageError`."""
        artifact = self._artifacts.known.get(version_name(kind, version))
        if artifact is None:
            raise NotFound("the version was not published", seen=version, remedy="see the log of derive")
        if self._made.get(artifact.name) == artifact.digest:
            return
        data = b"".join(self._artifacts.read(artifact))
        try:
            info, texts, packed, ids = unpacked(data)
            arrays = {name: np.load(io.BytesIO(raw), allow_pickle=False) for name, raw in packed.items()}
        except (tarfile.TarError, ValueError, msgspec.MsgspecError) as error:
            raise Corrupt(f"the version cannot be unpacked ({error})", where=artifact.name) from error
        if items_of(info)[0]:
            info, arrays = renumbered(info, arrays, ids, self._catalog)
        store = ModelStore(self._folder, kind)
        shutil.rmtree(store.folder / version, ignore_errors=True)
        with translated("keep a model", str(store.folder)):
            store.save(version, info, texts, arrays)
        self._made[artifact.name] = artifact.digest


def _without_shadow(move: Move) -> Move:
    """Nobody would read what the shadows of many deciders find."""
    return msgspec.structs.replace(move, state="candidate") if move.state == "shadow" else move
