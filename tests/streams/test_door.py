"""Who may not come in, by the serving copy and by what a door heard before the workers."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import msgspec

from opportune.events.segment import normalize
from opportune.privacy.order import Order
from opportune.streams.door import MOST_HEARD, Door
from opportune.streams.serving_records import ServingRecords
from opportune.streams.stones import NO_STONE, Stone

THEN = 1_790_000_000_000
ORDER = Order("0" * 16, THEN, "user_id:u1", ("user_id:u1",))


def _door(**stones: Stone) -> Door:
    def stone(identifier: str) -> Stone:
        return stones.get(identifier.removeprefix("user_id:"), NO_STONE)

    return Door(cast(ServingRecords, SimpleNamespace(stone=stone)))


def _refuses(door: Door, at: int, user: str = "u1") -> bool:
    call: dict[str, Any] = {"event": "Product Viewed", "messageId": f"m{at}", "userId": user}
    return door.refuses(normalize(call, kind="track", source="shop", received=at))


def test_the_workers_tombstone_holds() -> None:
    door = _door(u1=Stone(THEN))
    assert _refuses(door, THEN)
    assert not _refuses(door, THEN + 1), "somebody new"
    assert not _refuses(door, THEN, "u2")


def test_what_it_heard_holds_before_the_workers_know() -> None:
    door = _door()
    assert not _refuses(door, THEN)
    door.hear(ORDER)
    assert _refuses(door, THEN)
    assert not _refuses(door, THEN + 1)


def test_whoever_is_kept_out_is_let_in_again_by_what_was_heard_last() -> None:
    door = _door(u1=Stone(suppressed=True))
    assert _refuses(door, THEN + 99)
    assert door.suppresses("user_id:u1")
    door.hear(msgspec.structs.replace(ORDER, erases=False, lifted=True))
    assert not _refuses(door, THEN + 99)


def test_it_remembers_only_so_many() -> None:
    door = _door()
    door.hear(ORDER)
    others = tuple(f"user_id:x{number}" for number in range(MOST_HEARD))
    door.hear(msgspec.structs.replace(ORDER, members=others))
    assert not _refuses(door, THEN), "by then the workers have it"
