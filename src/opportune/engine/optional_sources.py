"""Candidate sources that cost something, and so exist only where a placement names them."""

from __future__ import annotations

from collections.abc import Callable

from opportune.catalog.embedding import DIMENSIONS, MiniLM
from opportune.catalog.items import Catalog
from opportune.decide.placement import Placements
from opportune.learn.bundle import FACTORS, MICROSEGMENTS, SEQUENCE
from opportune.recommend.attributes import Attributes, price_band
from opportune.recommend.meaning import ContentMeaning
from opportune.recommend.replaceable import Replaceable
from opportune.recommend.source import CandidateSource


def _attributes(catalog: Catalog) -> CandidateSource:
    return Attributes(
        lambda: (catalog.category, catalog.brands.codes[: len(catalog)], price_band(catalog.price))
    )


OPTIONAL: dict[str, Callable[[Catalog], CandidateSource]] = {
    "attributes": _attributes,
    FACTORS: lambda catalog: Replaceable(FACTORS, "viewed_together"),
    SEQUENCE: lambda catalog: Replaceable(SEQUENCE, "viewed_together"),
    MICROSEGMENTS: lambda catalog: Replaceable(MICROSEGMENTS, "popular"),
    "content_meaning": lambda catalog: ContentMeaning(MiniLM(), DIMENSIONS),
}


def optional_sources(placements: Placements, catalog: Catalog) -> list[CandidateSource]:
    """Those that some placement asks, or falls back on. Raises :class:`InvalidDefinition` where one needs
    packages that are not installed."""
    named = {s.source for p in placements for s in p.sources} | {f for p in placements for f in p.fallbacks}
    return [make(catalog) for name, make in OPTIONAL.items() if name in named]
