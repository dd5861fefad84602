"""Snapshots of what deciders have learnt, so that one that starts reads only what came after.

A snapshot is a checkpoint (:mod:`opportune.engine.sharing`) in the format of a data folder, as one tar file,
with the positions in the journal and the catalogue's topic that it stands for. It holds items, models and
posteriors; of people only digests of those with an open session.
"""

from __future__ import annotations

import logging
import secrets
import shutil
import tarfile
import time
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple

import msgspec

from opportune.clock import Clock, Millis
from opportune.engine.sharing import SharedCheckpoint
from opportune.engine.state import State
from opportune.engine.turns import Turns, at_once
from opportune.errors import Corrupt, OpportuneError
from opportune.stores.disk import RealDisk, translated
from opportune.stores.folder import FORMAT_FILE
from opportune.stores.manifest import FOLDER
from opportune.stores.records import RecordStore
from opportune.streams.artifacts import PIECE_BYTES, Artifact, Artifacts
from opportune.streams.config import ClusterConfig
from opportune.streams.tail import Reached
from opportune.streams.topics import Topics

log = logging.getLogger("opportune.streams")

KEPT = 3
"""The newest snapshots that stay: each takes the place of the oldest."""

META = "followed"
PACKED = "snapshot.tar"
PARTS = (FORMAT_FILE, FOLDER)
"""Of a data folder, what is in a snapshot."""

SALT_BYTES = 16
LOOK_EVERY_S = 5.0


class Followed(msgspec.Struct):
    """How far a snapshot's maker had read: entries learnt, and by partition what to read next (topic,
    partition, offset, entries had of that message). ``definitions`` is the revision it worked with."""

    learnt: int
    taken: list[tuple[str, int, int, int]]
    definitions: str

    def reached(self) -> Reached:
        return {(topic, number): (offset, had) for topic, number, offset, had in self.taken}


def followed(meta: dict[str, Any]) -> Followed | None:
    """What a loaded checkpoint says of that; None for one that is no snapshot. Raises :class:`Corrupt`."""
    if META not in meta:
        return None
    try:
        return msgspec.convert(meta[META], Followed)
    except msgspec.ValidationError as error:
        raise Corrupt(f"the snapshot does not say how far it had read ({error})") from error


def place(artifacts: Artifacts, snapshot: Artifact, folder: Path) -> None:
    """Put a snapshot's files into the empty ``folder``, to be loaded as any data folder. Raises
    :class:`StorageError` and its kinds; then the folder is empty again or gone."""
    packed = folder / PACKED
    try:
        with translated("unpack a snapshot", str(folder)):
            folder.mkdir(parents=True, exist_ok=True)
            with packed.open("wb") as out:
                for piece in artifacts.read(snapshot):
                    out.write(piece)
            with tarfile.open(packed) as tar:
                tar.extractall(folder, filter="data")
            packed.unlink()
    except tarfile.TarError as error:
        shutil.rmtree(folder, ignore_errors=True)
        raise Corrupt(f"the snapshot cannot be unpacked ({error})", where=snapshot.name) from error
    except OpportuneError:
        shutil.rmtree(folder, ignore_errors=True)
        raise


