"""The shipped form of the shop's year: one file of a few hundred kilobytes per hundred thousand lines.

Layout: the eight bytes ``OPRETAIL``, then LZMA (xz) of one msgpack map ``{version, texts, columns}``.
``texts`` holds the lists of strings. ``columns`` maps a name to ``[count, rising, planes]``: int32 values,
replaced by their differences when ``rising``, zigzag-coded (0, -1, 1, -2 ... become 0, 1, 2, 3 ...),
stored as four byte planes (all lowest bytes first), which is what lets LZMA find the pattern. Prices of
lines are stored as their difference from the item's median price, which is mostly zero; invoice numbers
without their letter, which is the refund flag.
"""

from __future__ import annotations

import lzma
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from opportune.demo.retail import Ints, Retail
from opportune.errors import Corrupt, FolderTooNew

MAGIC = b"OPRETAIL"
VERSION = 1
SHIPPED = Path(__file__).parent / "data" / "online_retail.bin"

_RISING = ("customer", "minute", "number", "first")
_PLAIN = ("category", "pence", "stale", "country", "buyer", "refund", "step", "quantity", "markup")


def pack(retail: Retail) -> bytes:
    """Bytes of the shipped form; the same data always gives the same bytes. Invoice names must be a number,
    with a leading ``C`` for refunds."""
    columns = {
        "customer": retail.customer,
        "minute": retail.minute,
        "number": np.asarray([int(name.lstrip("Cc")) for name in retail.invoice], dtype=np.int32),
        "first": retail.first,
        "category": retail.category,
        "pence": retail.pence,
        "stale": retail.stale,
        "country": retail.country,
        "buyer": retail.buyer,
        "refund": retail.refund,
        "step": _steps(retail.item, retail.first),
        "quantity": retail.quantity,
        "markup": retail.price - retail.pence[retail.item],
    }
    packed: dict[str, Any] = {
        name: [len(columns[name]), name in _RISING, _encode(columns[name], rising=name in _RISING)]
        for name in (*_RISING, *_PLAIN)
    }
    body = {
        "version": VERSION,
        "texts": {"codes": retail.codes, "names": retail.names, "countries": retail.countries},
        "columns": packed,
    }
    return MAGIC + lzma.compress(msgspec.msgpack.encode(body), preset=9 | lzma.PRESET_EXTREME)


def unpack(data: bytes, *, name: str = "the demo data") -> Retail:
    """The columns back; about 0.1 s for half a million lines. Raises :class:`Corrupt` or
    :class:`FolderTooNew`."""
    if data[: len(MAGIC)] != MAGIC:
        raise Corrupt(
            f"{name} does not begin with {MAGIC.decode()}", seen=data[:8], remedy="reinstall the package"
        )
    try:
        body = msgspec.msgpack.decode(lzma.decompress(data[len(MAGIC) :]))
    except (lzma.LZMAError, msgspec.DecodeError) as error:
        raise Corrupt(f"{name} cannot be read ({error})", remedy="reinstall the package") from error
    if body["version"] != VERSION:
        raise FolderTooNew(
            f"{name} has a newer layout", seen=body["version"], remedy=f"this version reads layout {VERSION}"
        )
    c = {key: _decode(count, rising, planes) for key, (count, rising, planes) in body["columns"].items()}
    item = _from_steps(c["step"], c["first"])
    texts = body["texts"]
    return Retail(
        codes=texts["codes"],
        names=texts["names"],
        category=c["category"],
        pence=c["pence"],
        stale=c["stale"],
        countries=texts["countries"],
        customer=c["customer"],
        country=c["country"],
        invoice=[
            f"C{n}" if back else str(n)
            for n, back in zip(c["number"].tolist(), c["refund"].tolist(), strict=True)
        ],
        minute=c["minute"],
        buyer=c["buyer"],
        refund=c["refund"],
        first=c["first"],
        item=item,
        quantity=c["quantity"],
        price=(c["markup"] + c["pence"][item]).astype(np.int32),
    )


def shipped() -> Retail:
    """UCI Online Retail (Daqing Chen, 2015, doi 10.24432/C5BW33, CC BY 4.0), cleaned; see
    ``data/ATTRIBUTION.md``."""
    return unpack(SHIPPED.read_bytes(), name=SHIPPED.name)


def _steps(item: Ints, first: Ints) -> Ints:
    """Differences within each invoice; the first line of an invoice keeps its value."""
    steps = np.diff(item, prepend=np.int32(0)).astype(np.int32)
    starts = first[:-1]
    steps[starts] = item[starts]
    return steps


def _from_steps(steps: Ints, first: Ints) -> Ints:
    total = np.cumsum(steps, dtype=np.int64)
    starts = first[:-1]
    before = np.where(starts > 0, total[starts - 1], 0)
    items: Ints = (total - np.repeat(before, np.diff(first))).astype(np.int32)
    return items


def _encode(values: Ints, *, rising: bool) -> bytes:
    small = np.diff(values, prepend=np.int32(0)) if rising else values
    wide = small.astype(np.int64)
    zigzag = ((wide << 1) ^ (wide >> 63)).astype("<u4")
    return zigzag.view(np.uint8).reshape(-1, 4).T.tobytes()


def _decode(count: int, rising: bool, planes: bytes) -> Ints:
    zigzag = np.ascontiguousarray(np.frombuffer(planes, dtype=np.uint8).reshape(4, count).T).view("<u4")
    wide = zigzag.reshape(-1).astype(np.int64)
    values = (wide >> 1) ^ -(wide & 1)
    decoded: Ints = (np.cumsum(values) if rising else values).astype(np.int32)
    return decoded
