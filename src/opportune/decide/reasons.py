"""Why an item is shown, in words fit for the person it is shown to."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from opportune.catalog.items import Catalog
from opportune.decide.candidates import PINNED, Pool
from opportune.decide.placement import DEFAULT, GIVEN, Placement
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
    "default": "our recommendation",
    "pinned": "featured",
}
"""Text by reason code; a placement's ``reasons`` replace them. ``{item}`` and ``{category}`` get filled in."""

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
_CODE_OF: Mapping[str, str] = {GIVEN: "search", DEFAULT: "default", PINNED: "pinned"}


class Speaker(msgspec.Struct, frozen=True):
    """What the reasons of one decision are told from. Names only items that this session has touched, or the
    item of the page: nothing of what other people did is ever told but that they did."""

    placement: Placement
    codes: tuple[str, ...]
    place: Place
    session: Session
    catalog: Catalog

    def reasons(self, pool: Pool, at: int, *, pinned: bool) -> list[Reason]:
        """The reasons for one shown item, the one that speaks loudest first. At most two."""
        if pinned:
            return [self._say("pinned", -1)]
        because = int(pool.because[at])
        if because != self.place.item and because not in self.session.touched:
            because = -1
        bits = int(pool.sources[at])
        spoken: list[str] = []
        for bit, code in enumerate(self.codes):
            if bits >> bit & 1 and code not in spoken:
                spoken.append(code)
        if len(spoken) > 1 and "search" in spoken:
            spoken.remove("search")
        told = [self._say(code, because) for code in spoken[:2]]
        return told[:1] if len(told) == 2 and told[0].text == told[1].text else told

    def _say(self, code: str, because: int) -> Reason:
        own = self.placement.reasons.get(code)
        text = own or TEXTS.get(code, "")
        names_item = "{item}" in text
        if names_item and because < 0:
            text = _WITHOUT_ITEM.get(code, "")
        elif names_item and own is None and because not in self.session.touched:
            text = _ON_ITS_PAGE.get(code, text)
        if "{category}" in text:
            if self.place.category < 0:
                text = _WITHOUT_ITEM.get(code, "")
            else:
                text = text.replace("{category}", shorten(self.catalog.category_names[self.place.category]))
        if "{item}" in text:
            text = text.replace("{item}", shorten(self.catalog.name(because)))
        item_id = self.catalog.ids[because] if names_item and because >= 0 else ""
        return Reason(code, text[:TEXT_CHARS], item_id)


def reason_codes(names: tuple[str, ...], sources: Mapping[str, CandidateSource]) -> tuple[str, ...]:
    """The reason code behind each bit of the pool's names."""
    return tuple(_CODE_OF.get(n) or (sources[n].reason if n in sources else n) for n in names)


def shorten(name: str, limit: int = NAME_CHARS) -> str:
    """A name of at most ``limit`` characters, on one line.

    >>> shorten("a  very   long name", limit=9)
    'a very l…'
    """
    line = " ".join(name.split())
    return line if len(line) <= limit else line[: limit - 1].rstrip() + "…"
