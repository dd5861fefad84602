"""Erasure: by any identifier, from every file, for good, and proven."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec
import pytest

from opportune import Engine
from opportune.clock import FixedClock
from opportune.engine.dump import dump
from opportune.engine.proof import check
from opportune.engine.turns import at_once
from opportune.errors import Corrupt, InvalidRequest, NotFound
from opportune.events.event import Event
from opportune.privacy.needles import occurrences
from opportune.privacy.sealing import Erased, is_sealed, slot_of
from opportune.stores.backup import backup, restore
from opportune.stores.disk import RealDisk
from opportune.stores.doctor import examine
from opportune.stores.scan import search

ITEMS = [{"item_id": f"p{n}", "name": f"Product {n}", "category": "c"} for n in range(8)]
ADA = {
    "userId": "ada-lovelace",
    "anonymousId": "browser-of-ada",
    "context": {"traits": {"email": "Ada@Example.org"}},
}
BOB = {"userId": "bob-the-other", "anonymousId": "browser-of-bob"}
NAMES = (b"ada-lovelace", b"browser-of-ada", b"ada@example.org")


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def engine(folder: Path, clock: FixedClock) -> Any:
    with Engine.open(folder, clock=clock) as engine:
        engine.ingest(ITEMS, dialect="catalog")
        yield engine


def viewed(n: int, who: dict[str, Any], clock: FixedClock, **more: Any) -> dict[str, Any]:
    return {
        "type": "track", "event": "Product Viewed", **who, "messageId": f"v{n}-{who['userId']}-{clock()}",
        "timestamp": clock(), "properties": {"product_id": f"p{n % 8}"}, **more,
    }  # fmt: skip


def live(engine: Engine, clock: FixedClock, who: dict[str, Any]) -> str:
    """A person looks around, is refused once, and is answered; the id of the decision."""
    for n in range(5):
        clock.advance(1_000)
        engine.ingest([viewed(n, who, clock)])
    engine.ingest([{"type": "track", "userId": who["userId"]}])
    answer = engine.decide({"placement": "home_recs", "identifiers": {"user_id": who["userId"]}})
    clock.advance(1_000)
    decision_id = answer.decisions[0].decision_id
    engine.ingest([viewed(6, who, clock, decision_id=decision_id)])
    return decision_id


def places(folder: Path, names: tuple[bytes, ...] = NAMES) -> list[str]:
    """Where any of the names stands, in any case."""
    return [
        f"{path.relative_to(folder)}: {name.decode()}"
        for path in sorted(folder.rglob("*"))
        if path.is_file()
        for name in names
        if name in path.read_bytes().lower()
    ]


def inside(engine: Engine, folder: Path, names: tuple[bytes, ...] = NAMES) -> int:
    """How often the names stand in the files as the engine reads them."""
    return search(folder, names, occurrences, engine.store.disk)[2]


def people(engine: Engine) -> dict[str, bytes]:
    """All state that is anybody's: what everybody taught together is not."""
    return {
        key: data
        for key, data in dump(engine.state)
        if key.startswith(("p/", "s/", "d/", "dedupe", "accounting", "dead-letters", "next"))
    }


@pytest.mark.parametrize(
    "identifier", ["user_id:ada-lovelace", "anonymous_id:browser-of-ada", "email:ADA@example.org"]
)
def test_by_any_identifier_from_every_file(
    engine: Engine, folder: Path, clock: FixedClock, identifier: str
) -> None:
    decision_id = live(engine, clock, ADA)
    live(engine, clock, BOB)
    engine.checkpoint()
    assert places(folder) == [], "what is known lies sealed"
    assert inside(engine, folder) >= len(NAMES), "and is there"
    before = engine.profile("user_id:bob-the-other")

    receipt = engine.erase(identifier)

    assert receipt.state == "FINISHED"
    assert receipt.scan is not None
    assert (receipt.scan.found, receipt.removed.identifiers, receipt.removed.leaves) == (0, 3, 3)
    assert (receipt.removed.entries, receipt.removed.dead_letters) == (5 + 1 + 1 + 1, 1)
    assert receipt.removed.outcomes == 1
    assert places(folder) == []
    assert inside(engine, folder) == 0
    for name in ("user_id:ada-lovelace", "anonymous_id:browser-of-ada", "email:ada@example.org"):
        with pytest.raises(NotFound, match="nobody is known by this identifier"):
            engine.profile(name)
    with pytest.raises(NotFound, match="no such decision"):
        engine.decision(decision_id)
    assert engine.dead_letters()["summary"]["open"] == 1, "the other person's"
    assert engine.profile("user_id:bob-the-other") == before


