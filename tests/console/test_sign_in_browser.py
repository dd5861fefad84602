"""Signing in by an OpenID provider in a real browser, which decides about cookies across sites."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect
from tests.console.openid_mock import mock_provider
from tests.demo.live import assert_accessible, chromium

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(
        importlib.util.find_spec("oidc_provider_mock") is None, reason="needs the package oidc-provider-mock"
    ),
]

ACCESS = """
oidc:
  issuer: {issuer}
  client_id: opportune
  title: Example login
  roles:
    - {{role: administrator, claim: groups, value: shop-admins}}
"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as launched:
        yield launched


@contextmanager
def served(folder: Path, issuer: str) -> Iterator[str]:
    """``opportune serve`` with a workspace that names the provider."""
    (folder / "workspace").mkdir()
    (folder / "workspace" / "access.yaml").write_text(ACCESS.format(issuer=issuer))
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "opportune.cli", "serve", "--port", "0"),
            *("--data-dir", str(folder / "data"), "--workspace", str(folder / "workspace")),
        ],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "OPPORTUNE_OIDC_SECRET": "any"},
    )
    assert process.stdout is not None
    try:
        ready = next(line for line in process.stdout if line.startswith("ready on"))
        yield ready.split()[-1]
    finally:
        process.terminate()
        process.wait(20)
        process.stdout.close()


def test_in_and_out_by_a_provider(browser: Browser, tmp_path: Path) -> None:
    with mock_provider() as issuer, served(tmp_path, issuer) as url:
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.set_default_timeout(10_000)
        page.goto(f"{url}/console/access")
        button = page.get_by_role("link", name="Sign in with Example login")
        expect(button).to_be_visible()
        assert_accessible(page, "sign-in")
        button.click()
        assert page.url.startswith(issuer), "another site: localhost, and the console is on 127.0.0.1"
        page.get_by_role("button", name="ada").click()
        expect(page.get_by_role("heading", name="Access", exact=True)).to_be_visible()
        assert page.url == f"{url}/console/access"
        page.get_by_role("button", name="Sign out").click()
        expect(button).to_be_visible()
        page.goto(f"{url}/console/")
        assert "/login" in page.url

        button.click()
        page.get_by_role("button", name="eve").click()
        problem = page.get_by_role("alert")
        expect(problem).to_contain_text("have no role here, saw 'eve@elsewhere.test'")
        assert_accessible(page, "no role")
        page.close()
