"""Why an item is shown, in words fit for the person it is shown to."""

from __future__ import annotations

from collections.abc import Mapping

from opportune.catalog.items import Catalog
from opportune.decide.placement import DEFAULT, GIVEN, NEWEST, Placement
from opportune.decide.plan import PINNED
from opportune.decide.request import Reason
from opportune.decide.situation import Place, Session
from opportune.recommend.source import CandidateSource

NAME_CHARS = 60
TEXT_CHARS = 200

TEXTS: Mapping[str, str] = {
    "viewed_together": "because you viewed {item}",
    "bought_together": "because you chose {item}",
    "similar": "similar to {item}",
    "trending": "trending now",
    "popular": "popular with other shoppers",
    "popular_in_category": "popular in {category}",
    "search": "matches your search",
    "newest": "new in",
    "default": "our recommendation",
    "pinned": "featured",
}
"""Text by reason code; a placement's ``reasons`` replace them."""

_WITHOUT_ITEM: Mapping[str, str] = {
    "viewed_together": "others viewed it too",
    "bought_together": "others chose it too",
    "similar": "similar to what you viewed",
    "popular_in_category": "popular in this category",
}
_ON_ITS_PAGE: Mapping[str, str] = {
    "viewed_together": "often viewed with {item}",
    "bought_together": "often chosen with {item}",
}
_CODE_OF: Mapping[str, str] = {
    "popular_in_category": "popular_in_category",
    GIVEN: "search",
    NEWEST: "newest",
    DEFAULT: "default",
    PINNED: "pinned",
}
"""Reason code by source name, where it is not the one that the source itself gives."""


class Speaker:
    """Tells the reasons of one decision. Names only items that this session has touched, or the item of the
    page: nothing of what other people did is ever told but that they did."""

    def __init__(
        self,
        placement: Placement,
        names: tuple[str, ...],
        sources: Mapping[str, CandidateSource],
        place: Place,
        session: Session,
        catalog: Catalog,
    ) -> None:
        self._own = placement.reasons
        self._names = names
        self._sources = sources
        self._place = place
        self._touched = session.touched
        self._catalog = catalog
        self._told: dict[tuple[int, int], list[Reason]] = {}
        self._said: dict[tuple[str, int], Reason] = {}

    def reasons(self, sources: int, because: int) -> list[Reason]:
        """The reasons for a candidate of these source bits, loudest first, at most two."""
        told = self._told.get((sources, because))
        if told is None:
            told = self._told[sources, because] = self._tell(sources, because)
        return told

    def pinned(self) -> list[Reason]:
        """The reason for an item that stands where it stands by rule."""
        return [self._say("pinned", -1)]

    def _tell(self, sources: int, because: int) -> list[Reason]:
        if because < 0:
            because = self._place.item  # what no item of the session spoke for, the open page's did
        elif because != self._place.item and because not in self._touched:
            because = -1
        codes: list[str] = []
        names = self._names
        while sources:
            lowest = sources & -sources
            sources ^= lowest
            code = reason_code(names[lowest.bit_length() - 1], self._sources)
            if code not in codes:
                codes.append(code)
        if len(codes) > 1 and "search" in codes:
            codes.remove("search")
        return [self._say(code, because) for code in codes[:2]]

    def _say(self, code: str, because: int) -> Reason:
        said = self._said.get((code, because))
        if said is None:
            said = self._said[code, because] = self._phrase(code, because)
        return said

    def _phrase(self, code: str, because: int) -> Reason:
        own = self._own.get(code)
        text = own or TEXTS.get(code, "")
        names_item = "{item}" in text
        if names_item and because < 0:
            text = _WITHOUT_ITEM.get(code, "")
        elif names_item and own is None and because not in self._touched:
            text = _ON_ITS_PAGE.get(code, text)
        if "{category}" in text:
            if self._place.category < 0:
                text = _WITHOUT_ITEM.get(code, "")
            else:
                text = text.replace("{category}", shorten(self._catalog.category_names[self._place.category]))
        if "{item}" in text:
            text = text.replace("{item}", shorten(self._catalog.name(because)))
        item_id = self._catalog.ids[because] if names_item and because >= 0 else ""
        return Reason(code, text[:TEXT_CHARS], item_id)


def reason_code(name: str, sources: Mapping[str, CandidateSource]) -> str:
    """The reason code behind one of the pool's names."""
    return _CODE_OF.get(name) or (sources[name].reason if name in sources else name)


def shorten(name: str, limit: int = NAME_CHARS) -> str:
    """A name of at most ``limit`` characters, on one line.

    >>> shorten("a  very   long name", limit=9)
    'a very l…'
    """
    line = " ".join(name.split())
    return line if len(line) <= limit else line[: limit - 1].rstrip() + "…"
