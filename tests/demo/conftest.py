"""A shop small enough to reason about: three kinds of things, each bought together by its own customers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from opportune import Engine
from opportune.clock import DAY, FixedClock
from opportune.demo.load import load
from opportune.demo.retail import Retail, Row, assemble

FIRST_DAY = 15_000
"""Days since 1970 of the first invoice."""
NOW = 20_000 * DAY + 12 * 3_600_000

GOODS = {
    "candles": [(f"1000{i}", f"RED GLASS CANDLE NO {i}") for i in range(6)],
    "bags": [(f"2000{i}", f"BLUE LUNCH BAG NO {i}") for i in range(6)],
    "clocks": [(f"3000{i}", f"IVORY WALL CLOCK NO {i}") for i in range(6)],
}


def rows() -> Iterator[Row]:
    """Sixty invoices of three lines, one kind each, one a day; the last one a return."""
    kinds = list(GOODS)
    for n in range(60):
        kind = kinds[n % 3]
        customer = 0 if n % 10 == 9 else 501 + n % 3 + 3 * (n % 2)
        name = f"C{536000 + n}" if n == 59 else str(536000 + n)
        for line in range(3):
            code, description = GOODS[kind][(n // 3 + line) % 6]
            quantity = -1 if n == 59 else line + 1
            yield Row(
                name, code, description, quantity, (FIRST_DAY + n) * 1440 + 600, 250 + line, customer, "EIRE"
            )


@pytest.fixture(scope="session")
def retail() -> Retail:
    return assemble(rows())


@pytest.fixture(scope="session")
def engine(retail: Retail, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """A real engine with the small shop in it; tests only read, or write under identifiers of their own."""
    with Engine.open(tmp_path_factory.mktemp("shop"), clock=FixedClock(NOW)) as opened:
        load(opened, retail, NOW)
        yield opened
