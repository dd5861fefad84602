"""@segment/analytics-next, its unmodified bundle, in a real Chromium: preflights, text posts, unloading."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

pytestmark = pytest.mark.browser

CHROMIUM = shutil.which("chromium") or "/usr/bin/chromium"
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
]
PAGE = (
    b'<!doctype html><title>Shop</title><link rel="icon" href="data:,"><script src="/index.js"></script><p>hi'
)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    if not Path(CHROMIUM).exists():
        pytest.skip("needs Chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def origin(node_clients: Path) -> Iterator[str]:
    """The shop's own web server, another origin than ours: one page, and the client's unmodified bundle."""
    bundle = node_clients / "node_modules" / "@segment" / "analytics-next" / "dist" / "umd"

    class Handler(SimpleHTTPRequestHandler):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args, directory=str(bundle))

        def log_message(self, *_: Any) -> None:
            return

        def do_GET(self) -> None:
            if not self.path.startswith("/p/"):
                return super().do_GET()
            self.send_response(200)
            self.send_header("content-type", "text/html")
            self.send_header("content-length", str(len(PAGE)))
            self.end_headers()
            self.wfile.write(PAGE)
            return None

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


class Shop:
    """A page of the shop, open in the browser; ``problems`` and ``elsewhere`` should stay empty."""

    def __init__(self, page: Page, origin: str, way: Any) -> None:
        self.page = page
        self.problems: list[str] = []
        self.elsewhere: list[str] = []
        home = (origin, way.url, "data:")
        page.on("console", lambda line: self._console(line.type, line.text))
        page.on("pageerror", lambda error: self.problems.append(str(error)))
        page.on(
            "request", lambda sent: None if sent.url.startswith(home) else self.elsewhere.append(sent.url)
        )
        page.goto(f"{origin}/p/1?utm_source=mail")

    def _console(self, kind: str, text: str) -> None:
        if kind in ("error", "warning"):
            self.problems.append(text)

    def drive(self, script: Path, given: dict[str, Any]) -> dict[str, Any]:
        source = script.read_text(encoding="utf-8")
        answer = self.page.evaluate(
            f"(given) => {{ const {{ AnalyticsBrowser }} = window.AnalyticsNext; {source} }}", given
        )
        assert isinstance(answer, dict)
        return answer


@pytest.fixture
def shop(chromium: Browser, origin: str, way: Any) -> Iterator[Shop]:
    context = chromium.new_context()
    yield Shop(context.new_page(), origin, way)
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
            const [analytics] = await AnalyticsNext.AnalyticsBrowser.load(
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
