from __future__ import annotations

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from opportune.clock import DAY
from opportune.errors import Corrupt
from opportune.events import marks
from opportune.events.dedupe import Dedupe, digest
from opportune.events.marks import Bloom, Sealed, from_bytes, seal

TODAY = 20_000 * DAY


class Shelf:
    """Blobs in memory."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.reads = 0

    def blobs(self, prefix: str = "") -> list[str]:
        return sorted(name for name in self.files if name.startswith(prefix))

    def read_blob(self, name: str) -> bytes:
        return self.files[name]

    def open_blob(self, name: str) -> View:
        return View(self, self.files[name])

    def put_blob(self, name: str, data: bytes) -> None:
        self.files[name] = data

    def drop_blob(self, name: str) -> None:
        del self.files[name]


class View:
    def __init__(self, shelf: Shelf, data: bytes) -> None:
        self._shelf = shelf
        self._data = data

    def read(self, offset: int, length: int) -> bytes:
        self._shelf.reads += 1
        return self._data[offset : offset + length]


def save(dedupe: Dedupe, shelf: Shelf) -> None:
    sealing = dedupe.begin()
    sealing.write(shelf)
    sealing.done()


def logical(dedupe: Dedupe) -> list[tuple[int, bytes]]:
    return sorted(dedupe.marks())


def test_source_and_message_id_together_name_a_message() -> None:
    dedupe = Dedupe(Shelf())
    dedupe.add("web", "m1", TODAY)
    assert dedupe.seen("web", "m1")
    assert not dedupe.seen("app", "m1")
    assert not dedupe.seen("web", "m2")
    assert digest("a", "bc") != digest("ab", "c")
    assert digest("1:a", "b") != digest("1", ":ab")
    assert len(digest("web", "\ud800")) == 16, "a lone surrogate is a name like any other"


def test_admit_is_seen_and_add_in_one() -> None:
    dedupe = Dedupe(Shelf())
    assert dedupe.admit("web", "m1", TODAY)
    assert not dedupe.admit("web", "m1", TODAY)
    assert dedupe.seen_many([("web", "m1"), ("web", "m2")]) == [True, False]
    dedupe.add("web", "m1", TODAY + DAY)
    assert logical(dedupe) == [(20_000, digest("web", "m1"))], "the first mark stands"


@pytest.mark.parametrize("sealed", [False, True])
def test_a_mark_lives_at_least_seven_days_after_arrival(sealed: bool) -> None:
    shelf = Shelf()
    dedupe = Dedupe(shelf)
    last_moment = TODAY + DAY - 1
    dedupe.add("web", "m", last_moment)
    if sealed:
        save(dedupe, shelf)
    for day in range(1, 8):
        dedupe.add("web", f"later {day}", last_moment + day * DAY)
        assert dedupe.seen("web", "m"), f"{day} days later"
    dedupe.add("web", "later 8", TODAY + 8 * DAY)
    assert not dedupe.seen("web", "m"), "seven days and a millisecond later"
    assert dedupe.admit("web", "m", TODAY + 8 * DAY)


def test_one_wrong_clock_does_not_expire_everything() -> None:
    dedupe = Dedupe(Shelf())
    dedupe.add("web", "m", TODAY)
    dedupe.add("web", "from 2100", TODAY + 27_000 * DAY)
    assert dedupe.seen("web", "m")
    assert dedupe.seen("web", "from 2100")
    assert dedupe.newest_day == 20_001


def test_expired_files_are_dropped() -> None:
    shelf = Shelf()
    dedupe = Dedupe(shelf)
    for day in range(30):
        for i in range(50):
            dedupe.add("web", f"{day}-{i}", TODAY + day * DAY)
        save(dedupe, shelf)
    assert shelf.blobs("dedupe/2") == [f"dedupe/{20_000 + day}/{1 + day}" for day in range(22, 30)]
    assert dedupe.sealed_count == 8 * 50
    assert Dedupe(shelf).newest_day == 20_029


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["add", "add", "add", "save", "abandon", "reopen"]),
            st.integers(0, 25),
            st.integers(0, 12),
        ),
        max_size=60,
    )
)
def test_it_behaves_like_a_set_that_expires(steps: list[tuple[str, int, int]]) -> None:
    shelf = Shelf()
    dedupe = Dedupe(shelf)
    model: dict[str, int] = {}
    newest: int | None = None
    day = 0
    for action, number, forward in steps:
        name = f"m{number}"
        if action == "add":
            day += forward == 12
            dedupe.add("s", name, TODAY + day * DAY)
            newest = day if newest is None else newest + (day > newest)
            if model.get(name, -100) < newest - 7:
                model[name] = day
        elif action == "save":
            save(dedupe, shelf)
        elif action == "abandon":
            dedupe.begin().abandon()
        else:
            save(dedupe, shelf)
            dedupe = Dedupe(shelf)
        alive = {name for name, marked in model.items() if newest is not None and marked >= newest - 7}
        assert {name for name in (f"m{i}" for i in range(26)) if dedupe.seen("s", name)} == alive


def test_the_state_does_not_depend_on_when_it_was_sealed() -> None:
    random = Random(3)
    messages = [(f"m{random.randrange(3_000)}", TODAY + i * DAY // 400) for i in range(4_000)]
    states = []
    for pause in (10**9, 37, 500):
        shelf = Shelf()
        dedupe = Dedupe(shelf)
        for i, (name, received) in enumerate(messages):
            dedupe.add("s", name, received)
            if i % pause == pause - 1:
                save(dedupe, shelf)
        states.append(logical(dedupe))
    assert states[0] == states[1] == states[2]
    assert len(states[0]) > 1_500


def test_replaying_what_was_added_after_a_checkpoint_began_changes_nothing() -> None:
    shelf = Shelf()
    dedupe = Dedupe(shelf)
    for i in range(100):
        dedupe.add("s", f"a{i}", TODAY)
    sealing = dedupe.begin()
    for i in range(100):
        dedupe.add("s", f"b{i}", TODAY + DAY)
    sealing.write(shelf)
    again = Dedupe(shelf)
    for i in range(100):
        assert not again.seen("s", f"b{i}"), "added at or after the offset of the checkpoint"
        again.add("s", f"b{i}", TODAY + DAY)
    assert logical(again) == logical(dedupe)
    assert again.newest_day == dedupe.newest_day


def test_files_stay_few() -> None:
    shelf = Shelf()
    dedupe = Dedupe(shelf)
    for i in range(200):
        for j in range(20):
            dedupe.add("s", f"{i}-{j}", TODAY)
        save(dedupe, shelf)
    assert dedupe.sealed_count == 200 * 20
    assert dedupe.file_count <= 8, "as many as a number of 200 has bits"
    assert all(dedupe.seen("s", f"{i}-{j}") for i in range(200) for j in range(20))


def test_new_messages_are_answered_from_memory() -> None:
    shelf = Shelf()
    dedupe = Dedupe(shelf)
    for i in range(5_000):
        dedupe.add("s", f"old {i}", TODAY + i % 5 * DAY)
    save(dedupe, shelf)
    shelf.reads = 0
    assert not any(dedupe.seen("s", f"new {i}") for i in range(5_000))
    assert shelf.reads < 0.02 * 5_000 * dedupe.file_count
    shelf.reads = 0
    assert all(dedupe.seen("s", f"old {i}") for i in range(100))
    assert shelf.reads == 0, "what was sealed last is still at hand"


def test_memory_is_bounded_and_the_owner_is_told() -> None:
    shelf = Shelf()
    dedupe = Dedupe(shelf, most_fresh=1_000, bloom_bytes=4_096)
    for i in range(999):
        dedupe.add("s", f"{i}", TODAY)
    assert not dedupe.full
    dedupe.add("s", "one more", TODAY)
    assert dedupe.full
    save(dedupe, shelf)
    assert not dedupe.full
    for i in range(20_000):
        dedupe.add("s", f"more {i}", TODAY)
        if dedupe.full:
            save(dedupe, shelf)
    save(dedupe, shelf)
    assert len(dedupe._bloom.bits) <= 4_096
    for i in range(2_000):
        dedupe.add("s", f"next day {i}", TODAY + DAY)
    assert dedupe.remembered_count == 0, "sealed marks leave memory as new ones come"
    assert all(dedupe.seen("s", f"more {i}") for i in range(0, 20_000, 97)), (
        "a full filter is slow, not wrong"
    )
    assert not any(dedupe.seen("s", f"never {i}") for i in range(300))


def test_marks_with_equal_first_halves_are_told_apart() -> None:
    first = b"\5" * 8
    digests = [first + i.to_bytes(8, "big") for i in range(1, 400)] + [bytes(16), b"\xff" * 16]
    view = Shelf()
    view.put_blob("x", seal(7, from_bytes(b"".join(digests))))
    sealed = Sealed("x", view.open_blob("x"))
    assert (sealed.day, sealed.count) == (7, 401)
    assert all(sealed.has(mark) for mark in digests)
    assert not any(sealed.has(first + i.to_bytes(8, "big")) for i in (0, 400, 401))
    assert not sealed.has(b"\xff" * 15 + b"\xfe")
    assert sorted(marks.to_digests(sealed.digests())) == sorted(digests)


@pytest.mark.parametrize("at", [1, 20, 27, 40, 600, 4_000])
def test_a_flipped_bit_in_a_file_is_damage(at: int) -> None:
    shelf = Shelf()
    digests = [digest("s", str(i)) for i in range(300)]
    data = bytearray(seal(7, from_bytes(b"".join(digests))))
    data[at] ^= 8
    shelf.put_blob("x", bytes(data))
    with pytest.raises(
        Corrupt, match=r"a file of de-duplication marks is damaged: .*, at x: restore a backup"
    ):
        look_everywhere(shelf, digests)


def look_everywhere(shelf: Shelf, digests: list[bytes]) -> None:
    sealed = Sealed("x", shelf.open_blob("x"))
    for mark in digests:
        sealed.has(mark)


def test_the_filter_never_denies_what_it_has() -> None:
    digests = [digest("s", str(i)) for i in range(5_000)]
    bloom = Bloom(5_000, 1 << 20)
    bloom.add(from_bytes(b"".join(digests)))
    assert all(bloom.may_have(mark) for mark in digests)
    wrong = sum(bloom.may_have(digest("t", str(i))) for i in range(5_000))
    assert wrong < 0.02 * 5_000


def test_new_marks_of_one_arrival_are_added_at_once_as_one_by_one() -> None:
    rng = Random(5)
    shelves = (Shelf(), Shelf())
    together, apart = Dedupe(shelves[0]), Dedupe(shelves[1])
    day = 20_000
    for step in range(60):
        day += rng.choice((-9, 0, 0, 0, 1, 3))
        marks = [digest("web", f"{step}-{n}") for n in range(rng.choice((0, 1, 2, 7)))]
        together.add_new(marks, day * DAY)
        for mark in marks:
            apart.add_digest(mark, day * DAY)
        if rng.random() < 0.2:
            save(together, shelves[0])
            save(apart, shelves[1])
        assert (logical(together), together.newest_day) == (logical(apart), apart.newest_day), f"step {step}"
        assert together.remembered_count == apart.remembered_count, f"step {step}"
