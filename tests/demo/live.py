"""The demo as people start it, over the small shop, and a browser to look at it with."""

from __future__ import annotations

import csv
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright
from tests.demo.conftest import rows

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
SIZES = {"phone": (390, 844), "desktop": (1280, 900)}
SCHEMES = ("light", "dark")


class Live(NamedTuple):
    """A running demo: its address without a slash at the end, and its keys."""

    url: str
    write_key: str
    secret_key: str


def write_csv(path: Path) -> None:
    """The small shop as the CSV file that ``--data`` takes."""
    with path.open("w", newline="", encoding="utf-8") as file:
        out = csv.writer(file)
        out.writerow(
            [
                "InvoiceNo",
                "StockCode",
                "Description",
                "Quantity",
                "InvoiceDate",
                "UnitPrice",
                "CustomerID",
                "Country",
            ]
        )
        for row in rows():
            when = datetime.fromtimestamp(row.minute * 60, UTC).strftime("%Y-%m-%d %H:%M")
            price = row.pence / 100
            out.writerow(
                [
                    row.invoice,
                    row.code,
                    row.description,
                    row.quantity,
                    when,
                    price,
                    row.customer or "",
                    row.country,
                ]
            )


@contextmanager
def demo(folder: Path) -> Iterator[Live]:
    """``opportune demo`` on a free port; stopped by its process id."""
    data = folder / "invoices.csv"
    write_csv(data)
    command = [Path(sys.executable).parent / "opportune", "demo", "--port", "0", "--no-visitors"]
    process = subprocess.Popen(
        [*map(str, command), "--data", str(data), "--data-dir", str(folder / "data")],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=folder,
    )
    assert process.stdout is not None
    try:
        said = ""
        for line in process.stdout:
            said += line
            if "secret key" in line:
                break
        found = dict(re.findall(r"^(shop|write key|secret key)\s+(\S+)", said, re.M))
        assert found.keys() == {"shop", "write key", "secret key"}, said
        yield Live(found["shop"].rstrip("/"), found["write key"], found["secret key"])
    finally:
        process.terminate()
        process.stdout.close()
        process.wait(timeout=20)


@contextmanager
def chromium() -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


@contextmanager
def visit(browser: Browser, size: str = "desktop", scheme: Any = "light") -> Iterator[BrowserContext]:
    """A fresh visitor. Errors in the browser's console fail the test when the visit ends, but for pages that
    are meant not to be there."""
    width, height = SIZES[size]
    context = browser.new_context(
        viewport={"width": width, "height": height}, color_scheme=scheme, reduced_motion="reduce"
    )
    context.set_default_timeout(10_000)
    problems: list[str] = []
    context.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
    context.on("weberror", lambda error: problems.append(str(error.error)))
    yield context
    context.close()
    assert [text for text in problems if "404 (Not Found)" not in text] == []


def assert_accessible(page: Page, what: str) -> None:
    """axe finds nothing, best practices included, and nothing sticks out at the side."""
    results = Axe().run(page)
    assert results.violations_count == 0, f"{what}: {results.generate_report()}"
    wider = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert wider <= 0, f"{what} is {wider} px wider than the screen"