def test_a_rebuild_from_the_journal_gives_the_state_after_the_erasure(
    engine: Engine, folder: Path, clock: FixedClock
) -> None:
    live(engine, clock, ADA)
    live(engine, clock, BOB)
    engine.erase("user_id:ada-lovelace")
    clock.advance(1_000)
    live(engine, clock, BOB)
    after = people(engine)
    engine.close()
    shutil.rmtree(folder / "state")
    with Engine.open(folder, clock=clock) as rebuilt:
        assert people(rebuilt) == after
        assert rebuilt.entries.skipped == 8


def test_late_events_do_not_bring_anybody_back_and_new_ones_begin_a_new_person(
    engine: Engine, folder: Path, clock: FixedClock
) -> None:
    late = viewed(7, ADA, clock)
    live(engine, clock, ADA)
    again = viewed(4, ADA, clock) | {"messageId": "new-id"}
    engine.erase("user_id:ada-lovelace")
    clock.advance(10_000)
    receipt = engine.ingest([late, again])
    assert (receipt.suppressed, receipt.stored) == (2, 0)
    assert receipt.verdicts[0].warnings == ["it is about somebody who was erased, or is not to be recorded"]
    with pytest.raises(NotFound):
        engine.profile("user_id:ada-lovelace")

    assert engine.ingest([viewed(1, ADA, clock)]).stored == 1
    assert engine.profile("user_id:ada-lovelace")["events"] == {"product_viewed": 1}
    after = people(engine)
    engine.close()
    shutil.rmtree(folder / "state")
    with Engine.open(folder, clock=clock) as rebuilt:
        assert people(rebuilt) == after
        rebuilt.erase("user_id:ada-lovelace")
    assert places(folder) == [], "the new person is erased with another key"


def test_suppressed_for_good(engine: Engine, folder: Path, clock: FixedClock) -> None:
    live(engine, clock, ADA)
    engine.erase("user_id:ada-lovelace", suppress=True)
    clock.advance(10_000)
    assert engine.ingest([viewed(1, ADA, clock), viewed(1, BOB, clock)]).suppressed == 1
    engine.close()
    with Engine.open(folder, clock=clock) as again:
        clock.advance(10_000)
        assert (
            again.ingest([viewed(2, {"userId": "x", "anonymousId": "browser-of-ada"}, clock)]).suppressed == 1
        )


def test_twice_and_unknown(engine: Engine, clock: FixedClock) -> None:
    live(engine, clock, ADA)
    assert engine.erase("user_id:ada-lovelace").removed.entries == 8
    again = engine.erase("user_id:ada-lovelace")
    assert (again.state, again.removed.entries, again.removed.leaves, again.removed.keys) == (
        "FINISHED",
        0,
        0,
        0,
    )
    assert engine.erase("user_id:never-seen").removed.identifiers == 1
    with pytest.raises(InvalidRequest, match="this names nobody"):
        engine.erase("user_id:null")


def test_two_at_once(engine: Engine, folder: Path, clock: FixedClock) -> None:
    live(engine, clock, ADA)
    live(engine, clock, BOB)
    one, other = engine.erasing(["user_id:ada-lovelace"]), engine.erasing(["user_id:bob-the-other"])
    one.begin()
    other.begin()
    assert other.finish().scan.found == one.finish().scan.found == 0  # type: ignore[union-attr]  # a folder has a scan
    assert places(folder, (*NAMES, b"bob-the-other", b"browser-of-bob")) == []


def test_while_events_wait_for_the_disk(engine: Engine, folder: Path, clock: FixedClock) -> None:
    live(engine, clock, ADA)
    admission = engine.admit(
        [viewed(3, ADA, clock)], kind=None, dialect="segment", source="library", received=clock()
    )
    engine.append([admission])
    assert engine.erase("user_id:ada-lovelace").removed.entries == 8 + 1
    engine.flush()
    engine.apply([admission])
    with pytest.raises(NotFound):
        engine.profile("user_id:ada-lovelace")
    assert places(folder) == []


