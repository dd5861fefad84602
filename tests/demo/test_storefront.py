"""The shop's pages over HTTP: content, weight, safety."""

from __future__ import annotations

import re

import pytest
from tests.demo.asgi import Client

from opportune import Engine
from opportune.demo.personas import Persona, popularity
from opportune.demo.retail import Retail
from opportune.demo.storefront import create_storefront

ADA = Persona(customer="501", orders=12, taste="Clocks", share=0.5, country="EIRE")


@pytest.fixture(scope="module")
def shop(engine: Engine, retail: Retail) -> Client:
    app = create_storefront(
        engine, "wk_public", popularity=popularity(retail), personas=[ADA], console_url="/console/"
    )
    return Client(app)


@pytest.mark.parametrize(
    ("path", "heading"),
    [
        ("/", "Small things that make a house a home"),
        ("/category/clocks", "Clocks"),
        ("/product/10001", "Red Glass Candle No 1"),
        ("/search?q=lunch", "Results for “lunch”"),
        ("/cart", "Your basket"),
        ("/thank-you", "Thank you"),
    ],
)
def test_pages(shop: Client, path: str, heading: str) -> None:
    page = shop.get(path)
    assert page.status_code == 200
    assert f"<h1>{heading}</h1>" in page.text
    assert page.text.count("<h1>") == 1
    assert 'data-write-key="wk_public"' in page.text
    assert 'href="/console/"' in page.text
    assert "10.24432/C5BW33" in page.text
    assert "CC BY 4.0" in page.text


@pytest.mark.parametrize("path", ["/category/nothing", "/product/nope", "/elsewhere"])
def test_unknown_addresses_are_a_page_too(shop: Client, path: str) -> None:
    page = shop.get(path)
    assert page.status_code == 404
    assert "<h1>That shelf is empty</h1>" in page.text


def test_search_needs_all_words_and_knows_beginnings(shop: Client) -> None:
    found = re.findall(r'class="tile" data-item-id="(\w+)"', shop.get("/search?q=red+candles+3").text)
    assert found == ["10003"]
    assert "6 things" in shop.get("/search?q=wal+clo").text
    lanterns = re.findall(r'class="tile" data-item-id="(\w+)"', shop.get("/search?q=lanterns").text)
    assert sorted(lanterns) == [f"1000{n}" for n in range(6)], "no name has it, so the shelf's name counts"
    assert "Nothing has these words." in shop.get("/search?q=zebra").text


def test_what_is_typed_is_shown_and_never_run(shop: Client) -> None:
    text = shop.get("/search", params={"q": '"><script>alert(1)</script>'}).text
    assert "<script>alert" not in text
    assert "&lt;script&gt;alert(1)" in text


@pytest.mark.parametrize(("page", "shown"), [("1", "10"), ("-3", "10"), ("99999999", "10"), ("x", "10")])
def test_page_numbers_that_make_no_sense(shop: Client, page: str, shown: str) -> None:
    answer = shop.get(f"/category/clocks?page={page}")
    assert answer.status_code == 200
    assert answer.text.count('class="tile"') == 6


def test_basket_cookie_is_what_the_cart_shows(shop: Client) -> None:
    page = shop.get("/cart", headers={"cookie": "basket=10001*2.20001*1.gone*4.10002*0"}).text
    assert page.count('class="button quiet small remove"') == 2
    assert f"£{2 * 2.51 + 2.51:.2f}" in page
    assert 'data-count="3"' in page


def test_first_view_weighs_less_than_60_kb(shop: Client) -> None:
    page = shop.get("/", headers={"accept-encoding": "gzip"})
    weight = page.num_bytes_downloaded
    parts = re.findall(r'(?:src|href)="(/shop/[^"]+|/pictures/[^"]+)"', page.text)
    assert any("shop.css" in part for part in parts)
    for part in [*dict.fromkeys(parts), "/shop/opportune.js"]:
        asset = shop.get(part, headers={"accept-encoding": "gzip"})
        assert asset.status_code == 200
        weight += asset.num_bytes_downloaded
    assert 10_000 < weight < 60_000


def test_nothing_comes_from_elsewhere_and_no_script_is_inline(shop: Client) -> None:
    for path in ("/", "/product/10001", "/cart"):
        page = shop.get(path)
        policy = page.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self';")
        assert "unsafe" not in policy
        assert not re.findall(r'(?:src|rel="stylesheet" href)="(?:https?:)?//', page.text)
        assert not re.findall(r"<script(?![^>]*\bsrc=)", page.text)
        assert not re.findall(r"\son\w+=|\sstyle=", page.text)


def test_static_files_are_kept_for_ever_under_their_version(shop: Client) -> None:
    address = re.search(r'href="(/shop/shop\.css\?v=\w+)"', shop.get("/").text)
    assert address is not None
    fresh = shop.get(address[1])
    assert fresh.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert shop.get("/shop/shop.css").headers["cache-control"] == "no-cache"
    again = shop.get("/shop/shop.css", headers={"if-none-match": fresh.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert shop.get("/shop/secrets.txt").status_code == 404


def test_pictures_are_cached(shop: Client) -> None:
    picture = shop.get("/pictures/10001.svg")
    assert picture.headers["content-type"] == "image/svg+xml"
    assert picture.headers["cache-control"] == "public, max-age=604800"
    assert picture.text.startswith("<svg ")
    assert shop.get("/pictures/none.svg").status_code == 404


def test_personas_can_be_chosen(shop: Client) -> None:
    page = shop.get("/").text
    assert 'name="customer" value="501"' in page
    assert "EIRE, 12 orders" in page
    assert "Clocks 50%" in page
