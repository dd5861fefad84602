"""Forms that no page of ours sends."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import pytest
from starlette.requests import Request

from opportune.console.forms import FORM_BYTES, FORM_FIELDS, read_form
from opportune.errors import InvalidRequest


def read(*chunks: bytes) -> dict[str, str]:
    line = [{"type": "http.request", "body": chunk, "more_body": True} for chunk in chunks]
    line.append({"type": "http.request", "body": b"", "more_body": False})

    async def receive() -> Any:
        return line.pop(0)

    return asyncio.run(read_form(Request({"type": "http", "method": "POST", "headers": []}, receive)))


def test_the_first_value_of_each_field_counts() -> None:
    assert read(b"a=1&b=&a", b"=2&c=%C3%A9") == {"a": "1", "b": "", "c": "é"}


def test_the_largest_form_is_read() -> None:
    assert len(read(b"&".join(b"f%d=x" % n for n in range(FORM_FIELDS)))) == FORM_FIELDS
    assert len(read(b"a=" + b"x" * (FORM_BYTES - 2))["a"]) == FORM_BYTES - 2


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"&".join(b"f%d=x" % n for n in range(FORM_FIELDS + 1)), "the form has too many fields"),
        (b"a=" + b"x" * (FORM_BYTES - 1), "the form is too large"),
    ],
)
def test_a_larger_one_is_refused(body: bytes, said: str) -> None:
    with pytest.raises(InvalidRequest, match=re.escape(said)):
        read(body)
