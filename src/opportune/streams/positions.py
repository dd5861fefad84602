"""How far a local journal has followed Kafka, so that each message is in it once whatever dies when."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from opportune.errors import Corrupt
from opportune.streams.tail import Reached

FILE = "followed.json"


class _Step(msgspec.Struct):
    """One commit group: the journal's next sequence number before it, how many entries it has, and the
    offsets before and after it, as ``[topic, partition, offset, entries had of that message]``."""

    base: int
    count: int
    before: list[tuple[str, int, int, int]]
    after: list[tuple[str, int, int, int]]


class Positions:
    """The step that was begun last, on disk before the journal has it. A commit group is in the journal whole
    or not at all, so the journal's end says which of the two offsets hold."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE

    def begin(self, base: int, count: int, before: Reached, after: Reached) -> None:
        """The next commit group has ``count`` entries from ``base`` on. One flush."""
        step = _Step(base, count, _listed(before), _listed(after))
        fresh = self._path.with_suffix(".new")
        with fresh.open("wb") as out:
            out.write(msgspec.json.encode(step))
            out.flush()
            os.fdatasync(out.fileno())
        fresh.replace(self._path)

    def reached(self, next_seq: int) -> Reached:
        """Where to go on, given the journal's next sequence number. Raises :class:`Corrupt` when the two do
        not belong together."""
        try:
            step = msgspec.json.decode(self._path.read_bytes(), type=_Step)
        except FileNotFoundError:
            return {}
        except msgspec.MsgspecError as error:
            raise Corrupt(
                f"how far Kafka was followed cannot be read ({error})",
                seen=str(self._path),
                remedy="begin again with an empty data folder",
            ) from error
        if next_seq >= step.base + step.count:
            return _by_part(step.after)
        if next_seq == step.base:
            return _by_part(step.before)
        raise Corrupt(
            f"the journal ends at {next_seq}, but Kafka was followed to {step.base}",
            seen=str(self._path),
            remedy="put the journal back that belongs to it, or begin again with an empty data folder",
        )


def _listed(reached: Reached) -> list[tuple[str, int, int, int]]:
    return [(topic, number, *at) for (topic, number), at in sorted(reached.items())]


def _by_part(listed: list[tuple[str, int, int, int]]) -> Reached:
    return {(topic, number): (offset, had) for topic, number, offset, had in listed}
