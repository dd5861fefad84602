"""The pages of experiments in a real browser: accessible in light and dark, on a phone and on a desk."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect
from tests.demo.live import SCHEMES, SIZES, assert_accessible, chromium, visit
from tests.warehouse.test_reports import BANDIT, shop

pytestmark = pytest.mark.browser
SECRET = "sk_trials"
PAGES = (
    ("experiments/t", "t"),
    ("business", "What personalization earns"),
    ("bandits/hero", "The hero"),
)


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("trials")
    engine, data = shop(folder, people=300, more=BANDIT)
    engine.close()
    server = subprocess.Popen(
        [
            *(Path(sys.executable).with_name("opportune"), "serve", "--data-dir", data, "--port", "0"),
            *("--workspace", folder / "workspace"),
        ],
        env={**os.environ, "OPPORTUNE_WRITE_KEY": "wk_trials", "OPPORTUNE_SECRET_KEY": SECRET},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert server.stdout is not None
    try:
        for line in server.stdout:
            if found := re.search(r"ready on (\S+)", line):
                yield found[1]
                break
        else:
            pytest.fail("the server did not start")
    finally:
        server.terminate()
        server.stdout.close()
        server.wait(timeout=30)


def test_axe_finds_nothing(url: str) -> None:
    with chromium() as browser:
        for size in SIZES:
            for scheme in SCHEMES:
                with visit(browser, size, scheme) as context:
                    page = context.new_page()
                    page.goto(f"{url}/console/experiments")
                    page.get_by_label("Secret key").fill(SECRET)
                    page.keyboard.press("Enter")
                    expect(page.get_by_role("heading", level=1)).to_have_text("Experiments")
                    assert_accessible(page, f"experiments {size} {scheme}")
                    for path, heading in PAGES:
                        page.goto(f"{url}/console/{path}")
                        expect(page.get_by_role("heading", level=1)).to_have_text(heading)
                        assert_accessible(page, f"{path} {size} {scheme}")