def test_somebody_elses_events_lose_only_the_identifier(
    engine: Engine, folder: Path, clock: FixedClock
) -> None:
    """A shop's e-mail that too many share joins nobody: erasing it takes it from them."""
    kiosk = {"context": {"traits": {"email": "kiosk-mail@shop.example"}}}
    for n in range(40):
        clock.advance(1_000)
        engine.ingest([viewed(n, {"userId": f"customer-{n:03d}", **kiosk}, clock)])
    assert len(engine.component("email:kiosk-mail@shop.example").identifiers) == 1
    engine.erase("email:kiosk-mail@shop.example")
    known = engine.profile("user_id:customer-007")
    assert known["events"] == {"product_viewed": 1}
    assert known["links"] == known["refused"] == []
    after = people(engine)
    engine.close()
    shutil.rmtree(folder / "state")
    with Engine.open(folder, clock=clock) as rebuilt:
        assert people(rebuilt) == after


def test_a_folder_whose_journal_was_never_sealed(tmp_path: Path, folder: Path, clock: FixedClock) -> None:
    (tmp_path / "ws").mkdir()
    (tmp_path / "ws" / "privacy.yaml").write_text("seal_journal: false\n")
    with Engine.open(folder, workspace=tmp_path / "ws", clock=clock) as engine:
        engine.ingest(ITEMS, dialect="catalog")
        live(engine, clock, ADA)
        live(engine, clock, BOB)
        assert any("journal" in place for place in places(folder))
        assert not (folder / "vault").exists()
        receipt = engine.erase("user_id:ada-lovelace")
        assert (receipt.removed.rewritten, receipt.removed.keys) == (8, 0)
        assert places(folder) == []
        live(engine, clock, BOB)
        after = people(engine)
    shutil.rmtree(folder / "state")
    with Engine.open(folder, workspace=tmp_path / "ws", clock=clock) as rebuilt:
        assert people(rebuilt) == after


STEPS: dict[str, Callable[[pytest.MonkeyPatch], None]] = {
    "state": lambda m: m.setattr("opportune.engine.engine.forget", _power_cut),
    "trace": lambda m: m.setattr("opportune.engine.erasing.trace", _power_cut),
    "checkpoint": lambda m: m.setattr("opportune.engine.checkpoints.Checkpoints.turns", _power_cut),
    "keys": lambda m: m.setattr("opportune.stores.vault.Vault.destroy", _power_cut),
}


class PowerCutError(Exception):
    pass


def _power_cut(*_: object, **__: object) -> Any:
    raise PowerCutError


@pytest.mark.parametrize("step", STEPS)
def test_a_crash_in_the_middle_is_finished_by_the_next_start(
    folder: Path, clock: FixedClock, step: str
) -> None:
    engine = Engine.open(folder, clock=clock)
    engine.ingest(ITEMS, dialect="catalog")
    live(engine, clock, ADA)
    live(engine, clock, BOB)
    engine.checkpoint()
    with pytest.MonkeyPatch.context() as patched:
        STEPS[step](patched)
        with pytest.raises(PowerCutError):
            engine.erase("user_id:ada-lovelace")
    engine.abandon()
    with Engine.open(folder, clock=clock) as again:
        with pytest.raises(NotFound):
            again.profile("user_id:ada-lovelace")
        assert again.profile("user_id:bob-the-other")["events"]["product_viewed"] == 6
        again.store.compact(everything=True)
        assert places(folder) == []
        after = people(again)
    shutil.rmtree(folder / "state")
    with Engine.open(folder, clock=clock) as rebuilt:
        assert people(rebuilt) == after


@pytest.mark.parametrize("sealed", ["true", "false"])
@pytest.mark.parametrize("turns", [0, 1, 3, 9])
def test_who_comes_back_while_it_runs_is_a_new_person(
    tmp_path: Path, folder: Path, clock: FixedClock, turns: int, sealed: str
) -> None:
    """Whether it runs to its end or is cut short and finished by the next start, checkpoint or not."""
    (tmp_path / "ws").mkdir()
    (tmp_path / "ws" / "privacy.yaml").write_text(f"seal_journal: {sealed}\n")

    def opened() -> Engine:
        return Engine.open(folder, workspace=tmp_path / "ws", clock=clock)

    engine = opened()
    live(engine, clock, ADA)
    live(engine, clock, BOB)
    engine.checkpoint()
    erasing = engine.erasing(["user_id:ada-lovelace"])
    erasing.begin()
    with pytest.raises(NotFound):
        engine.profile("user_id:ada-lovelace")
    clock.advance(1_000)
    at_once(islice(erasing.turns(), turns))
    assert engine.ingest([viewed(1, ADA, clock)]).stored == 1
    engine.checkpoint()
    clock.advance(1_000)
    assert engine.ingest([viewed(2, ADA, clock)]).stored == 1
    engine.abandon()
    with opened() as again:
        assert again.profile("user_id:ada-lovelace")["events"] == {"product_viewed": 2}
        assert again.dead_letters()["summary"]["open"] == 1, "the other person's"
        assert again.profile("user_id:bob-the-other")["events"]["product_viewed"] == 6
        after = people(again)
    shutil.rmtree(folder / "state")
    with opened() as rebuilt:
        assert people(rebuilt) == after
        rebuilt.erase("user_id:ada-lovelace")
    assert places(folder) == []


