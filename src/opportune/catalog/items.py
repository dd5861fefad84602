"""The catalogue: item ids as dense numbers, attributes as columns, items as people see them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec
import numpy as np
import numpy.typing as npt

from opportune.catalog.columns import UNKNOWN, Coded, label
from opportune.catalog.facts import can_be_shown, columns_of, price_of, since
from opportune.catalog.learn import (
    LEARNT,
    Products,
    catalogue_attributes,
    line_attributes,
    products_of,
    teaches,
)
from opportune.catalog.numbering import Numbering, names_of, pieces_of
from opportune.catalog.record import (
    FROM_CATALOGUE,
    FROM_EVENTS,
    Change,
    ItemRecord,
    decode_columns,
    decode_item,
    decode_names,
    encode_item,
)
from opportune.clock import Millis
from opportune.errors import Corrupt
from opportune.events.event import Event, Line

RECORD_PREFIX: Final = "item:"
MAX_ID_CHARS: Final = 256
_PUBLIC_VALUE_BYTES = 512
_TEXT_CHARS = 500
_TEXT_ATTRIBUTES = ("name", "title", "category", "brand", "description")

SAME_AS = {"title": "name", "link": "url", "image_link": "image_url", "image": "image_url"}
"""What product feeds call an attribute, and what events call it: who says one need not learn the other."""

_json = msgspec.json.Encoder()
_NAMES_REMEMBERED = 100_000
_PREPARED = 50_000


class Catalog:
    """Every item ever mentioned. Numbers are int32, given in order of first mention, never taken back.

    ``available`` (bool), ``listed`` (bool: the catalogue itself has spoken of it), ``price`` (float32, NaN
    where unknown), ``category`` and ``brand`` (int32 codes, -1 where unknown) and ``created`` (int64 ms, 0
    where unknown) are columns over item numbers; treat them as read-only. An item is available unless the
    catalogue says otherwise (``available``, ``in_stock``, ``availability``, ``stock`` or ``deleted``).

    ``revision`` counts changes. ``limit`` bounds how many items are numbered: later unknown ids are ignored,
    because a public write key must not be able to fill the memory.
    """

    def __init__(self, *, limit: int = 5_000_000) -> None:
        self.ids: list[str] = []
        self.limit = limit
        self.revision = 0
        self.categories = Coded()
        self.brands = Coded()
        self._index: dict[str, int] = {}
        self._records: list[ItemRecord | bytes] = []
        self._public: list[msgspec.Raw | None] = []
        self._unsettled: list[frozenset[str] | None] = []
        self._shared_unsettled: dict[frozenset[str], frozenset[str]] = {}
        self._watched: dict[str, Coded] = {"category": self.categories, "brand": self.brands}
        self._dirty: set[int] = set()
        self._followers: list[set[int]] = []
        self._labels: dict[str, tuple[str, str]] = {}
        self._names: dict[int, str] = {}
        self.hidden: frozenset[str] = frozenset()
        """Attributes that :meth:`public` leaves out, besides private ones."""
        self._prepared = 0
        self._available = np.ones(64, dtype=np.bool_)
        self._listed = np.zeros(64, dtype=np.bool_)
        self._price = np.full(64, np.nan, dtype=np.float32)
        self._created = np.zeros(64, dtype=np.int64)

    def __len__(self) -> int:
        return len(self.ids)

    # -- numbers

    def number(self, item_id: str) -> int:
        """The number of an item, -1 when it is unknown. O(1)."""
        return self._index.get(item_id, -1)

    def numbers(self, item_ids: Iterable[str]) -> npt.NDArray[np.int32]:
        """The numbers of the known ones among ``item_ids``, in order."""
        known = map(self._index.get, item_ids)
        return np.array([number for number in known if number is not None], dtype=np.int32)

    def intern(self, item_id: str) -> int:
        """The number of an item, given now if it has none; -1 for an unusable id or a full catalogue."""
        number = self._index.get(item_id)
        if number is None:
            if not item_id or len(item_id) > MAX_ID_CHARS or len(self.ids) >= self.limit:
                return -1
            number = len(self.ids)
            self._reserve(number + 1)
            self._index[item_id] = number
            self.ids.append(item_id)
            self._records.append(b"")
            self._public.append(None)
            self._unsettled.append(None)
            self.revision += 1
        return number

    @property
    def numbering_size(self) -> int:
        """How many names :meth:`export_numbering` holds; it changes exactly when the export does."""
        return len(self.ids) + len(self.categories.names) + len(self.brands.names)

    def export_numbering(self) -> bytes:
        """Every name by number. May run in another thread: names are only ever added."""
        columns = (self.ids, self.categories.names, self.brands.names)
        return msgspec.msgpack.encode(Numbering(*[pieces_of(names) for names in columns]))

    def import_numbering(self, data: bytes) -> None:
        """Give the numbers of :meth:`export_numbering` again; the catalogue must still be empty."""
        if self.ids:
            raise ValueError("numbers can only be imported into an empty catalogue")
        try:
            saved = msgspec.msgpack.decode(data, type=Numbering)
            items, categories, brands = (
                names_of(pieces) for pieces in (saved.items, saved.categories, saved.brands)
            )
        except msgspec.DecodeError as error:
            raise Corrupt(
                f"the item numbering cannot be read ({error})", remedy="rebuild from the journal"
            ) from error
        n = len(items)
        self._reserve(n)
        self.ids = items
        self._index = dict(zip(items, range(n), strict=True))
        self._records = [b""] * n
        self._public = [None] * n
        self._unsettled = [None] * n
        for column, names in ((self.categories, categories), (self.brands, brands)):
            for name in names:
                column.intern(name)
        self.revision += 1

    # -- columns

    @property
    def available(self) -> npt.NDArray[np.bool_]:
        return self._available[: len(self.ids)]

    @property
    def listed(self) -> npt.NDArray[np.bool_]:
        return self._listed[: len(self.ids)]

    @property
    def price(self) -> npt.NDArray[np.float32]:
        return self._price[: len(self.ids)]

    @property
    def created(self) -> npt.NDArray[np.int64]:
        return self._created[: len(self.ids)]

    @property
    def category(self) -> npt.NDArray[np.int32]:
        return self.categories.codes[: len(self.ids)]

    @property
    def brand(self) -> npt.NDArray[np.int32]:
        return self.brands.codes[: len(self.ids)]

    @property
    def category_names(self) -> list[str]:
        return self.categories.names

    @property
    def brand_names(self) -> list[str]:
        return self.brands.names

    def category_number(self, name: str) -> int:
        """The number of a category by its name or its URL form; -1 when no item has had it."""
        return self.categories.find(name)

    def labels(self, item_id: str) -> tuple[str, str]:
        """The category and the brand of an item, empty where unknown. O(1), 0.1 us when asked before."""
        known = self._labels.get(item_id)
        if known is None:
            number = self._index.get(item_id, -1)
            if number < 0:
                return ("", "")
            category, brand = int(self.category[number]), int(self.brand[number])
            known = self._labels[item_id] = (
                self.categories.names[category] if category >= 0 else "",
                self.brands.names[brand] if brand >= 0 else "",
            )
        return known

    def column(self, attribute: str) -> Coded:
        """Any attribute as codes. The first call for one reads every record, O(n); later calls are O(1)."""
        coded = self._watched.get(attribute)
        if coded is None:
            coded = Coded(len(self._available))
            for number in range(len(self.ids)):
                coded.put(number, label(self.record(number).value(attribute)))
            self._watched[attribute] = coded
        return coded

    # -- items

    def record(self, number: int) -> ItemRecord:
        """What is kept of an item; do not change it."""
        kept = self._records[number]
        if isinstance(kept, bytes):
            return decode_item(kept) if kept else ItemRecord(attributes={})
        return kept

    def item(self, number: int) -> dict[str, Any]:
        """The item with every attribute that stands, private ones (``_cost``) included."""
        record = self.record(number)
        found: dict[str, Any] = {"item_id": self.ids[number]}
        for name in sorted(record.attributes):
            value = record.attributes[name][0]
            if value is not None:
                found[name] = value
        return found

    def public(self, number: int) -> msgspec.Raw:
        """The item as JSON for people's browsers: no private attributes, no long texts. Cached; O(1)."""
        cached = self._public[number]
        if cached is None:
            cached = self._public[number] = msgspec.Raw(_json.encode(self._shown(number)))
        return cached

    def prepare(self, count: int) -> bool:
        """Make ready what is told of the next ``count`` items, so that who is shown one first need not wait
        for it; true while there are more. Of the first 50,000 only, 0.4 KB each. 12 us an item."""
        end = min(self._prepared + count, len(self.ids), _PREPARED)
        for number in range(self._prepared, end):
            self.public(number)
            self.name(number)
        self._prepared = end
        return end < min(len(self.ids), _PREPARED)

    def _shown(self, number: int) -> dict[str, Any]:
        """What of :meth:`item` people may see. 6 us."""
        attributes = self.record(number).attributes
        item_id = self.ids[number]
        shown: dict[str, Any] = {"item_id": item_id} if _is_short(item_id) else {}
        for name in sorted(attributes):
            value = attributes[name][0]
            if value is not None and name[:1] != "_" and _is_short(value) and name not in self.hidden:
                shown[name] = value
        return shown

    def name(self, number: int) -> str:
        """What to call the item in a sentence: its name, or its id. 0.1 us when asked before."""
        known = self._names.get(number)
        if known is None:
            if len(self._names) >= _NAMES_REMEMBERED:
                self._names.clear()
            known = self._names[number] = self._name(number)
        return known

    def _name(self, number: int) -> str:
        kept = self._records[number]
        if isinstance(kept, bytes):
            values = decode_names(kept) if kept else ()
        else:
            values = (kept.value("name"), kept.value("title"))
        for value in values:
            if isinstance(value, str) and (name := value.strip()):
                return name
        return self.ids[number]

    def described(self, line: Line) -> Line:
        """The line with the category and brand that the catalogue knows, where it says none itself."""
        if line.category and line.brand:
            return line
        category, brand = self.labels(line.item_id)
        if (line.category or not category) and (line.brand or not brand):
            return line
        return Line(
            line.item_id,
            line.quantity,
            line.price,
            line.category or category,
            line.brand or brand,
            line.position,
        )

    def text_of(self, number: int) -> str:
        """The words an item is described with, for search and content similarity; 500 characters of each
        attribute at most."""
        record = self.record(number)
        values = (record.value(attribute) for attribute in _TEXT_ATTRIBUTES)
        texts = (value[:_TEXT_CHARS] if isinstance(value, str) else label(value) for value in values)
        return " ".join(filter(None, texts))

    # -- change

    def apply(self, event: Event, offset: int) -> list[int]:
        """Fold an event: number its items, learn what it says of them. Returns the numbers of which something
        new was said.

        Costs under a microsecond for a shopper's event about an item that the catalogue describes.
        """
        if not event.lines:
            return []
        if event.kind == "item":
            number = self.intern(event.lines[0].item_id)
            stated = catalogue_attributes(event)
            if number >= 0 and self._fold(number, stated, event.time, FROM_CATALOGUE, offset):
                return [number]
            return []
        changed: list[int] = []
        products: Products | None = None
        for line in event.lines:
            number = self._index.get(line.item_id, -1)
            if number < 0 and (number := self.intern(line.item_id)) < 0:
                continue
            unsettled = self._unsettled[number]
            if unsettled is None:
                unsettled = self._names_unsettled(number)
            if not unsettled or not teaches(event, line, unsettled):
                continue
            if products is None:
                products = products_of(event)
            stated = line_attributes(event, line, products)
            if self._fold(number, stated, event.time, FROM_EVENTS, offset):
                changed.append(number)
        return changed

    def upsert(
        self,
        item_id: str,
        attributes: Mapping[str, Any],
        time: Millis,
        *,
        rank: int = FROM_CATALOGUE,
        offset: int = 0,
    ) -> bool:
        """Last writer by event time wins per attribute; True when anything changed."""
        number = self.intern(item_id)
        return number >= 0 and self._fold(number, attributes, time, rank, offset)

    def follow(self) -> set[int]:
        """A set to which the numbers of changed items are added from now on; the caller empties it."""
        follower: set[int] = set()
        self._followers.append(follower)
        return follower

    def _fold(self, number: int, attributes: Mapping[str, Any], time: Millis, rank: int, offset: int) -> bool:
        record = self.record(number)
        change = record.fold(attributes, time, rank, offset)
        if change is Change.NOTHING:
            return False
        self._records[number] = record
        self._dirty.add(number)
        if change is Change.TIMES:
            return False
        self._public[number] = None
        self._names.pop(number, None)
        for follower in self._followers:
            follower.add(number)
        self.revision += 1
        self._derive(number, record)
        for name, coded in self._watched.items():
            if name not in ("category", "brand"):
                coded.put(number, label(record.value(name)))
        return True

    def _derive(self, number: int, record: ItemRecord) -> None:
        """Set the columns of one item from its record."""
        self._labels.pop(self.ids[number], None)
        price, category, brand, available = columns_of(record)
        self._price[number] = price
        self.categories.put(number, category)
        self.brands.put(number, brand)
        self._available[number] = available
        self._listed[number] = record.first > 0
        self._created[number] = since(record.value("created_at"), record.first)
        self._unsettled[number] = None

    def _names_unsettled(self, number: int) -> frozenset[str]:
        """What events may teach of an item: all but what the catalogue itself has stated."""
        attributes = self.record(number).attributes
        names = LEARNT.difference(
            [SAME_AS.get(name, name) for name, stated in attributes.items() if stated[2] >= FROM_CATALOGUE]
        )
        known = self._unsettled[number] = self._shared_unsettled.setdefault(names, names)
        return known

    # -- keep and load

    def take_dirty(self) -> list[int]:
        """The numbers of the records that changed since the last call, for :meth:`pack`."""
        taken = list(self._dirty)
        self._dirty.clear()
        return taken

    def put_back(self, numbers: Iterable[int]) -> None:
        """What was taken could not be kept: these are changed again."""
        self._dirty.update(numbers)

    def pack(self, number: int) -> tuple[str, bytes]:
        """(key, canonical bytes) of a record, as it is now; kept packed from here on. 2 us."""
        kept = self._records[number]
        data = kept if isinstance(kept, bytes) else encode_item(kept)
        self._records[number] = data
        return RECORD_PREFIX + self.ids[number], data

    def load(self, records: Iterable[tuple[str, bytes]]) -> None:
        """Take records back from a checkpoint, after :meth:`import_numbering`. About 3 us each."""
        skip = len(RECORD_PREFIX)
        index, kept = self._index, self._records
        numbers: list[int] = []
        price: list[float] = []
        category: list[int] = []
        brand: list[int] = []
        available: list[bool] = []
        listed: list[bool] = []
        created: list[int] = []
        for key, data in records:
            item_id = key[skip:]
            number = index.get(item_id, -1)
            if number < 0 and (number := self.intern(item_id)) < 0:
                continue
            kept[number] = data
            record = decode_columns(data)
            facts = record.attributes
            numbers.append(number)
            price.append(math.nan if facts.price is None else price_of(facts.price[0]))
            category.append(UNKNOWN if facts.category is None else self.categories.code(facts.category[0]))
            brand.append(UNKNOWN if facts.brand is None else self.brands.code(facts.brand[0]))
            said = facts.in_stock if facts.available is None else facts.available
            plain = said is not None and type(said[0]) is bool and facts.deleted is None
            available.append(said[0] if said is not None and plain else can_be_shown(facts))
            listed.append(record.first > 0)
            stated = facts.created_at
            created.append(record.first if stated is None else since(stated[0], record.first))
        for number in numbers:
            self._public[number] = self._unsettled[number] = None
        if numbers:
            at = np.array(numbers, dtype=np.int32)
            self._price[at] = price
            self.categories.codes[at] = category
            self.brands.codes[at] = brand
            self._available[at] = available
            self._listed[at] = listed
            self._created[at] = created
        for follower in self._followers:
            follower.update(numbers)
        self._labels.clear()
        self._names.clear()
        for name in self._watched.keys() - {"category", "brand"}:
            del self._watched[name]
        self.revision += 1

    def offset_of(self, item_id: str) -> int:
        """The last journal sequence that changed the item's record; 0 when there is none."""
        number = self.number(item_id)
        return self.record(number).offset if number >= 0 else 0

    def _reserve(self, n: int) -> None:
        if n > len(self._available):
            size = max(n, 2 * len(self._available))
            self._available = _grown(self._available, size, True)
            self._listed = _grown(self._listed, size, False)
            self._price = _grown(self._price, size, np.nan)
            self._created = _grown(self._created, size, 0)
        for coded in self._watched.values():
            coded.reserve(n)


def _is_short(value: Any) -> bool:
    """Whether a value takes at most 512 bytes of JSON, where a character takes at most 6."""
    if type(value) is str and len(value) < _PUBLIC_VALUE_BYTES // 6:
        return True
    if type(value) is bool or type(value) is float:
        return True
    return len(_json.encode(value)) <= _PUBLIC_VALUE_BYTES


def _grown(column: npt.NDArray[Any], size: int, fill: Any) -> npt.NDArray[Any]:
    grown = np.full(size, fill, dtype=column.dtype)
    grown[: len(column)] = column
    return grown
