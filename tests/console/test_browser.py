"""The console in a real browser: live, accessible in light and dark, on a phone and on a desk."""

from __future__ import annotations

import base64
import json
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect
from tests.demo.live import SCHEMES, SIZES, Live, assert_accessible, chromium, demo, visit

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    with demo(tmp_path_factory.mktemp("demo")) as running:
        send(
            running,
            {
                "type": "track",
                "event": "Product Viewed",
                "anonymousId": "seen",
                "properties": {"product_id": "10001"},
            },
        )
        send(running, {"type": "identify", "anonymousId": "seen", "userId": "502"})
        send(running, {"type": "identify", "anonymousId": "seen", "userId": "503"})
        send(running, {"type": "track", "userId": "502"})
        post(running, "/v1/decide", {"placement": "home_recs", "identifiers": {"user_id": "502"}})
        yield running


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as launched:
        yield launched


def post(live: Live, path: str, body: dict[str, Any]) -> dict[str, Any]:
    token = base64.b64encode(f"{live.write_key}:".encode()).decode()
    headers = {"Authorization": f"Basic {token}", "Content-Type": "application/json"}
    request = urllib.request.Request(f"{live.url}{path}", json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request) as answer:
        return dict(json.load(answer))


def send(live: Live, event: dict[str, Any]) -> None:
    post(live, "/v1/batch", {"batch": [event]})


def signed_in(live: Live, context: BrowserContext, path: str = "/") -> Page:
    page = context.new_page()
    page.goto(f"{live.url}/console{path}")
    page.get_by_label("Secret key").fill(live.secret_key)
    page.keyboard.press("Enter")
    expect(page.get_by_label("Secret key")).to_have_count(0)
    return page


def test_events_appear_by_themselves_and_stop_on_pause(live: Live, browser: Browser) -> None:
    with visit(browser) as context:
        page = signed_in(live, context, "/events")
        before = page.locator("tbody tr").count()
        send(live, {"type": "track", "event": "Bell Rung", "anonymousId": "bell-1"})
        expect(page.locator("tbody tr").first).to_contain_text("Bell Rung")
        page.get_by_role("button", name="Pause").click()
        send(live, {"type": "track", "event": "Bell Rung Twice", "anonymousId": "bell-1"})
        page.wait_for_timeout(2_000)
        assert page.locator("tbody tr").count() == before + 1
        page.get_by_role("button", name="Go on").click()
        expect(page.locator("tbody tr").first).to_contain_text("Bell Rung Twice")


def test_overview_follows_and_leaves_the_reader_alone(live: Live, browser: Browser) -> None:
    with visit(browser) as context:
        page = signed_in(live, context)
        received = page.locator(".legend dd").first
        before = received.inner_text()
        page.locator(".line summary").first.click()
        send(live, {"type": "page", "anonymousId": "o-1"})
        page.wait_for_timeout(3_600)
        assert received.inner_text() == before, "an open table is not pulled away"
        page.locator(".line summary").first.click()
        page.locator("h1").click()
        expect(received).not_to_have_text(before)


def test_theme_is_remembered(live: Live, browser: Browser) -> None:
    with visit(browser) as context:
        page = signed_in(live, context)
        background = "getComputedStyle(document.body).backgroundColor"
        light = page.evaluate(background)
        page.get_by_role("button", name="Light or dark").click()
        dark = page.evaluate(background)
        assert dark != light
        page.goto(f"{live.url}/console/accounting")
        assert page.evaluate(background) == dark


def test_menu_on_a_phone_by_keyboard(live: Live, browser: Browser) -> None:
    with visit(browser, "phone") as context:
        page = signed_in(live, context)
        people = page.get_by_role("link", name="People")
        expect(people).to_be_hidden()
        page.locator(".menu summary").focus()
        page.keyboard.press("Enter")
        expect(people).to_be_visible()
        people.press("Enter")
        expect(page.get_by_role("heading", level=1)).to_have_text("People")


def test_a_dead_letter_is_fixed_in_the_page(live: Live, browser: Browser) -> None:
    with visit(browser) as context:
        page = signed_in(live, context, "/accounting")
        page.get_by_role("link", name="Look at dead letter").first.click()
        box = page.get_by_label("The event, as it came")
        event = json.loads(box.input_value())
        box.fill(json.dumps({**event, "event": "Product Viewed", "properties": {"product_id": "10001"}}))
        page.get_by_role("button", name="Try again").click()
        expect(page.get_by_role("status")).to_have_text("The event is stored now.")
        expect(page.locator(".head .badge")).to_have_text("the sums agree")
        send(live, {"type": "track", "userId": "502"})


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("size", list(SIZES))
def test_axe_finds_nothing(live: Live, browser: Browser, size: str, scheme: str) -> None:
    with visit(browser, size, scheme) as context:
        page = context.new_page()
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.goto(f"{live.url}/console/")
        assert_accessible(page, "sign in")
        page.get_by_label("Secret key").fill(live.secret_key)
        page.keyboard.press("Enter")
        expect(page.get_by_role("heading", level=1)).to_have_text("Overview")
        paths = [
            "/",
            "/events",
            "/people?q=seen",
            "/people/user_id:502",
            "/identity?a=user_id:502&b=user_id:501",
            "/minimise",
            "/audit",
            "/access",
            "/decisions",
            "/accounting",
            "/placements",
            "/people/user_id:nobody",
        ]
        for path in paths:
            page.goto(f"{live.url}/console{path}")
            if path == "/decisions":
                assert_accessible(page, path)
                page.locator("tbody a").first.click()
                expect(page.locator(".waterfall")).to_be_visible()
                path = "a decision"
            if path == "/accounting":
                assert_accessible(page, path)
                page.get_by_role("link", name="Look at dead letter").first.click()
                expect(page.get_by_role("button", name="Try again")).to_be_visible()
                path = "a dead letter"
            assert_accessible(page, path)
        assert [url for url in asked if not url.startswith((live.url, "data:"))] == []


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_person_changes_what_is_done_with_their_data(live: Live, browser: Browser, scheme: str) -> None:
    who = f"pref-{scheme}"
    send(
        live,
        {
            "type": "track", "event": "Product Viewed", "anonymousId": who,
            "properties": {"product_id": "10001"},
        },
    )  # fmt: skip
    post(live, "/v1/decide", {"placement": "home_recs", "identifiers": {"anonymous_id": who}})
    asked = urllib.request.Request(
        f"{live.url}/v1/privacy/preference-link",
        json.dumps({"identifier": f"anonymous_id:{who}"}).encode(),
        {"Authorization": f"Bearer {live.secret_key}", "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(asked) as answer:
        path = json.load(answer)["path"]
    with visit(browser, size="phone", scheme=scheme) as context:
        page = context.new_page()
        page.goto(f"{live.url}{path}")
        assert_accessible(page, f"preferences, {scheme}")
        page.get_by_role("switch", name="Personalization").click()
        page.get_by_role("button", name="Save my choices").click()
        expect(page.get_by_role("status")).to_have_text("Saved. It holds from now on.")
        expect(page.get_by_role("switch", name="Personalization")).not_to_be_checked()
        page.get_by_role("button", name="Not interested").first.click()
        expect(page.get_by_role("status")).to_have_text("You will not be shown that again.")
        page.get_by_label("Delete everything about me, for good").check()
        page.get_by_role("button", name="Delete my data").click()
        expect(page.get_by_role("status")).to_contain_text("Your data is deleted")
        page.goto(f"{live.url}{path}")
        expect(page.get_by_text("We know nothing about you.")).to_be_visible()
