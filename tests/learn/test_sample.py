"""A bounded number of people, each whole."""

from __future__ import annotations

from collections import Counter

from opportune.events.event import Event
from opportune.learn.sample import sampled


def events(people: int, each: int) -> list[Event]:
    return [
        Event("track", "x", f"{person}-{n}", "web", n, n, (f"user_id:{person}",))
        for n in range(each)
        for person in range(people)
    ]


def test_whoever_is_kept_is_kept_whole_and_every_time() -> None:
    found = sampled(events(200, 5), 50)
    people = Counter(event.leaf for event in found)
    assert 15 <= len(people) <= 50
    assert set(people.values()) == {5}
    assert {event.leaf for event in sampled(events(200, 5)[::-1], 50)} == set(people)


def test_few_are_all_kept() -> None:
    assert len(sampled(events(10, 3), 10)) == 30


def test_people_with_two_identifiers_are_kept_or_let_go_together() -> None:
    found = sampled(events(200, 5), 50, lambda leaf: f"user_id:{int(leaf.partition(':')[2]) // 2}")
    people = {int(event.leaf.partition(":")[2]) for event in found}
    assert people == {one ^ 1 for one in people}
    assert len(people) % 2 == 0
