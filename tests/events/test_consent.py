"""What events say about consent, in each dialect."""

from __future__ import annotations

import pytest

from opportune.events.consent import MAX_CATEGORIES, NOTHING, Statement, read, statement_of
from opportune.events.event import Event

TCF = "COtybn4PA_zT4KjACBENAPCIAEBAAECAAIAAAAAAAAAA"


def event(name: str = "product_viewed", context=None, properties=None) -> Event:
    return Event("track", name, "m1", "web", 1, 1, ("user_id:u1",), properties=properties or {},
                 context=context or {})  # fmt: skip


@pytest.mark.parametrize(
    ("context", "choices"),
    [
        ({"consent": {"categoryPreferences": {"Analytics": True, "Ads": False}}},
         {"Analytics": True, "Ads": False}),
        ({"consentManagement": {"allowedConsentIds": ["C1", "C2"], "deniedConsentIds": ["C3"]}},
         {"C1": True, "C2": True, "C3": False}),
        ({"gpc": True}, {"gpc": False}),
        ({"gpc": False}, {}),
        ({"gdpr_consent": TCF}, {f"tcf:{i}": i in (2, 10) for i in range(1, 12)}),
        ({"consent": {"categoryPreferences": {"C": True}}, "consentManagement": {"deniedConsentIds": ["C"]}},
         {"C": False}),
        ({"consent": None, "consentManagement": []}, {}),
    ],
)  # fmt: skip
def test_dialects(context, choices):
    assert dict(read(context).choices) == choices


def test_an_event_without_a_signal_says_nothing():
    assert statement_of(event(context={"page": {"url": "/"}})) is NOTHING


def test_our_own_event():
    told = event("consent_updated", properties={"categories": {"personalization": False}})
    assert statement_of(told) == Statement({"personalization": False})


def test_what_cannot_be_read_grants_nothing_and_is_told():
    said = read({"gdpr_consent": "nonsense!", "consent": {"categoryPreferences": {"A": "yes"}}})
    assert not said.choices
    assert said.problems == (
        "consent to 'A' must be true or false, saw 'yes'",
        "the TCF string was not read: a TCF string is base64url",
    )


def test_categories_are_bounded():
    said = read({"consent": {"categoryPreferences": {f"c{i}": True for i in range(MAX_CATEGORIES + 1)}}})
    assert len(said.choices) == MAX_CATEGORIES
    assert said.problems == (f"more than {MAX_CATEGORIES} consent categories, 'c64' was not read",)


@pytest.mark.parametrize(
    ("context", "where"),
    [
        ({"jurisdiction": "us-ca"}, "US-CA"),
        ({"location": {"country": "de"}}, "DE"),
        ({"location": {"country": "US", "region": "CA"}}, "US-CA"),
        ({"location": {"country": None}}, ""),
        ({}, ""),
    ],
)
def test_where_the_person_is(context, where):
    assert read(context).jurisdiction == where


def test_rudderstack_strategies() -> None:
    said = {"allowedConsentIds": ["C0003"], "deniedConsentIds": ["Functional"]}
    assert read({"consentManagement": said}).any_of == frozenset()
    assert read({"consentManagement": {**said, "resolutionStrategy": "and"}}).any_of == frozenset()
    either = read({"consentManagement": {**said, "resolutionStrategy": "or"}})
    assert either.choices == {"C0003": True, "Functional": False}
    assert either.any_of == {"C0003", "Functional"}
    unknown = read({"consentManagement": {**said, "resolutionStrategy": "xor"}})
    assert unknown.any_of == frozenset()
    assert unknown.problems == ("resolutionStrategy must be 'and' or 'or', saw 'xor'; read as 'and'",)


def test_another_dialects_word_is_not_softened() -> None:
    both = read(
        {
            "consent": {"categoryPreferences": {"Functional": False}},
            "consentManagement": {"allowedConsentIds": ["C0003"], "resolutionStrategy": "or"},
        }
    )
    assert both.any_of == {"C0003"}
