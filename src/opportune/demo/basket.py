"""The basket is a cookie, ``22423*2.85123A*1``, so that the server can show it and scripts can change it."""

from __future__ import annotations

from urllib.parse import unquote

COOKIE = "basket"
MAX_LINES = 50
MAX_QUANTITY = 999


def read_basket(cookie: str) -> dict[str, int]:
    """Item id to quantity; parts that make no sense are left out.

    >>> read_basket("22423*2.85123A*1.x*0.broken")
    {'22423': 2, '85123A': 1}
    """
    basket: dict[str, int] = {}
    for part in cookie.split(".")[:MAX_LINES]:
        item_id, star, quantity = part.rpartition("*")
        if (
            star
            and item_id
            and quantity.isascii()
            and quantity.isdigit()
            and 0 < int(quantity) <= MAX_QUANTITY
        ):
            basket[unquote(item_id)] = int(quantity)
    return basket
