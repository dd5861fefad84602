"""The identifiers of one person and the links between them, drawn as a small graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

BOX_WIDTH, BOX_HEIGHT, GAP = 250, 44, 22
LEFT, RIGHT = 10, 460
WIDTH = RIGHT + BOX_WIDTH + 10
SHOWN_CHARS = 26
MOST = 24
"""Identifiers drawn; the table lists them all."""


def graph(
    identifiers: Sequence[Mapping[str, Any]],
    links: Sequence[Mapping[str, Any]],
    refused: Sequence[Mapping[str, Any]],
) -> Markup:
    """The strongest identifier on the left, the others (and what was refused) on the right; a line per link.

    A link between two on the right is drawn as an arc beside them; a refused one is dashed.
    """
    if not identifiers:
        return Markup("")
    names = [str(entry["identifier"]) for entry in identifiers]
    outside = [end for link in refused for end in (str(link["a"]), str(link["b"])) if end not in names]
    first, others = names[0], list(dict.fromkeys([*names[1:], *outside]))[:MOST]
    height = max(len(others), 1) * (BOX_HEIGHT + GAP) + GAP
    middle = {first: (LEFT, height / 2)}
    for row, name in enumerate(others):
        middle[name] = (RIGHT, GAP + BOX_HEIGHT / 2 + row * (BOX_HEIGHT + GAP))
    strokes = [_link(link, middle, "link") for link in links] + [
        _link(link, middle, "link refused") for link in refused
    ]
    boxes = [_box(name, *middle[name], name in names) for name in (first, *others)]
    return Markup(
        '<svg class="graph" viewBox="0 0 {} {:.0f}" width="{}" height="{:.0f}" role="img" '
        'aria-label="{} identifiers, {} links, {} refused; the table below lists them">{}{}</svg>'
    ).format(
        WIDTH,
        height,
        WIDTH,
        height,
        len(names),
        len(links),
        len(refused),
        Markup("").join(strokes),
        Markup("").join(boxes),
    )


def shorten(text: str, limit: int = SHOWN_CHARS) -> str:
    """The beginning and the end of a long identifier.

    >>> shorten("0123456789abcdefghijklmnopqrstuvwxyz", 12)
    '0123456…wxyz'
    """
    return text if len(text) <= limit else f"{text[: limit - 5]}…{text[-4:]}"


def _box(name: str, x: float, y: float, known: bool) -> Markup:
    kind, _, value = name.partition(":")
    return Markup(
        '<g class="node{}"><rect x="{}" y="{:.1f}" width="{}" height="{}" rx="9"/>'
        '<text class="kind" x="{}" y="{:.1f}">{}</text><text x="{}" y="{:.1f}">{}</text></g>'
    ).format(
        "" if known else " outside", x, y - BOX_HEIGHT / 2, BOX_WIDTH, BOX_HEIGHT,
        x + 14, y - 5, kind.replace("_", " "), x + 14, y + 13, shorten(value),
    )  # fmt: skip


def _link(link: Mapping[str, Any], middle: Mapping[str, tuple[float, float]], css: str) -> Markup:
    a, b = middle.get(str(link["a"])), middle.get(str(link["b"]))
    if a is None or b is None:
        return Markup("")
    rule = str(link.get("reason") or link.get("rule", ""))
    if a[0] == b[0]:
        x = a[0]
        return Markup('<path class="{}" d="M{} {:.1f}C{} {:.1f} {} {:.1f} {} {:.1f}"/>').format(
            css, x, a[1], x - 60, a[1], x - 60, b[1], x, b[1]
        )
    (left, right) = (a, b) if a[0] < b[0] else (b, a)
    x1, x2 = left[0] + BOX_WIDTH, right[0]
    bend = (x1 + x2) / 2
    return Markup(
        '<path class="{}" d="M{} {:.1f}C{} {:.1f} {} {:.1f} {} {:.1f}"/>'
        '<text class="on-link" x="{}" y="{:.1f}">{}</text>'
    ).format(css, x1, left[1], bend, left[1], bend, right[1], x2, right[1], x2 - 12, right[1] - 6, rule)
