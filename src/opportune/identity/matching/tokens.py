"""What of a record is looked up to find who it might be: pieces of its values, hashed.

A mistyped value still shares pieces with the right one, and a swapped one shares all of them: siblings of one
family use the same pieces.
"""

from __future__ import annotations

from collections.abc import Sequence
from zlib import crc32

from opportune.identity.matching.columns import Column

MIN_WORD = 4


def tokens_of(columns: Sequence[Column], row: Sequence[str]) -> list[int]:
    """Hashes (32 bits; two pieces rarely share one, which costs a comparison and nothing else) of a record's
    pieces, without repetition."""
    found: dict[int, None] = {}
    for c, (column, form) in enumerate(zip(columns, row, strict=True)):
        if form and column.role != "category":
            space = column.family or str(c)
            for piece in _pieces(column.role, form):
                found[crc32(f"{space}|{piece}".encode())] = None
    return [*found]


def _pieces(role: str, form: str) -> list[str]:
    if role == "name":
        return [form, f"^{form[:3]}", f"{form[-3:]}$"]
    if role == "full_name":
        return [form, *[p for w in form.split() for p in (w, f"^{w[:3]}", f"{w[-3:]}$")]]
    if role == "date":
        return [form, f"{form[:6]}..", f"....{form[4:]}", f"{form[:4]}..{form[6:]}"]
    if role == "email":
        local, _, domain = form.partition("@")
        return [form, local, f"@{domain}", f"^{''.join(filter(str.isalpha, local))[:4]}"]
    if role in ("code", "phone"):
        half = len(form) // 2
        return [form, f"^{form[:half]}", f"{form[half:]}$"]
    if role == "number":
        return [form]
    joined = form.replace(" ", "")
    return [joined, f"^{joined[:4]}", f"{joined[-4:]}$", *[w for w in form.split() if len(w) >= MIN_WORD]]
