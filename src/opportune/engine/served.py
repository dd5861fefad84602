"""What a running engine serves of its folder's registry: the live ranker, the canary, the shadow."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from opportune.catalog.items import Catalog
from opportune.clock import SECOND, Millis
from opportune.decide.world import Ranker, World
from opportune.engine.canary import CANARY, canary_id, with_canary
from opportune.engine.models import Models
from opportune.engine.rankers import MissingRanker, Rankers, serving
from opportune.engine.shadow import Shadow
from opportune.engine.workspace import Workspace
from opportune.errors import OpportuneError
from opportune.learn.drift import SCORE
from opportune.learn.registry import Registry
from opportune.learn.side_by_side import SideBySide
from opportune.recommend.ranker import LearnedRanker

log = logging.getLogger("opportune.models")

SAVE_EVERY: Millis = 10 * SECOND
KEPT_CANARIES = 5
"""So many of the versions that were canaries once keep their experiment, stopped, and so their report."""


class _Serves(NamedTuple):
    live: str | None
    canary: str | None
    shadow: str | None
    canaries: tuple[tuple[str, float], ...]


NOTHING = _Serves(None, None, None, ())


class Served:
    """Belongs to the engine's thread. ``declared`` is the workspace as its files say."""

    def __init__(self, data_dir: Path | str, declared: Workspace) -> None:
        self.data_dir = data_dir
        self.rankers = Rankers(data_dir)
        self.declared = declared
        self.shadow: Shadow | None = None
        self._serves = NOTHING
        self._saved: Millis = 0
        self._saved_count = 0

    def forget(self) -> None:
        """The engine has loaded everything anew: it serves nothing yet."""
        self.save(0, always=True)
        self.shadow, self._serves = None, NOTHING

    def refresh(self, world: World, models: Models, catalog: Catalog, now: Millis) -> Workspace | None:
        """Serve what the registry says now; the workspace with the canary's experiment when that changed.

        A live version that cannot be used is named in the ``degraded`` of every decision, which the blend
        ranks then; a canary or a shadow that cannot be used is logged, and is none. O(moves) while nothing
        changed; else O(interactions), once.
        """
        registry = self.rankers.registry()
        serves = _serves(registry)
        before, self._serves = self._serves, serves
        if serves == before:
            return None
        if serves.live != before.live:
            world.ranker = None
            if serves.live is not None:
                try:
                    world.ranker = serving(self.rankers.load(serves.live), catalog, models.with_signals())
                except OpportuneError as error:
                    world.ranker = MissingRanker(serves.live, error)
        if serves.canary != before.canary:
            world.rankers = self._canary(serves.canary, models, catalog)
        if serves.shadow != before.shadow or serves.live != before.live:
            self.save(now, always=True)
            self.shadow = world.watch = self._shadow(serves, models, catalog)
        rankers = (world.ranker, *world.rankers.values(), None if self.shadow is None else self.shadow.ranker)
        world.reads = reads_of(rankers)
        workspace = self.declared
        for version, share in serves.canaries:
            is_on = version == serves.canary and CANARY in world.rankers
            workspace = with_canary(workspace, version, share, is_on=is_on)
        return workspace

    def step(self, now: Millis) -> bool:
        """Compare one decision that waits for the shadow; true while more are waiting."""
        if self.shadow is None:
            return False
        more = self.shadow.step()
        if now - self._saved >= SAVE_EVERY:
            self.save(now)
        return more

    def save(self, now: Millis, *, always: bool = False) -> None:
        """Write what the comparison has found beside the versions, for ``opportune compare``."""
        self._saved = now
        if self.shadow is None:
            return
        found = self.shadow.found
        if found.compared + found.failed != self._saved_count or always:
            self._saved_count = found.compared + found.failed
            self.rankers.save_comparison(found)

    def end_canary(self, experiment_id: str, why: str, now: Millis) -> None:
        """A guardrail has stopped an experiment: when it is the canary's, the registry says so, and nobody is
        given that version any more."""
        registry = self.rankers.registry()
        version = registry.in_state("canary")
        if version is not None and canary_id(version) == experiment_id:
            moves = registry.promote(version, now, "archived", f"stopped by guardrail: {why}")
            self.rankers.record(moves)

    def _canary(self, version: str | None, models: Models, catalog: Catalog) -> dict[str, Ranker]:
        if version is None:
            return {}
        try:
            return {CANARY: serving(self.rankers.load(version), catalog, models.with_signals())}
        except OpportuneError as error:
            log.warning("the canary %s cannot be used, nobody is given it: %s", version, error)
            return {}

    def _shadow(self, serves: _Serves, models: Models, catalog: Catalog) -> Shadow | None:
        if serves.shadow is None:
            return None
        try:
            bundle = self.rankers.load(serves.shadow)
            ranker = serving(bundle, catalog, models.with_signals())
        except OpportuneError as error:
            log.warning("the shadow %s cannot be used: %s", serves.shadow, error)
            return None
        found = self.rankers.comparison(serves.shadow)
        against = serves.live or "blend"
        if found is None or found.against != against:
            found = SideBySide(version=serves.shadow, against=against)
        return Shadow(ranker, found, bundle.info.baselines.get(SCORE))


def reads_of(rankers: Iterable[Ranker | None]) -> tuple[str, ...]:
    """What any of the rankers looks at of the person."""
    return tuple(sorted({name for one in rankers if isinstance(one, LearnedRanker) for name in one.reads}))


def _serves(registry: Registry) -> _Serves:
    canaries = registry.canaries()
    return _Serves(
        registry.live,
        registry.in_state("canary"),
        registry.in_state("shadow"),
        tuple(list(canaries.items())[-KEPT_CANARIES:]),
    )