class Snapshots:
    """The learn role's part: :meth:`step` belongs to the folding thread, which must fold nothing while it
    answers True; a thread of its own looks at Kafka, packs and sends.

    One is made when the newest that anybody published is ``snapshot_every_s`` old, so of several learners
    only one works at a time.
    """

    def __init__(self, config: ClusterConfig, topics: Topics, folder: Path, clock: Clock) -> None:
        self._every_ms = round(config.snapshot_every_s * 1000)
        self._artifacts = Artifacts(config, topics.artifacts)
        self._folder = folder
        self._clock = clock
        self._pool = ThreadPoolExecutor(1, "opportune-snapshot")
        self._work: Future[Millis] | None = None
        self._making: _Making | None = None
        self._looked_at = -LOOK_EVERY_S
        self._newest: Millis = 0

    @property
    def age_s(self) -> float:
        """Of the newest snapshot that is known; 0 before there is one."""
        return (self._clock() - self._newest) / 1000 if self._newest else 0.0

    def step(self, state: State, told: Followed, budget_s: float) -> bool:
        """Go on for about ``budget_s``; True while one is being encoded. ``told`` is how far the state has
        learnt."""
        if self._making is None:
            if not self._is_time(time.monotonic()):
                return False
            self._begin(state, told)
        until = perf_counter() + budget_s
        assert self._making is not None
        for _ in self._making.turns:
            if perf_counter() >= until:
                return True
        self._work, self._making = self._pool.submit(self._publish, self._making), None
        return False

    def publish(self, state: State, told: Followed) -> None:
        """One of this moment, here and now. Raises :class:`StorageError`."""
        if self._work is not None:
            self._work.exception()
        self._begin(state, told)
        assert self._making is not None
        making, self._making, self._work = self._making, None, None
        at_once(making.turns)
        self._newest = self._pool.submit(self._publish, making).result()

    def close(self) -> None:
        """Wait for one that is being sent; give one up that is being encoded."""
        self._pool.shutdown(wait=True)
        if self._making is not None:
            self._making.disk.close()
        self._artifacts.close()

    def _is_time(self, now_s: float) -> bool:
        """Every few seconds the other thread looks how old the newest is."""
        if self._work is None:
            if now_s - self._looked_at >= LOOK_EVERY_S:
                self._looked_at = now_s
                self._work = self._pool.submit(self._look)
            return False
        if not self._work.done():
            return False
        work, self._work = self._work, None
        try:
            self._newest = work.result()
        except OpportuneError as error:
            log.warning("no snapshot could be published: %s", error)
            return False
        return self._clock() - self._newest >= self._every_ms

    def _begin(self, state: State, told: Followed) -> None:
        state.models.learn()
        shutil.rmtree(self._folder, ignore_errors=True)
        disk = RealDisk(self._folder)
        meta = {META: msgspec.to_builtins(told)}
        salt = secrets.token_bytes(SALT_BYTES)
        checkpoint = SharedCheckpoint(state, RecordStore.open(disk), meta, salt=salt)
        about = {"definitions": told.definitions, "learnt": told.learnt, "items": len(state.catalog)}
        self._making = _Making(checkpoint, disk, checkpoint.turns(), about)

    # -- in the other thread

    def _look(self) -> Millis:
        self._artifacts.follow()
        return max((artifact.time for artifact in self._artifacts.of_kind("snapshot")), default=0)

    def _publish(self, making: _Making) -> Millis:
        """When it was published. Raises :class:`StorageError`."""
        try:
            making.checkpoint.finish()
        finally:
            making.disk.close()
        packed = self._folder / PACKED
        with translated("pack a snapshot", str(packed)):
            with tarfile.open(packed, "w") as tar:
                for name in PARTS:
                    tar.add(self._folder / name, name)
            self._artifacts.follow()
            now = self._clock()
            with packed.open("rb") as file:
                pieces = iter(partial(file.read, PIECE_BYTES), b"")
                made = self._artifacts.publish(self._slot(), "snapshot", now, making.about, pieces)
            shutil.rmtree(self._folder)
        log.info("a snapshot of %d bytes was published as %s", made.bytes, made.name)
        return now

    def _slot(self) -> str:
        """The name that no snapshot has, or else the oldest one's."""
        taken = [artifact.name for artifact in self._artifacts.of_kind("snapshot")]
        free = [name for name in (f"snapshot-{n}" for n in range(KEPT)) if name not in taken]
        return free[0] if free else taken[-1]


class _Making(NamedTuple):
    checkpoint: SharedCheckpoint
    disk: RealDisk
    turns: Turns
    about: dict[str, Any]
