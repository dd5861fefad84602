from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path
from random import Random

import pytest

from opportune import Engine
from opportune.engine.alike import people
from opportune.errors import InvalidRequest
from opportune.identity.matching.proposals import comparable, propose
from opportune.identity.matching.records import Records
from opportune.identity.matching.training import train

NAMES = [
    "ada",
    "grace",
    "alan",
    "edsger",
    "barbara",
    "donald",
    "john",
    "radia",
    "tim",
    "leslie",
    "shafi",
    "niklaus",
]
TOWNS = ["hull", "york", "leeds", "bath"]


def shoppers(seed: int = 1, count: int = 150) -> list[tuple[str, dict[str, str]]]:
    """People with a surname, a birthday and a postcode of their own; every tenth is there twice, once with a
    slip of the pen."""
    random = Random(seed)
    found = []
    for n in range(count):
        row = {
            "first_name": random.choice(NAMES),
            "last_name": "".join(random.choice("bcdfgklmnprstvwz" if k % 2 else "aeiou") for k in range(8)),
            "birthday": str(date(1940, 1, 1) + timedelta(days=random.randrange(20_000))),
            "city": random.choice(TOWNS),
            "postcode": f"{random.randrange(10_000, 99_999)}",
        }
        found.append((f"user_id:u{n:03}", row))
        if n % 10 == 0:
            found.append((f"anonymous_id:a{n:03}", {**row, "last_name": row["last_name"][:-1] + "x"}))
    return found


def test_doubles_are_proposed_and_nobody_else() -> None:
    crowd = shoppers()
    rows = [row for _, row in crowd]
    model = train(Records.of(comparable(rows), rows), seed=1)
    found = propose(model, crowd, lowest=0.5)
    pairs = {(p.a, p.b) for p in found}
    assert pairs == {(f"user_id:u{n:03}", f"anonymous_id:a{n:03}") for n in range(0, 150, 10)}
    for proposal in found:
        assert proposal.probability > 0.9
        assert proposal.steps[-1]["sum"] == pytest.approx(proposal.weight)
        surname = next(step for step in proposal.steps if step["column"] == "last_name")
        assert surname["left"].startswith(surname["right"][:-1])
    assert [p.weight for p in found] == sorted((p.weight for p in found), reverse=True)
    assert propose(model, crowd, lowest=0.5, most=3) == found[:3]


def test_nothing_to_compare() -> None:
    with pytest.raises(InvalidRequest, match="nothing is known of people that they could be compared by"):
        comparable([])


def test_people_are_rows(tmp_path: Path) -> None:
    with Engine.open(tmp_path) as engine:
        engine.ingest(
            [
                {
                    "type": "identify",
                    "userId": "u1",
                    "anonymousId": "a1",
                    "traits": {"name": "Ada", "vip": True},
                },
                {
                    "type": "identify",
                    "userId": "u1",
                    "traits": {"age": 36, "email": "Ada@x.example", "tags": ["x"]},
                },
                {"type": "page", "anonymousId": "a2"},
            ],
            source="web",
        )
        assert list(people(engine.state)) == [
            ("user_id:u1", {"age": "36", "email": "Ada@x.example", "name": "Ada"})
        ]
