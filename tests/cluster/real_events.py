"""Real clicks, carts and orders of four public logs as one stream of tracking calls, with what a shop adds:
logins, shared browsers, corrections by hand, late, doubled and disordered calls, words on consent.

The folder holds ``retailrocket``, ``rees46``, ``bol_clicks`` and ``diginetica_views`` as parquet files. Each
log is moved in time so that all begin on the same day; what happened within it stays. Everything that is
added is drawn from a hash, so the stream is the same every time.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd

from opportune.clock import DAY, SECOND

START_MS = 1_772_000_000_000
NAMES = {
    "view": "Product Viewed",
    "addtocart": "Product Added",
    "cart": "Product Added",
    "transaction": "Order Completed",
    "purchase": "Order Completed",
    "remove_from_cart": "Product Removed",
}
LOGS = ("retailrocket", "rees46", "bol_clicks", "diginetica_views")

Call = dict[str, Any]


def real(folder: Path, most: int | None = None) -> tuple[int, list[Call]]:
    """How many calls are real, and all of them in the order in which they arrive; ``most`` cuts the real ones
    off."""
    rows = [row for log in LOGS for row in _log(folder, log)]
    rows.sort(key=lambda row: (row[0], row[1], row[2]))
    rows = rows[:most]
    arriving: list[tuple[float, int, Call]] = []
    seen: dict[str, int] = {}
    for place, (time, browser, _, deed) in enumerate(rows):
        number = seen[browser] = seen.get(browser, 0) + 1
        for extra, call in enumerate(_calls(browser, number, time, deed)):
            key = str(call["messageId"])
            late = _draw(key, "late", 3_000) if _one_in(key, "is late", 25) else 0.0
            swapped = _draw(key, "swap", 20) if _one_in(key, "is swapped", 10) else 0.0
            arriving.append((place + late + swapped, extra, call))
            if _one_in(key, "again", 30):
                arriving.append((place + late + swapped + _draw(key, "when", 200), extra, call))
    arriving.sort(key=lambda one: one[:2])
    return len(rows), [call for _, _, call in arriving]


def _calls(browser: str, number: int, time: int, deed: Call) -> Iterator[Call]:
    """One real deed as a call, and before or after it what this person's life adds. A quarter of the browsers
    log in at their second deed, two to three browsers to a user; one login in thirty is somebody else's."""
    who: Call = {"anonymousId": browser}
    user = f"u{_hash(browser, 'user') % 12_000}"
    has_login = _one_in(browser, "logs in", 4)
    key = f"{browser}-{number}"
    if has_login and number == 2:
        if _one_in(browser, "is borrowed", 30):
            user = f"u{_hash(browser, 'owner') % 12_000}"
        traits = {"email": f"{user}@shop.example", "visits": number}
        yield _call("identify", {**who, "userId": user}, time - SECOND, f"{key}-login", traits=traits)
    if has_login and number >= 2:
        who["userId"] = user
    yield _call("track", who, time, key, **deed)
    if has_login and number == 4 and _one_in(browser, "is taken apart", 8):
        taken = _call("track", who, time + SECOND, f"{key}-apart", event="identity_unlinked")
        yield taken
        if _one_in(browser, "is joined again", 3):
            yield _call("track", who, time + 2 * SECOND, f"{key}-joined", event="identity_linked")


def _log(folder: Path, log: str) -> Iterator[tuple[int, str, int, Call]]:
    """(time, browser, place in the log, deed) of every row."""
    frame = pd.concat([pd.read_parquet(path) for path in sorted((folder / log).glob("*.parquet"))])
    if log == "retailrocket":
        times, browsers, kinds = frame["Time"] * 1_000, frame["UserId"], frame["Type"]
        items, more = frame["ItemId"], {"category": frame["CatId"].astype(str)}
    elif log == "rees46":
        told = pd.to_datetime(frame["event_time"], utc=True)
        times = (told - pd.Timestamp(0, tz="UTC")) // pd.Timedelta(milliseconds=1)
        browsers, kinds, items = frame["user_id"], frame["event_type"], frame["product_id"]
        more = {
            "category": frame["category_code"].fillna("").astype(str),
            "brand": frame["brand"].fillna("").astype(str),
            "price": frame["price"],
        }
    elif log == "bol_clicks":
        times, browsers, items, more = (
            (frame["Time"] * 1_000).astype("int64"),
            frame["SessionId"],
            frame["ItemId"],
            {},
        )
        kinds = pd.Series("view", index=frame.index)
    else:
        # Its times are days: a view every ten seconds within the day.
        place = frame.groupby("SessionId").cumcount()
        days = pd.Series(pd.factorize(frame["Time"], sort=True)[0], index=frame.index)
        times = days * DAY + (frame["SessionId"] * 7_919 % 80_000) * SECOND + place * 10 * SECOND
        browsers, items = frame["SessionId"], frame["ItemId"]
        kinds = pd.Series("view", index=frame.index)
        more = {"category": frame["CatId"].astype(str), "price": frame["Price"]}
    times = times - times.min() + START_MS
    columns = zip(
        times.tolist(), browsers.tolist(), items.tolist(), kinds.tolist(),
        *(column.tolist() for column in more.values()), strict=True,
    )  # fmt: skip
    for number, (time, browser, item, kind, *values) in enumerate(columns):
        line = {"product_id": f"{log[:3]}-{item}", **dict(zip(more, values, strict=True))}
        if kind in ("transaction", "purchase"):
            order = {"order_id": f"{log[:3]}-o{number}", "products": [{**line, "quantity": 1}]}
            yield int(time), f"{log[:3]}-{browser}", number, {"event": NAMES[kind], "properties": order}
        else:
            yield int(time), f"{log[:3]}-{browser}", number, {"event": NAMES[kind], "properties": line}


def _call(kind: str, who: Call, time_ms: int, message_id: str, **more: Any) -> Call:
    told = datetime.fromtimestamp(time_ms / 1_000, UTC).isoformat(timespec="milliseconds")
    return {"type": kind, "messageId": message_id, "timestamp": told.replace("+00:00", "Z"), **who, **more}


def _hash(key: str, what: str) -> int:
    return zlib.crc32(f"{key}|{what}".encode())


def _one_in(key: str, what: str, n: int) -> bool:
    return _hash(key, what) % n == 0


def _draw(key: str, what: str, most: int) -> float:
    """Between nothing and ``most``."""
    return _hash(key, what) / 2**32 * most