def test_every_entry_about_a_person_is_sealed_with_the_key_of_its_leaf(
    engine: Engine, folder: Path, clock: FixedClock
) -> None:
    live(engine, clock, ADA)
    live(engine, clock, BOB)
    slots: dict[str, set[int]] = {}
    for _, data in engine.journal.scan():
        entry = engine.entries.decode(data)
        if isinstance(entry, Event) and entry.identifiers:
            assert is_sealed(data)
            slots.setdefault(entry.identifiers[0], set()).add(slot_of(data))
    assert {name: len(used) for name, used in slots.items()} == {
        "user_id:ada-lovelace": 1,
        "user_id:bob-the-other": 1,
    }
    assert {name: {engine.state.leaf(name).slot} for name in slots} == slots
    assert [place for place in places(folder) if place.startswith("journal")] == []


def test_a_journal_without_its_vault_is_refused_and_with_another_one_too(
    engine: Engine, folder: Path, tmp_path: Path, clock: FixedClock
) -> None:
    live(engine, clock, ADA)
    engine.close()
    shutil.move(folder / "vault", tmp_path / "vault")
    with pytest.raises(Corrupt, match="the journal is sealed, and its vault is not here"):
        Engine.open(folder, clock=clock)
    with Engine.open(tmp_path / "other", clock=clock):
        pass
    shutil.copytree(tmp_path / "other" / "vault", folder / "vault")
    with pytest.raises(Corrupt, match="this vault belongs to another journal"):
        Engine.open(folder, clock=clock)
    shutil.rmtree(folder / "vault")
    shutil.move(tmp_path / "vault", folder / "vault")
    with Engine.open(folder, clock=clock) as again:
        assert again.profile("user_id:ada-lovelace")["events"]["product_viewed"] == 6


def test_a_receipt_is_checked(engine: Engine, folder: Path, tmp_path: Path, clock: FixedClock) -> None:
    live(engine, clock, ADA)
    receipt = engine.erase("user_id:ada-lovelace")
    data = msgspec.json.encode(receipt)
    assert check(data, None)["genuine"]
    told = check(data, folder, "email:ada@example.org")
    assert (told["genuine"], told["searched"]["found"]) == (True, 0)
    with pytest.raises(InvalidRequest, match="about somebody else"):
        check(data, folder, "user_id:bob-the-other")
    changed = msgspec.json.encode(msgspec.structs.replace(receipt, state="PARTIAL_SUCCESS"))
    with pytest.raises(InvalidRequest, match="the signature does not hold"):
        check(changed, folder)
    with Engine.open(tmp_path / "other", clock=clock), pytest.raises(InvalidRequest, match="another vault"):
        check(data, tmp_path / "other")
    (folder / "notes.txt").write_text('{"who": "ADA@example.org"}')
    assert check(data, folder, "email:ada@example.org")["searched"]["found"] == 1
    assert engine.erase("email:ada@example.org").state == "PARTIAL_SUCCESS"


def test_an_erased_entry_is_still_known_as_a_duplicate(
    engine: Engine, folder: Path, clock: FixedClock
) -> None:
    engine.ingest([viewed(1, ADA, clock)])
    engine.erase("user_id:ada-lovelace")
    found = [engine.entries.decode(data) for _, data in engine.journal.scan()]
    erased = [entry for entry in found if isinstance(entry, Erased)]
    assert len(erased) == 1
    assert engine.state.dedupe.seen_digest(erased[0].digest)
    assert RealDisk(folder, read_only=True).exists("vault/erased.jsonl")


def test_everything_that_is_held_is_shown(engine: Engine, clock: FixedClock) -> None:
    decision_id = live(engine, clock, ADA)
    live(engine, clock, BOB)
    held = engine.holdings("email:ada@example.org")
    assert held["identifiers"][0] == "user_id:ada-lovelace"
    assert len(held["events"]) == 5 + 1
    assert [one["decision_id"] for one in held["decisions"]] == [decision_id]
    assert [one["code"] for one in held["dead_letters"]] == ["missing_field"]
    assert held["profile"]["links"]
    assert "bob-the-other" not in str(held)
    engine.erase("email:ada@example.org")
    with pytest.raises(NotFound):
        engine.holdings("email:ada@example.org")


