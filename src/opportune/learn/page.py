"""One HTML file with nothing outside of it: what reports of models are written into."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from typing import Any

_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1b1b1b}
table{border-collapse:collapse;margin:1rem 0}
td,th{padding:.25rem .75rem;text-align:right;border-bottom:1px solid #ddd}
td:first-child,th:first-child{text-align:left}td:first-child,td:nth-child(n+3){white-space:nowrap}h2{margin-top:2rem}svg{max-width:100%}
.scroll{overflow-x:auto}
"""


def page(title: str, *parts: str) -> str:
    """The parts under a heading; they are HTML already, the title is not."""
    return "\n".join(
        (
            "<!doctype html><html lang=en><meta charset=utf-8>",
            "<meta name=viewport content='width=device-width'>",
            f"<title>{escape(title)}</title><style>{_STYLE}</style>",
            f"<h1>{escape(title)}</h1>",
            *parts,
            "</html>",
        )
    )


def table(head: tuple[str, ...], rows: Iterable[Iterable[Any]]) -> str:
    """Cells as text; a wide table scrolls by itself."""
    cells = "".join(
        "<tr>" + "".join(f"<td>{escape(str(cell))}</td>" for cell in row) + "</tr>" for row in rows
    )
    heads = "".join(f"<th>{escape(name)}</th>" for name in head)
    return f"<div class=scroll tabindex=0><table><tr>{heads}</tr>{cells}</table></div>"
