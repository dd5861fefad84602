"""Every received event ends in exactly one of five ways, and the sums say so."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from opportune.events.accounting import ENDS, Accounting, is_balanced, replayed
from opportune.events.event import Tally
from opportune.events.rejected import MISSING_FIELD, Rejected
from opportune.events.verdicts import SUCCESS, Outcome, Verdict, answer, refused, tally

outcomes: st.SearchStrategy[list[Outcome]] = st.lists(
    st.sampled_from(["stored", "duplicate", "rejected", "suppressed", "filtered"])
)
tallies = st.builds(tally, st.sampled_from(["web", "app"]), outcomes)


def folded(entries: list[Tally]) -> Accounting:
    accounting = Accounting()
    for offset, entry in enumerate(entries):
        accounting.fold(entry, offset)
    return accounting


def test_the_answer_of_the_endpoint() -> None:
    accounting = folded(
        [
            tally("web", ["stored", "stored", "duplicate"]),
            tally("app", ["rejected"]),
            tally("web", ["filtered"]),
        ]
    )
    web = {"stored": 2, "duplicate": 1, "rejected": 0, "suppressed": 0, "filtered": 1}
    app = {"stored": 0, "duplicate": 0, "rejected": 1, "suppressed": 0, "filtered": 0}
    more = {"replayed": 0, "balanced": True}
    assert accounting.to_dict() == {
        "balanced": True,
        "total": {"received": 4 + 1, **{end: web[end] + app[end] for end in ENDS}, **more},
        "sources": {"app": {"received": 1, **app, **more}, "web": {"received": 4, **web, **more}},
    }


def test_balanced_is_computed_and_not_claimed() -> None:
    wrong = folded([Tally("web", received=3, stored=2)])
    assert wrong.to_dict()["balanced"] is False
    assert wrong.to_dict()["sources"]["web"]["balanced"] is False
    assert not is_balanced(Tally("web", received=0, stored=1, rejected=-1))


@given(st.lists(tallies, max_size=5), st.lists(tallies, max_size=5))
def test_tallies_add_up_in_any_order(a: list[Tally], b: list[Tally]) -> None:
    whole = folded(a + b)
    assert whole.sources == folded(b + a).sources == folded(a).combine(folded(b)).sources
    assert whole.to_dict()["balanced"]
    assert whole.total().received == sum(t.received for t in a + b)


@given(st.lists(tallies, max_size=6), st.integers(0, 6))
def test_a_replay_over_a_checkpoint_counts_nothing_twice(entries: list[Tally], at: int) -> None:
    checkpoint = msgspec.msgpack.decode(msgspec.msgpack.encode(folded(entries[:at])), type=Accounting)
    for offset, entry in enumerate(entries):
        checkpoint.fold(entry, offset)
    assert checkpoint == folded(entries)


def test_a_replayed_letter_moves_from_rejected_to_its_new_end() -> None:
    before = [tally("web", ["stored", "rejected", "rejected", "rejected"])]
    after = folded(
        [*before, replayed("web", "stored"), replayed("web", "duplicate"), replayed("web", "rejected")]
    )
    assert after.sources["web"] == Tally("web", received=4, stored=2, duplicate=1, rejected=1, replayed=3)
    assert after.to_dict()["balanced"]


def test_the_verdicts_of_a_batch() -> None:
    why = Rejected(MISSING_FIELD, "a track call needs the name of the event", "$.event", seen="")
    verdicts = [Verdict(0, "m1", "stored"), Verdict(1, "m1", "duplicate"), refused(2, why, letter_id="l1")]
    assert answer(verdicts) == {
        "success": True,
        "verdicts": [
            {"index": 0, "messageId": "m1", "verdict": "stored"},
            {"index": 1, "messageId": "m1", "verdict": "duplicate"},
            {
                "index": 2,
                "messageId": None,
                "verdict": "rejected",
                "code": "missing_field",
                "reason": "a track call needs the name of the event, saw ''",
                "where": "$.event",
                "letterId": "l1",
            },
        ],
    }
    assert msgspec.json.decode(SUCCESS) == {"success": True}
