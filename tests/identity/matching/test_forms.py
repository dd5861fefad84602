"""Values that people write in different ways have one form."""

from __future__ import annotations

import pytest

from opportune.identity.matching.forms import FORM


@pytest.mark.parametrize(
    ("role", "written", "form"),
    [
        ("name", "  O'Brien ", "o brien"),
        ("name", "Zoë", "zoe"),
        ("name", "NULL", ""),
        ("full_name", "Lee, Ann", "ann lee"),
        ("date", "1980-04-03", "19800403"),
        ("date", "1980-04-03T00:00:00Z", "19800403"),
        ("date", "03/04/1980", "19800403"),
        ("date", "04/23/1980", "19800423"),
        ("date", "3 April 1980", "19800403"),
        ("date", "3 Foo 1980", "3foo1980"),
        ("email", " Ann.Lee@Example.COM", "ann.lee@example.com"),
        ("phone", "+44 161 496 0000", "1614960000"),
        ("phone", "0161 496 0000", "1614960000"),
        ("code", "SW1A 1AA", "sw1a1aa"),
        ("address", "12, High-St.", "12 high st"),
        ("text", " - ", ""),
    ],
)
def test_form(role, written, form):
    assert FORM[role](written) == form
