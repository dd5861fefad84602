"""The anonymous counts of one engine: kept in its folder, published day by day."""

from __future__ import annotations

from typing import Any

import msgspec

from opportune.clock import MINUTE, Clock, Millis
from opportune.errors import Corrupt, NotFound
from opportune.events.event import Event
from opportune.privacy.anonymous import AnonymousCounts, AnonymousRules, Kept, Noise, Release
from opportune.stores.disk import Disk, read_all, write_whole
from opportune.stores.vault import FOLDER

FILE = f"{FOLDER}/anonymous.json"
"""With the vault, which no backup has: restoring an old backup must not give the budget back."""
SAVE_EVERY: Millis = MINUTE
"""A process that dies loses at most this much of what was counted; what was published it never loses."""


class AnonymousDesk:
    """On the engine's thread."""

    def __init__(self, disk: Disk, rules: AnonymousRules, clock: Clock) -> None:
        self._disk = disk
        self._clock = clock
        self.counts = AnonymousCounts(rules, _read(disk))
        self.is_on = bool(rules.events)
        self._saved = clock()

    def count(self, event: Event) -> None:
        """Count an event that may not be kept."""
        self.counts.count(event)

    def keep_up(self) -> None:
        """Save what was counted, once a minute."""
        if self.counts.changed and self._clock() - self._saved >= SAVE_EVERY:
            self.save()

    def save(self) -> None:
        """Raises StorageError."""
        if not self.counts.changed:
            return
        self._disk.make_dir(FOLDER)
        write_whole(self._disk, FILE, msgspec.json.encode(self.counts.kept))
        self.counts.changed = False
        self._saved = self._clock()

    def has_finished(self) -> bool:
        """Whether a day waits to be published."""
        return self.is_on and bool(self.counts.finished(self._clock()))

    def release(self, noise: Noise) -> list[Release]:
        """Publish every finished day: on disk, and so counted against the budget, before anybody is told.
        Raises StorageError, :class:`NotInstalled`."""
        made = self.counts.release(self._clock(), noise)
        self.save()
        return made

    def report(self) -> dict[str, Any]:
        return {"on": self.is_on, **self.counts.report(self._clock())}


def _read(disk: Disk) -> Kept:
    try:
        return msgspec.json.decode(read_all(disk, FILE), type=Kept)
    except NotFound:
        return Kept()
    except msgspec.DecodeError as error:
        raise Corrupt(
            f"the anonymous counts are damaged ({error})",
            where=f"{disk.name}/{FILE}",
            remedy="restore the file: it says how much of the budget is spent",
        ) from error
