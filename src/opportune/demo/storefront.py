"""The demo shop: pages rendered here, carousels filled by the browser through the public API."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from opportune.catalog.items import Catalog
from opportune.clock import Clock, system_clock
from opportune.console.assets import Assets
from opportune.console.safety import SafetyHeaders
from opportune.demo.basket import COOKIE, read_basket
from opportune.demo.personas import Persona
from opportune.demo.pictures import picture
from opportune.demo.shelf import Item, Shelf

PAGE_SIZE = 24
HERE = Path(__file__).parent


class HasCatalog(Protocol):
    @property
    def catalog(self) -> Catalog: ...


def create_storefront(
    engine: HasCatalog,
    write_key: str,
    *,
    popularity: Mapping[str, int] | None = None,
    personas: Sequence[Persona] = (),
    console_url: str = "/console",
    own_data: bool = False,
    clock: Clock = system_clock,
) -> Starlette:
    """The shop as an application to mount at ``/``.

    ``popularity`` orders lists (item id to orders), ``personas`` fill the *shop as* menu; both come from
    :mod:`opportune.demo.personas`. ``own_data`` leaves out the attribution of the shipped data.
    """
    shop = _Shop(
        Shelf(lambda: engine.catalog, popularity or {}, clock),
        {
            "write_key": write_key,
            "personas": personas,
            "console_url": console_url.rstrip("/"),
            "own_data": own_data,
        },
    )
    return Starlette(
        routes=[
            Route("/", shop.home),
            Route("/category/{slug}", shop.category),
            Route("/product/{item_id:path}", shop.product),
            Route("/search", shop.search),
            Route("/cart", shop.cart),
            Route("/thank-you", shop.thank_you),
            Route("/pictures/{item_id:path}.svg", shop.picture),
            Route("/shop/{name}", shop.assets.respond),
            Route("/favicon.ico", shop.favicon),
        ],
        middleware=[Middleware(SafetyHeaders), Middleware(GZipMiddleware, minimum_size=600)],
        exception_handlers={404: shop.not_found},
    )


class _Shop:
    def __init__(self, shelf: Shelf, settings: dict[str, Any]) -> None:
        self.shelf = shelf
        self.assets = Assets(HERE / "static", "/shop")
        self.pages = Environment(
            loader=PackageLoader("opportune.demo"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self.pages.globals.update(settings, asset=self.assets.url)
        self.pages.filters["money"] = money

    def home(self, request: Request) -> Response:
        return self._page(request, "home.html", page="home", popular=self.shelf.popular(12))

    def category(self, request: Request) -> Response:
        key = request.path_params["slug"]
        items = self.shelf.in_category(key)
        if not items:
            return self.not_found(request)
        number, last, shown = _page_of(request, items)
        return self._page(
            request, "category.html", page="category", here=key, title=items[0].category, items=shown,
            count=len(items), number=number, last=last,
        )  # fmt: skip

    def product(self, request: Request) -> Response:
        item = self.shelf.item(request.path_params["item_id"])
        if item is None:
            return self.not_found(request)
        return self._page(request, "product.html", page="product", here=item.slug, item=item)

    def search(self, request: Request) -> Response:
        query = request.query_params.get("q", "").strip()[:100]
        found = self.shelf.search(query)
        number, last, shown = _page_of(request, found)
        return self._page(
            request, "search.html", page="search", query=query, items=shown, count=len(found), number=number,
            last=last,
        )  # fmt: skip

    def cart(self, request: Request) -> Response:
        lines = self._basket(request)
        total = sum((item.price or 0.0) * quantity for item, quantity in lines)
        return self._page(request, "cart.html", page="cart", lines=lines, total=total)

    def thank_you(self, request: Request) -> Response:
        return self._page(request, "thank_you.html", page="thank-you")

    def picture(self, request: Request) -> Response:
        item = self.shelf.item(request.path_params["item_id"])
        if item is None:
            return Response(status_code=404)
        return Response(
            picture(item.name, item.slug),
            media_type="image/svg+xml",
            headers={"cache-control": "public, max-age=604800"},
        )

    def favicon(self, request: Request) -> Response:
        return RedirectResponse(self.assets.url("icon.svg"))

    def not_found(self, request: Request, error: Exception | None = None) -> Response:
        return self._page(request, "not_found.html", page="none", popular=self.shelf.popular(8), status=404)

    def _basket(self, request: Request) -> list[tuple[Item, int]]:
        wanted = read_basket(request.cookies.get(COOKIE, ""))
        return [(item, n) for item_id, n in wanted.items() if (item := self.shelf.item(item_id)) is not None]

    def _page(self, request: Request, template: str, *, status: int = 200, **values: Any) -> Response:
        basket = self._basket(request)
        context = {
            "categories": self.shelf.categories(),
            "basket_count": sum(quantity for _, quantity in basket),
            "here": "",
            "query": "",
            **values,
        }
        return HTMLResponse(self.pages.get_template(template).render(context), status_code=status)


def money(value: float | None, currency: str = "GBP") -> str:
    """Two decimals with the currency's sign.

    >>> money(1234.5), money(2, "SEK"), money(None)
    ('£1,234.50', '2.00 SEK', '')
    """
    if value is None:
        return ""
    sign = {"GBP": "£", "EUR": "€", "USD": "$"}.get(currency)
    return f"{sign}{value:,.2f}" if sign else f"{value:,.2f} {currency}"


def _page_of(request: Request, items: list[Item]) -> tuple[int, int, list[Item]]:
    """Page number, last page, items of the page; a number that makes no sense is page 1."""
    last = max(1, -(-len(items) // PAGE_SIZE))
    text = request.query_params.get("page", "1")
    number = int(text) if text.isascii() and text.isdigit() and len(text) < 6 else 1
    number = min(max(number, 1), last)
    return number, last, items[(number - 1) * PAGE_SIZE : number * PAGE_SIZE]
