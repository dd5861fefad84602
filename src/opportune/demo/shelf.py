"""The catalogue as a shop shows it: items by category in order of popularity, and a plain text search."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import msgspec

from opportune.catalog.items import Catalog
from opportune.catalog.text import slug, words
from opportune.clock import SECOND, Clock, Millis

REBUILD_EVERY: Millis = 15 * SECOND
MAX_RESULTS = 200


class Item(msgspec.Struct, frozen=True):
    """What a card shows. ``price`` is None where the catalogue has none; ``slug`` is the category's."""

    item_id: str
    name: str
    category: str
    slug: str
    price: float | None
    currency: str
    in_stock: bool
    image_url: str


class Category(NamedTuple):
    slug: str
    title: str
    n_items: int


class Shelf:
    """A view over the engine's catalogue, rebuilt at most every fifteen seconds, when it has changed.

    ``popularity`` orders lists: item id to how many orders had it. Rebuilding takes about 10 us an item.
    """

    def __init__(self, catalog: Callable[[], Catalog], popularity: Mapping[str, int], clock: Clock) -> None:
        self._catalog = catalog
        self._popularity = popularity
        self._clock = clock
        self._revision = -1
        self._built: Millis = 0
        self._items: dict[str, Item] = {}
        self._by_category: dict[str, list[Item]] = {}
        self._words: dict[str, list[int]] = {}
        self._shelf_words: dict[str, list[int]] = {}
        self._order: list[Item] = []

    def item(self, item_id: str) -> Item | None:
        self._refresh()
        return self._items.get(item_id)

    def categories(self) -> list[Category]:
        """By title, the catch-all shelf last."""
        self._refresh()
        found = [Category(key, items[0].category, len(items)) for key, items in self._by_category.items()]
        return sorted(found, key=lambda c: (c.slug == "more", c.title))

    def in_category(self, key: str) -> list[Item]:
        """Most popular first, what is sold out at the end."""
        self._refresh()
        return self._by_category.get(key, [])

    def popular(self, count: int) -> list[Item]:
        self._refresh()
        return self._order[:count]

    def search(self, query: str) -> list[Item]:
        """Items whose name has every word of the query, or a word that begins with it; most popular first.
        When no name has them all, names with the most of them; when none has any, categories."""
        self._refresh()
        wanted = words(query)[:8]
        return self._having(wanted, self._words) or self._having(wanted, self._shelf_words)

    def _having(self, wanted: list[str], index: Mapping[str, list[int]]) -> list[Item]:
        hits: dict[int, int] = {}
        for word in dict.fromkeys(wanted):
            stem = word[:-1] if len(word) > 3 and word.endswith("s") else word
            matched: set[int] = set()
            for known, numbers in index.items():
                if known.startswith(stem):
                    matched.update(numbers)
            for number in matched:
                hits[number] = hits.get(number, 0) + 1
        if not hits:
            return []
        most = max(hits.values())
        found = sorted(number for number, n_words in hits.items() if n_words == most)
        return [self._order[number] for number in found[:MAX_RESULTS]]

    def _refresh(self) -> None:
        catalog = self._catalog()
        now = self._clock()
        if catalog.revision == self._revision or (self._order and now - self._built < REBUILD_EVERY):
            return
        self._revision, self._built = catalog.revision, now
        listed = catalog.listed
        items = [
            _item(catalog.item(number), available=bool(catalog.available[number]))
            for number in range(len(catalog))
            if listed[number]
        ]
        popularity = self._popularity
        items.sort(key=lambda i: (not i.in_stock, -popularity.get(i.item_id, 0), i.item_id))
        self._order = items
        self._items = {item.item_id: item for item in items}
        self._by_category = {}
        self._words = {}
        self._shelf_words = {}
        for number, item in enumerate(items):
            self._by_category.setdefault(item.slug, []).append(item)
            for word in set(words(f"{item.name} {item.item_id}")):
                self._words.setdefault(word, []).append(number)
            for word in set(words(item.category)):
                self._shelf_words.setdefault(word, []).append(number)


def _item(known: dict[str, Any], *, available: bool) -> Item:
    price = known.get("price")
    category = str(known.get("category") or "More")
    return Item(
        item_id=known["item_id"],
        name=str(known.get("name") or known["item_id"]),
        category=category,
        slug=slug(category) or "more",
        price=float(price) if isinstance(price, int | float) else None,
        currency=str(known.get("currency") or "GBP"),
        in_stock=available,
        image_url=f"/pictures/{known['item_id']}.svg",
    )
