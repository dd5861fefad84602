"""Trained models of the derive role's folder, published for the deciders: what is live or a canary there, and
the list of moves that says so."""

from __future__ import annotations

import io
import logging
import tarfile
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec

from opportune.catalog.items import Catalog
from opportune.clock import Clock
from opportune.engine.history import numbering_digest
from opportune.engine.renumbering import items_of
from opportune.engine.versions import Versions
from opportune.errors import InvalidDefinition, OpportuneError
from opportune.learn.bundle import MODELS
from opportune.learn.registry import Move, Registry
from opportune.stores.disk import translated
from opportune.stores.models import INFO
from opportune.streams.artifacts import Artifact, Artifacts
from opportune.streams.config import ClusterConfig
from opportune.streams.topics import Topics

log = logging.getLogger("opportune.models")

LOOK_EVERY_S = 5.0
GONE_BACK_TO = 2
"""Versions that were live last and stay published: a rollback finds them there."""

MOST_MOVES = 1_000
"""The newest moves are told; older versions are nobody's any more."""

ITEMS = "items.msgpack"
"""Beside the parts of a version: the ids of its items, by its numbers."""


def version_name(kind: str, version: str) -> str:
    return f"model/{kind}/{version}"


def registry_name(kind: str) -> str:
    return f"registry/{kind}"


def told_moves(artifact: Artifact | None) -> list[Move]:
    """The moves that a published registry tells."""
    return [] if artifact is None else msgspec.convert(artifact.about.get("moves", []), list[Move])


def served(registry: Registry) -> list[str]:
    """The versions that deciders need."""
    found = (registry.in_state("live"), registry.in_state("canary"))
    return [version for version in found if version is not None]


class ModelShelf:
    """:meth:`step` every now and then; a thread of its own reads the folder and publishes. A promotion, a
    rollback or a stopped canary in the folder is with the deciders some ten seconds later."""

    def __init__(
        self,
        config: ClusterConfig,
        topics: Topics,
        data_dir: Path,
        catalog: Callable[[], Catalog],
        clock: Clock,
    ) -> None:
        self._artifacts = Artifacts(config, topics.artifacts)
        self._data_dir = data_dir
        self._catalog = catalog
        self._clock = clock
        self._pool = ThreadPoolExecutor(1, "opportune-models")
        self._work: Future[None] | None = None
        self._looked_at = float("-inf")

    def step(self) -> None:
        """Start to look when it is time; tell what went wrong last time."""
        now = time.monotonic()
        if now - self._looked_at < LOOK_EVERY_S or (self._work is not None and not self._work.done()):
            return
        self._looked_at, last = now, self._work
        self._work = self._pool.submit(self.publish)
        try:
            if last is not None:
                last.result()
        except OpportuneError as error:
            log.warning("models could not be published for the deciders: %s", error)

    def publish(self) -> None:
        """What is new, here and now. Raises :class:`StorageError`."""
        self._artifacts.follow()
        for kind in MODELS:
            versions = Versions(self._data_dir, kind)
            moves = versions.registry().moves[-MOST_MOVES:]
            if moves:
                self._publish(versions, moves)

    def close(self) -> None:
        self._pool.shutdown(wait=True)
        self._artifacts.close()

    def _publish(self, versions: Versions, moves: list[Move]) -> None:
        kind, registry = versions.kind, Registry(moves)
        for version in served(registry):
            try:
                self._version(versions, version)
            except OpportuneError as error:
                log.warning("%s %s is not published, deciders keep what they have: %s", kind, version, error)
                return
        if told_moves(self._artifacts.known.get(registry_name(kind))) != moves:
            about = {"moves": msgspec.to_builtins(moves)}
            self._artifacts.publish(registry_name(kind), "registry", self._clock(), about)
            log.info("deciders are told of %s %s", kind, moves[-1].version)
        lately = list(dict.fromkeys(move.version for move in reversed(moves) if move.state == "live"))
        kept = {version_name(kind, version) for version in (*served(registry), *lately[:GONE_BACK_TO])}
        for name in [n for n in self._artifacts.known if n.startswith(f"model/{kind}/") and n not in kept]:
            self._artifacts.withdraw(name)

    def _version(self, versions: Versions, version: str) -> None:
        """Publish a version unless it is there. Raises :class:`InvalidDefinition` for one that was trained on
        another numbering than this folder's."""
        kind, info = versions.kind, versions.store.info(version)
        name, about = version_name(kind, version), {"created": versions.model_info(version).created}
        known = self._artifacts.known.get(name)
        if known is not None and known.about == about:
            return
        items, digest = items_of(info)
        catalog = self._catalog()
        if items and (items > len(catalog) or numbering_digest(catalog, items) != digest):
            raise InvalidDefinition(
                "the model was trained on another numbering of the catalogue",
                seen=f"{version}, {items} items",
                remedy="train it again in this data folder with `opportune train`",
            )
        packed = _packed(versions.store.folder / version, catalog.ids[:items])
        self._artifacts.publish(name, "model", self._clock(), about, [packed])


def _packed(folder: Path, ids: list[str]) -> bytes:
    out = io.BytesIO()
    with translated("pack a model", str(folder)), tarfile.open(fileobj=out, mode="w") as tar:
        for path in sorted(folder.iterdir()):
            tar.add(path, path.name)
        data = msgspec.msgpack.encode(ids)
        told = tarfile.TarInfo(ITEMS)
        told.size = len(data)
        tar.addfile(told, io.BytesIO(data))
    return out.getvalue()


def unpacked(data: bytes) -> tuple[bytes, dict[str, str], dict[str, bytes], list[str]]:
    """(metadata, texts, arrays as bytes of ``.npy``, ids of the items) of what was packed. Raises
    ``tarfile.TarError``."""
    texts: dict[str, str] = {}
    arrays: dict[str, bytes] = {}
    info, ids = b"", list[str]()
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        for member in tar:
            file: Any = tar.extractfile(member)
            name, _, ending = member.name.rpartition(".")
            if member.name == INFO:
                info = file.read()
            elif member.name == ITEMS:
                ids = msgspec.msgpack.decode(file.read(), type=list[str])
            elif ending == "txt":
                texts[name] = file.read().decode()
            elif ending == "npy":
                arrays[name] = file.read()
    return info, texts, arrays, ids
