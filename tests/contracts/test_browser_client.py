"""@segment/analytics-next, its unmodified bundle, in a real Chromium: preflights, text posts, unloading."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from playwright.sync_api import Browser, Page, Route, sync_playwright

pytestmark = pytest.mark.browser

CHROMIUM = shutil.which("chromium") or "/usr/bin/chromium"
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
SHOP = "http://shop.example"


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    if not Path(CHROMIUM).exists():
        pytest.skip("needs Chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


class Shop:
    """A page of a shop on another origin than the server, with the client's bundle from its own folder."""

    def __init__(self, page: Page, dist: Path, way: Any) -> None:
        self.page = page
        self.problems: list[str] = []
        self.elsewhere: list[str] = []
        page.on("console", lambda line: self._console(line.type, line.text))
        page.on("pageerror", lambda error: self.problems.append(str(error)))

        def shop(route: Route) -> None:
            path = route.request.url.removeprefix(SHOP)
            if path.startswith("/lib/"):
                route.fulfill(path=dist / path.removeprefix("/lib/").partition("?")[0])
            else:
                html = '<!doctype html><title>Shop</title><script src="/lib/index.js"></script><p>hello'
                route.fulfill(body=html, content_type="text/html")

        def elsewhere(route: Route) -> None:
            if route.request.url.startswith((way.url, SHOP)):
                route.fallback()
            else:
                self.elsewhere.append(route.request.url)
                route.abort()

        page.route(f"{SHOP}/**", shop)
        page.route("**/*", elsewhere)
        page.goto(f"{SHOP}/p/1?utm_source=mail")

    def _console(self, kind: str, text: str) -> None:
        if kind in ("error", "warning"):
            self.problems.append(text)

    def drive(self, script: Path, given: dict[str, Any]) -> dict[str, Any]:
        source = script.read_text(encoding="utf-8")
        answer = self.page.evaluate(
            f"(given) => {{ const AnalyticsBrowser = window.AnalyticsBrowser; {source} }}", given
        )
        assert isinstance(answer, dict)
        return answer


@pytest.fixture
def shop(chromium: Browser, node_clients: Path, way: Any) -> Iterator[Shop]:
    context = chromium.new_context()
    dist = node_clients / "node_modules" / "@segment" / "analytics-next" / "dist" / "umd"
    yield Shop(context.new_page(), dist, way)
    context.close()


@pytest.fixture
def person() -> str:
    return f"web-{uuid4().hex[:12]}"


def given(way: Any, served: Any, person: str, *, batching: bool = False) -> dict[str, Any]:
    return {
        "url": way.url,
        "host": way.host,
        "writeKey": served.write_key,
        "person": person,
        "batching": batching,
    }


@pytest.mark.parametrize("batching", [False, True])
def test_every_call_is_stored_once(
    shop: Shop, node_clients: Path, way: Any, served: Any, since: Any, person: str, batching: bool
) -> None:
    answer = shop.drive(node_clients / "drive.js", given(way, served, person, batching=batching))
    if batching:
        shop.page.wait_for_timeout(500)
    since.wait_for({"received": 7, "stored": 7})
    profile = served.profile(f"user_id:{person}")
    assert profile["events"] == {
        "alias": 1,
        "group": 1,
        "identify": 1,
        "order_completed": 1,
        "page": 1,
        "product_viewed": 1,
        "screen": 1,
    }
    assert f"anonymous_id:{answer['anonymousId']}" in {one["identifier"] for one in profile["identifiers"]}
    assert shop.problems == []
    assert shop.elsewhere == []
    preflights = [seen for seen in way.seen if seen.method == "OPTIONS"]
    assert preflights
    assert {seen.status for seen in preflights} == {204}


def test_what_is_waiting_when_the_page_closes_still_arrives(
    shop: Shop, node_clients: Path, way: Any, served: Any, since: Any, person: str
) -> None:
    """The batching client flushes on unload with a request that outlives the page."""
    shop.page.evaluate(
        """async (given) => {
            const [analytics] = await AnalyticsBrowser.load(
                { writeKey: given.writeKey, cdnURL: given.url },
                { integrations: { "Segment.io": { apiHost: `${given.host}/v1`, protocol: "http",
                    deliveryStrategy: { strategy: "batching", config: { size: 100, timeout: 60000 } } } } });
            await analytics.identify(given.person);
            await analytics.track("Product Added", { product_id: "p1" });
        }""",
        given(way, served, person),
    )
    assert since.moved() == {}
    shop.page.close(run_before_unload=True)
    since.wait_for({"received": 2, "stored": 2})
    assert served.profile(f"user_id:{person}")["events"] == {"identify": 1, "product_added": 1}


def test_a_refused_post_comes_again(
    shop: Shop, node_clients: Path, way: Any, served: Any, since: Any, person: str
) -> None:
    way.script = [503]
    shop.drive(node_clients / "drive.js", given(way, served, person))
    since.wait_for({"received": 7, "stored": 7}, seconds=30)
    assert way.statuses()[0] == 503
    bodies = [json.loads(post.body) for post in way.posts() if not post.path.endswith("/m")]
    assert bodies[0]["messageId"] in [body["messageId"] for body in bodies[1:]]
