"""Timestamps in the forms that clients send, and the correction for their clocks."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opportune.events.moments import EARLIEST, NOTED_AHEAD, BadTime, corrected, read

NOW = 1_795_300_000_000


@pytest.mark.parametrize(
    ("sent", "millis"),
    [
        ("2026-11-21T20:46:43.531Z", 1_795_294_003_531),
        ("2026-11-21T20:46:43.531+00:00", 1_795_294_003_531),
        ("2026-11-21T22:46:43.531+02:00", 1_795_294_003_531),
        ("2026-11-21T20:46:43.531", 1_795_294_003_531),
        ("2026-11-21 20:46:43.531", 1_795_294_003_531),
        (" 2026-11-21T20:46:43.531Z ", 1_795_294_003_531),
        ("2026-11-21T20:46:43.5319999Z", 1_795_294_003_531),
        ("2026-11-21T20:46:43Z", 1_795_294_003_000),
        ("2026-11-21", 1_795_219_200_000),
        ("20261121", 1_795_219_200_000),
        (1_795_294_003_531, 1_795_294_003_531),
        (1_795_294_003.531, 1_795_294_003_531),
        (1_795_294_003, 1_795_294_003_000),
        ("1795294003531", 1_795_294_003_531),
        ("1795294003", 1_795_294_003_000),
        ("1795294003.531", 1_795_294_003_531),
        ("1712111520123", 1_712_111_520_123),
        ("1969-12-31T23:59:59.999Z", -1),
        (0, 0),
        (-1, -1_000),
        (None, None),
        ("", None),
        ("  ", None),
    ],
)
def test_every_form(sent: Any, millis: int | None) -> None:
    assert read(sent) == millis


@pytest.mark.parametrize("sent", ["now", "2026-02-30", "21/11/2026", "1.2.3", "²", "9" * 21, "٣"])
def test_text_that_is_no_time(sent: str) -> None:
    with pytest.raises(BadTime, match="not an ISO 8601 time or a number of seconds or milliseconds"):
        read(sent)


@pytest.mark.parametrize("sent", [float("nan"), float("inf"), 1e15, -1e15, "9999999999999999"])
def test_numbers_that_are_no_time(sent: float | str) -> None:
    with pytest.raises(BadTime, match=r"not a time: |outside the years 1 to 9999: "):
        read(sent)


@given(st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30)), st.integers(-14, 14))
def test_text_agrees_with_exact_arithmetic(moment: datetime, hours: int) -> None:
    exact = (moment.replace(tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds() * 1_000
    assert read(moment.isoformat()) == pytest.approx(exact, abs=1.0, rel=0)
    assert read(f"{moment.isoformat()}{hours:+03d}:00") == read(moment.isoformat()) - hours * 3_600_000  # type: ignore[operator]  # never None for a full time


class TestCorrected:
    def test_no_time_is_arrival(self) -> None:
        assert corrected(None, NOW, NOW) == (NOW, "")

    def test_without_a_sending_time_the_client_is_believed(self) -> None:
        assert corrected(NOW - 7, None, NOW) == (NOW - 7, "")

    @given(
        st.integers(0, 10**12),
        st.integers(-(10**13), 10**13),
        st.integers(0, 60_000),
    )
    def test_a_wrong_clock_makes_no_difference(self, age: int, error: int, latency: int) -> None:
        """``age`` ms before sending, whatever the client's clock says."""
        sent_at = NOW - latency + error
        assert corrected(sent_at - age, sent_at, NOW)[0] == NOW - age

    def test_never_after_its_arrival(self) -> None:
        assert corrected(NOW + NOTED_AHEAD, None, NOW) == (NOW, "")
        assert corrected(NOW + NOTED_AHEAD + 1, None, NOW) == (NOW, "future")
        assert corrected(2_000, 1_000, NOW) == (NOW, "")

    def test_before_1990_is_a_clock_that_was_never_set(self) -> None:
        assert corrected(EARLIEST, None, NOW) == (EARLIEST, "")
        assert corrected(EARLIEST - 1, None, NOW) == (NOW, "unset")
        assert corrected(0, NOW, NOW) == (NOW, "unset")
