"""Consent strings of the IAB, against what other decoders' tests publish."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from opportune.events.tcf import decode


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


def test_the_string_of_the_reference_decoders():
    found = decode("COtybn4PA_zT4KjACBENAPCIAEBAAECAAIAAAAAAAAAA")
    assert (found.version, found.cmp_id, found.policy_version) == (2, 675, 2)
    assert found.created == at("2020-01-26T17:01:00")
    assert found.updated == at("2021-02-02T17:01:00")
    assert (found.consents, found.interests, found.special) == ({2, 10}, {2, 9}, {1})


def test_purposes_and_further_segments():
    text = "COrEAV4OrXx94ACABBENAHCIAD-AAAAAAACAAxAAAAgAIAwgAgAAAAEAgQAAAAAEAYQAQAAAACAAAABAAA"
    assert decode(text).consents == {3, 4, 5, 6, 7, 8, 9}
    assert decode(text + ".IBAgAAAgAIAwgAgAAAAEAAAACA.QAagAQAgAIAwgA") == decode(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "at least 213 bits, this has 0"),
        ("COtybn4", "at least 213 bits, this has 40"),
        ("not/base64!" * 9, "a TCF string is base64url"),
        ("BOQ7WlgOQ7WlgABACDENABwAAABJOACgACAAQABA", "version 1 of the TCF is not read, only 2"),
    ],
)
def test_what_is_no_such_string_is_refused(text, message):
    with pytest.raises(ValueError, match=message):
        decode(text)