def test_the_list_of_links_that_wait_for_review_names_nobody_who_was_erased(
    engine: Engine, folder: Path, clock: FixedClock
) -> None:
    live(engine, clock, ADA)
    live(engine, clock, BOB)
    shared = {"type": "identify", "userId": "carol-the-third", "anonymousId": "browser-of-bob"}
    engine.ingest([shared | {"messageId": "c1", "timestamp": clock()}])
    engine.commit(engine.relink("user_id:ada-lovelace", "user_id:bob-the-other", "merge", who="user:eve"))
    assert len(engine.reviews()["reviews"]) == 2
    assert [one["a"] for one in engine.corrections()] == ["user_id:ada-lovelace"]

    engine.erase("user_id:ada-lovelace")

    kept = engine.state.reviews
    assert "ada-lovelace" not in str(msgspec.to_builtins(kept))
    [still] = engine.reviews()["reviews"]
    assert (still["a"], still["b"]) == ("user_id:carol-the-third", "anonymous_id:browser-of-bob")
    assert engine.corrections() == []
    engine.close()
    shutil.rmtree(folder / "state")
    with Engine.open(folder, clock=clock) as rebuilt:
        assert rebuilt.state.reviews.suspects == kept.suspects
        assert rebuilt.state.reviews.corrections == kept.corrections


def test_bandits_wait_for_nothing_from_who_was_erased(tmp_path: Path, clock: FixedClock) -> None:
    """What the decision taught stays as a count: one trial each."""
    (tmp_path / "ws").mkdir()
    (tmp_path / "ws" / "experiments.yaml").write_text(
        "experiments:\n- {id: hero, placements: [home_recs], arms: [{id: a}, {id: b}], bandit: {}}\n"
    )
    with Engine.open(tmp_path / "data", workspace=tmp_path / "ws", clock=clock) as engine:
        engine.ingest(ITEMS, dialect="catalog")
        decisions = {
            name: engine.decide({"placement": "home_recs", "identifiers": {"user_id": name}})
            .decisions[0]
            .decision_id
            for name in ("ada-lovelace", "bob-the-other")
        }
        known = engine.state.bandits.known
        assert set(known.waiting["hero"]) == set(decisions.values())
        taught = msgspec.msgpack.encode(known.learnt)
        engine.erase("user_id:ada-lovelace")
        assert set(known.waiting["hero"]) == {decisions["bob-the-other"]}
        assert msgspec.msgpack.encode(known.learnt) == taught


def test_a_backup_older_than_an_erasure_comes_back_without_the_person(
    engine: Engine, folder: Path, tmp_path: Path, clock: FixedClock
) -> None:
    live(engine, clock, ADA)
    live(engine, clock, BOB)
    engine.checkpoint()
    backup(folder, tmp_path / "before.tar")
    engine.erase("user_id:ada-lovelace")
    clock.advance(1_000)
    engine.checkpoint()
    expected = engine.profile("user_id:bob-the-other")
    restore(tmp_path / "before.tar", tmp_path / "restored", vault=folder / "vault")
    with Engine.open(tmp_path / "restored", clock=clock) as restored:
        with pytest.raises(NotFound):
            restored.profile("user_id:ada-lovelace")
        assert restored.profile("user_id:bob-the-other")["events"] == expected["events"]
        again = viewed(5, ADA, clock) | {"timestamp": clock() - 5_000, "messageId": "late"}
        assert restored.ingest([again]).suppressed == 1
    assert places(tmp_path / "restored") == []


def test_the_doctor_looks_at_the_vault(
    engine: Engine, folder: Path, tmp_path: Path, clock: FixedClock
) -> None:
    live(engine, clock, ADA)
    engine.close()
    assert examine(folder).sound
    keys = folder / "vault" / "keys-000000"
    whole = keys.read_bytes()
    keys.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    [found] = [f for f in examine(folder).findings if f.severity == "error"]
    assert "the keys do not open with this master key" in found.what
    keys.write_bytes(whole)
    shutil.move(folder / "vault", tmp_path / "vault")
    [found] = [f for f in examine(folder).findings if f.severity == "error"]
    assert "the journal is sealed, and its vault is not here" in found.what
    shutil.move(tmp_path / "vault", folder / "vault")
