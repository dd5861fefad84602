"""What may be done with a person, from what was said and where."""

from __future__ import annotations

import pytest

from opportune.errors import InvalidDefinition
from opportune.events.consent import Statement, read
from opportune.events.event import Event
from opportune.profiles.consent.policy import ConsentPolicy, Use, parse_policy, standing
from opportune.profiles.consent.record import MAX_KEPT, Consent

POLICY = ConsentPolicy()


def said(time: int = 1, where: str = "", id_: str = "m1", **choices: bool) -> Consent:
    consent = Consent(choices={})
    tell(consent, time, where, id_, **choices)
    return consent


def tell(consent: Consent, time: int, where: str = "", id_: str = "m1", **choices: bool) -> None:
    consent.fold(Event("track", "x", id_, "web", time, time, ("user_id:u1",)), Statement(choices, where))


@pytest.mark.parametrize(
    ("records", "uses"),
    [
        ([], ["collect", "personalize", "measure", "train", "share"]),
        ([said(personalization=False)], ["collect", "measure", "train", "share"]),
        ([said(Analytics=False)], ["collect", "personalize", "share"]),
        ([said(gpc=False)], ["collect", "personalize", "measure", "train"]),
        ([said(personalization=False, analytics=False, advertising=False)], []),
        ([said(where="DE")], []),
        ([said(where="DE", personalization=True)], ["collect", "personalize"]),
        ([said(where="US-CA")], ["collect", "personalize", "measure", "train", "share"]),
        ([said(unheard_of=False)], ["collect", "personalize", "measure", "train", "share"]),
    ],
)
def test_uses(records, uses):
    assert standing(POLICY, records).allowed.names == uses


def test_the_stricter_of_two_identifiers_wins_whoever_spoke_last():
    yes, no = said(9, personalization=True), said(1, personalization=False)
    for records in ([yes, no], [no, yes]):
        found = standing(POLICY, records)
        assert not found.may(Use.PERSONALIZE)
        assert found.purposes["personalization"] == (False, "refused: personalization (m1)")


def test_the_stricter_of_two_places_wins():
    assert standing(POLICY, [said(where="US"), said(where="FR")]).allowed == Use.NONE


def test_silence_is_no_when_it_fails_closed():
    closed = ConsentPolicy(fail_closed=True)
    assert standing(closed, []).allowed == Use.NONE
    assert standing(closed, [said(where="US", personalization=True)]).allowed.names == [
        "collect",
        "personalize",
    ]


def test_what_the_request_says_counts_for_the_request():
    now = Statement({"personalization": False})
    assert not standing(POLICY, [], now).may(Use.PERSONALIZE)
    assert standing(POLICY, [said(personalization=False)], Statement({"personalization": True})).may(
        Use.MEASURE
    )
    assert not standing(POLICY, [said(personalization=False)], Statement({"personalization": True})).may(
        Use.PERSONALIZE
    )


def test_under_one_identifier_the_latest_word_stands_in_any_order():
    forth, back = said(1, a=True), said(5, id_="m2", a=False)
    tell(forth, 5, id_="m2", a=False)
    tell(back, 1, a=True)
    assert forth == back
    assert not forth.choices["a"].allowed
    tell(forth, 5, id_="m3", a=True)
    assert not forth.choices["a"].allowed, "at the same instant no stands"
    tell(forth, 6, id_="m4", a=True)
    assert forth.choices["a"].allowed


def test_what_is_kept_is_bounded_whatever_the_order():
    names = [f"c{i:03d}" for i in range(MAX_KEPT + 3)]
    forth, back = Consent(choices={}), Consent(choices={})
    for name in names:
        tell(forth, 1, **{name: True})
    for name in reversed(names):
        tell(back, 1, **{name: True})
    assert forth == back
    assert sorted(forth.choices) == names[:MAX_KEPT]


def test_a_file_adds_places_and_replaces_purposes():
    policy = parse_policy(
        "purposes: {ads: {uses: [share], categories: [C9]}}\njurisdictions: {CA-QC: opt_in}\n"
    )
    assert standing(policy, [said(where="CA-QC")]).allowed.names == [
        "collect",
        "personalize",
        "measure",
        "train",
    ]
    assert standing(policy, [said(C9=False)]).purposes == {"ads": (False, "refused: C9 (m1)")}
    assert policy.silence("DE") is False


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("purposes: {a: {uses: []}}", r"a purpose needs a use.*\$\.purposes\.a\.uses: one of collect"),
        ("purposes: {a: {uses: [sell]}}", "Invalid enum value 'sell'"),
        ("default: maybe", "Invalid enum value 'maybe'"),
        ("fail_close: true", "unknown field `fail_close`"),
    ],
)
def test_mistakes_are_named(text, message):
    with pytest.raises(InvalidDefinition, match=message):
        parse_policy(text)


def test_one_yes_is_enough_under_the_strategy_or() -> None:
    ids = {"allowedConsentIds": ["C0003"], "deniedConsentIds": ["Functional"]}
    for strategy, allowed in (("and", False), ("or", True)):
        said = read({"consentManagement": {**ids, "resolutionStrategy": strategy}})
        assert standing(ConsentPolicy(), [], said).may(Use.PERSONALIZE) is allowed
        event = Event("track", "x", "m1", "web", 5, 5, ("user_id:u1",))
        record = Consent(choices={})
        record.fold(event, said)
        assert standing(ConsentPolicy(), [record]).may(Use.PERSONALIZE) is allowed
    none = read({"consentManagement": {"deniedConsentIds": ["C0003"], "resolutionStrategy": "or"}})
    assert not standing(ConsentPolicy(), [], none).may(Use.PERSONALIZE)


def test_a_no_from_elsewhere_stands_under_the_strategy_or() -> None:
    said = read(
        {
            "consent": {"categoryPreferences": {"Functional": False}},
            "consentManagement": {"allowedConsentIds": ["C0003"], "resolutionStrategy": "or"},
        }
    )
    assert not standing(ConsentPolicy(), [], said).may(Use.PERSONALIZE)
