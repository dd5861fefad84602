"""An answer that is not there yet."""

from __future__ import annotations

import asyncio

import pytest

from opportune.server.pending import Pending


def test_who_asked_is_told_in_the_same_call() -> None:
    pending: Pending[int] = Pending()
    seen: list[int] = []
    pending.then(lambda one: seen.append(one.result()))
    assert seen == []
    pending.succeed(3)
    assert seen == [3]


def test_who_asks_late_is_told_at_once() -> None:
    pending: Pending[int] = Pending()
    pending.succeed(3)
    seen: list[int] = []
    pending.then(lambda one: seen.append(one.result()))
    assert seen == [3]


def test_a_value_is_converted_and_an_error_passes_through() -> None:
    good: Pending[int] = Pending()
    doubled = good.map(lambda value: value * 2)
    good.succeed(3)
    assert doubled.result() == 3 * 2
    bad: Pending[int] = Pending()
    mapped = bad.map(lambda value: value * 2)
    bad.fail(KeyError("gone"))
    with pytest.raises(KeyError, match="gone"):
        mapped.result()


def test_an_error_in_the_conversion_is_the_answer() -> None:
    pending: Pending[int] = Pending()
    mapped = pending.map(lambda value: 1 // value)
    pending.succeed(0)
    with pytest.raises(ZeroDivisionError):
        mapped.result()


def test_it_can_be_awaited_before_and_after() -> None:
    async def main() -> tuple[int, int]:
        pending: Pending[int] = Pending()
        asyncio.get_running_loop().call_later(0.001, pending.succeed, 5)
        return await pending, await pending

    assert asyncio.run(main()) == (5, 5)
