from __future__ import annotations

from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import msgspec
import pytest

from opportune import Engine
from opportune.clock import FixedClock
from opportune.errors import InvalidDefinition
from opportune.events.event import Event
from opportune.identity.rules import parse_rules
from opportune.identity.survivorship import Survivorship
from opportune.profiles.golden import MAX_SOURCES, MAX_VALUES, GoldenFold, Told, golden, survivor
from opportune.profiles.leaf import Claims, Trait
from opportune.testing.folds import FoldCase, check_fold

RULES = {
    "city": Survivorship("most_frequent"),
    "name": Survivorship("longest"),
    "email": Survivorship("most_trusted", sources=("crm", "till")),
    "plan": Survivorship("order", values=("gold", "silver")),
    "age": Survivorship("most_recent"),
}


def identify(time: int, source: str = "web", **traits: Any) -> Event:
    return Event("identify", "identify", f"m{time}", source, time, time, ("user_id:u1",), traits=traits)


def stands(name: str, *events: Event) -> Any:
    fold = GoldenFold(RULES)
    state = fold.zero()
    latest = Trait(None, -1, "")
    for event in events:
        state = fold.fold(state, event)
        if event.time > latest.time and name in event.traits:
            latest = Trait(event.traits[name], event.time, event.source)
    return golden({name: latest}, state, RULES)[name]


def test_most_frequent() -> None:
    said = [identify(1, city="Hull"), identify(2, city="Hull"), identify(3, "crm", city="York")]
    assert stands("city", *said) == Trait("Hull", 2, "web")
    assert stands("city", *said, identify(4, city="York")) == Trait("York", 4, "web")


def test_longest() -> None:
    assert stands("name", identify(1, "crm", name="Ada Lovelace"), identify(2, name="Ada")) == Trait(
        "Ada Lovelace", 1, "crm"
    )


def test_most_trusted() -> None:
    web, till, crm = (
        identify(3, email="w@x"),
        identify(2, "till", email="t@x"),
        identify(1, "crm", email="c@x"),
    )
    assert stands("email", web).value == "w@x"
    assert stands("email", web, till).value == "t@x"
    assert stands("email", web, till, crm) == Trait("c@x", 1, "crm")


def test_order() -> None:
    assert stands("plan", identify(1, plan="free")).value == "free"
    assert stands("plan", identify(1, plan="silver"), identify(2, plan="free")).value == "silver"
    assert stands("plan", identify(1, plan="gold"), identify(2, plan="silver")).value == "gold"


@pytest.mark.parametrize("name", ["city", "name", "email", "plan", "age"])
def test_what_was_taken_back_stands_no_more(name: str) -> None:
    said = [identify(1, "crm", **{name: "gold medal"}), identify(2, **{name: None})]
    assert stands(name, *said).value is None
    assert stands(name, *said, identify(3, **{name: "x"})).value == "x"
    assert stands(name, *reversed(said)).value is None


def test_undeclared_traits_are_not_remembered() -> None:
    assert GoldenFold(RULES).fold({}, identify(1, shoe_size=43)) == {}
    assert GoldenFold({}).fold({}, identify(1, city="Hull")) == {}


values = st.one_of(
    st.none(), st.sampled_from(["Hull", "York", "a longer name"]), st.integers(0, 40), st.lists(st.booleans())
)
events = st.lists(
    st.builds(
        lambda time, source, name, value: identify(time, source, **{name: value}),
        st.integers(0, 60),
        st.sampled_from([f"s{n}" for n in range(11)]),
        st.sampled_from(sorted(RULES)),
        values,
    ),
    max_size=40,
)


def test_it_keeps_the_laws() -> None:
    check_fold(
        FoldCase(
            GoldenFold(RULES),
            events,
            freeze=lambda state: msgspec.msgpack.encode(state, order="deterministic"),
            encode=lambda state: msgspec.msgpack.encode(state, order="deterministic"),
            decode=lambda data: msgspec.msgpack.decode(data, type=Told),
            max_bytes=len(RULES) * 20_000,
            many=[identify(n, f"s{n % 50}", city="x" * 150 + str(n)) for n in range(500)],
        )
    )


def test_it_is_bounded() -> None:
    fold, state = GoldenFold(RULES), {}
    for n in range(100):
        state = fold.fold(state, identify(n, f"s{n:03}", city=f"c{n:03}"))
    assert (len(state["city"].values), len(state["city"].by_source)) == (MAX_VALUES, MAX_SOURCES)
    assert fold.fold({}, identify(1, city="x" * 300)) == {}


def test_a_rule_without_anything_said_leaves_the_latest() -> None:
    latest = Trait("Hull", 5, "web")
    assert survivor(RULES["city"], Claims({}, {}), latest) is latest


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("traits: {email: {keep: most_trusted}}", "most_trusted goes with sources, saw 'most_trusted'"),
        ("traits: {email: {keep: order}}", "order goes with values"),
        ("traits: {email: {keep: longest, values: [a]}}", "order goes with values, saw 'longest'"),
        ("traits: {email: {keep: newest}}", "Invalid enum value 'newest'"),
    ],
)
def test_wrong_rules(text: str, problem: str) -> None:
    with pytest.raises(InvalidDefinition, match=problem):
        parse_rules(text)


def test_the_losers_are_shown_and_outlive_a_restart(tmp_path: Path) -> None:
    workspace = tmp_path / "workspace"
    workspace.mkdir()
    (workspace / "identity.yaml").write_text("traits: {name: {keep: longest}}\n")
    said = [
        {
            "type": "identify",
            "userId": "u1",
            "traits": {"name": "Ada Lovelace", "plan": "a"},
            "timestamp": "2025-10-01",
        },
        {
            "type": "identify",
            "userId": "u1",
            "traits": {"name": "Ada", "plan": "b"},
            "timestamp": "2025-10-02",
        },
    ]
    with Engine.open(tmp_path / "data", workspace=workspace, clock=FixedClock(1_760_000_000_000)) as engine:
        engine.ingest(said, source="web")
        seen = engine.profile("user_id:u1")["traits"]
    assert seen["plan"] == {"value": "b", "updated_at": seen["plan"]["updated_at"], "source_id": "web"}
    assert (seen["name"]["value"], seen["name"]["rule"]) == ("Ada Lovelace", "longest")
    assert [(one["value"], one["count"], one["void"]) for one in seen["name"]["said"]] == [
        ("Ada", 1, False),
        ("Ada Lovelace", 1, False),
    ]
    with Engine.open(tmp_path / "data", workspace=workspace, clock=FixedClock(1_760_000_000_000)) as engine:
        assert engine.profile("user_id:u1")["traits"] == seen
