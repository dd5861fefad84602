"""Placements: the spots on a page, in a mail or in an app that a decision fills, as definitions."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from opportune.clock import DAY, HOUR, MINUTE, SECOND, Millis
from opportune.config import definitions
from opportune.errors import InvalidDefinition, NotFound
from opportune.profiles.likely import CERTAIN

SOURCES = frozenset(
    (
        "session_knn",
        "covisitation",
        "content",
        "trending",
        "popular",
        "most_bought",
        "popular_in_category",
        "attributes",
        "content_meaning",
        "factors",
        "microsegments",
        "sequence",
    )
)
"""The candidate sources that come with the package. The last five are made only where a placement names them:
``content_meaning`` compares what descriptions mean and needs the extra ``text``; ``factors``,
``microsegments`` and ``sequence`` propose nothing until a model was trained and made live (``opportune train
--model``)."""
GIVEN = "given"
"""The pseudo source that keeps the order of the candidates in the request."""
DEFAULT = "default"
"""The last step of every fallback ladder: the placement's own items."""
NEWEST = "newest"
"""A step of fallback ladders: what the catalogue listed last."""
RECOMMENDATIONS = "recommendations"
"""The placement behind ``/api/recommendations``."""
STEPS = frozenset((DEFAULT, NEWEST))
"""What a fallback ladder may name besides sources."""
MAX_COUNT = 200

Name = Annotated[str, msgspec.Meta(pattern=r"^[a-z][a-z0-9_]{0,63}$")]
Positive = Annotated[float, msgspec.Meta(gt=0, le=1e6)]
Touched = Literal["view", "cart", "buy"]
Outcome = Literal["click", "cart", "buy", "revenue", "margin"]
Scalar = str | int | float | bool

STAGES = (
    "resolve", "profile", "eligibility", "assignment", "candidates", "rank", "policy", "content", "record",
)  # fmt: skip


class Source(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One candidate source with its weight in the blend."""

    source: Name
    weight: Positive = 1.0


class ExcludeBought(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Do not show what the person bought within ``window`` (``30d``, ``12h``, ``all``)."""

    window: str = "all"

    def __post_init__(self) -> None:
        window_ms(self.window)


class Names(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Items by id, categories and brands by name."""

    items: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    brands: tuple[str, ...] = ()


class PriceRange(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Prices from ``min`` to ``max``, both included. Items without a price do not pass."""

    min: float = 0.0
    max: float = math.inf

    def __post_init__(self) -> None:
        if not 0 <= self.min <= self.max:
            raise ValueError("price needs 0 <= min <= max")


class Filters(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What may not be shown. ``allow`` lists narrow (all that are given must hold), ``deny`` lists remove.

    ``listed`` keeps out items that only shoppers' events have mentioned. ``repeat``: ``allow`` lets anything
    come back, ``never_current`` all but the item of the page, ``once`` nothing the session has touched.
    ``exclude_in_session`` removes what the session touched in these ways, whatever ``repeat`` says.
    ``same_category`` keeps to the category of the page.
    """

    in_stock: bool = True
    listed: bool = False
    exclude_bought: ExcludeBought | None = None
    exclude_dismissed: bool = True
    repeat: Literal["allow", "never_current", "once"] = "never_current"
    exclude_in_session: tuple[Touched, ...] = ()
    same_category: bool = False
    allow: Names = Names()
    deny: Names = Names()
    price: PriceRange | None = None


class Rule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``boost`` multiplies scores and ``bury`` puts last, ``where`` all attributes equal (one of) the values;
    ``pin`` puts an item at ``rank`` if it passes the filters. Exactly one of the three.
    ``segment`` holds the rule back from everybody who is not in that segment; ``reason`` is what the items
    that it lifts say for themselves, before what their sources say."""

    boost: Positive | None = None
    bury: bool = False
    pin: str = ""
    rank: Annotated[int, msgspec.Meta(ge=1, le=MAX_COUNT)] = 1
    where: dict[str, Scalar | tuple[Scalar, ...]] = {}
    name: str = ""
    segment: str = ""
    reason: Annotated[str, msgspec.Meta(max_length=120)] = ""

    def __post_init__(self) -> None:
        if (self.boost is not None) + self.bury + bool(self.pin) != 1:
            raise ValueError("a rule needs exactly one of boost, bury, pin")
        if not self.pin and not self.where:
            raise ValueError("boost and bury need `where`, for example {brand: Acme}")
        if self.pin and self.where:
            raise ValueError("pin takes an item id and a rank, not `where`")

    @property
    def label(self) -> str:
        """What explanations call the rule."""
        if self.name:
            return self.name
        if self.pin:
            return f"pin {self.pin} at {self.rank}"
        verb = "bury" if self.bury else f"boost x{self.boost:g}"
        return f"{verb} where " + ", ".join(f"{name}={value}" for name, value in self.where.items())


class Diversity(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Either at most ``max_per`` items of one value of ``by``, or maximal marginal relevance with weight
    ``mmr`` on the score and 1 - ``mmr`` on being unlike what is shown above (Carbonell & Goldstein, 1998)."""

    by: Literal["category", "brand"] = "category"
    max_per: Annotated[int, msgspec.Meta(ge=1, le=MAX_COUNT)] | None = None
    mmr: Annotated[float, msgspec.Meta(ge=0, le=1)] | None = None

    def __post_init__(self) -> None:
        if (self.max_per is None) == (self.mmr is None):
            raise ValueError("diversity needs either max_per or mmr")


class Explore(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``share`` of the decisions show their places in random order, filled from the ``pool`` best candidates.
    Filters hold for them, a diversity cap does not. What every item was shown by is in the record: this is
    what lets ``opportune replay`` judge other placements."""

    share: Annotated[float, msgspec.Meta(gt=0, le=0.5)] = 0.05
    pool: Annotated[int, msgspec.Meta(ge=2, le=24)] = 12


class Placement(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One placement.

    ``context`` says which parts of the page the sources are told of. ``pool`` is how many candidates are
    considered. ``fallbacks`` are the sources asked, in order, while there is too little to show; ``default``
    stands for ``default_items``. ``budget_ms`` has ``total`` and any stage. ``keep_all`` shows every
    candidate that the request gave (search re-ranking) unless it asks for a count. ``features`` are the
    person's features that the record keeps and a ranker sees. ``reasons`` are texts by
    reason code; ``{item}`` is the name of the item that spoke for the candidate, ``{category}`` the page's.
    ``objective`` weighs what a candidate is likely to lead to: the chance of a click, a cart addition, a
    purchase, and the expected revenue and margin (price less the attribute ``_cost``) in money. It needs a
    ranker that was trained for such a placement; without an objective the ranker's own order stands.
    ``likely`` is the least probability at which what is known of somebody who is probably the same person
    counts for the ranking too; 1 for certain links only.
    """

    name: Name
    title: str = ""
    count: Annotated[int, msgspec.Meta(ge=1, le=MAX_COUNT)] = 8
    enabled: bool = True
    sources: tuple[Source, ...] = ()
    context: tuple[Literal["item", "category"], ...] = ("item", "category")
    pool: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 100
    filters: Filters = Filters()
    rules: tuple[Rule, ...] = ()
    diversity: Diversity | None = None
    fallbacks: tuple[Name, ...] = ("popular_in_category", "popular", "default")
    budget_ms: dict[Literal["total", "candidates", "rank", "policy", "content"], Positive] = {}
    default_items: tuple[str, ...] = ()
    keep_all: bool = False
    features: tuple[str, ...] = ()
    content: dict[str, Any] = {}
    reasons: dict[str, str] = {}
    objective: dict[Outcome, Positive] = {}
    explore: Explore | None = None
    likely: Annotated[float, msgspec.Meta(gt=0.5, le=1)] = CERTAIN

    def __post_init__(self) -> None:
        named = [source.source for source in self.sources]
        if len(set(named)) != len(named):
            raise ValueError(f"placement {self.name} names a source twice")
        if len(named) > 30:
            raise ValueError(f"placement {self.name} has more than 30 sources")
        ranks = [rule.rank for rule in self.rules if rule.pin]
        if len(set(ranks)) != len(ranks):
            raise ValueError(f"placement {self.name} pins two items at one rank")
        for code, text in self.reasons.items():
            if len(text) > 120:
                raise ValueError(f"the reason text {code} of {self.name} is longer than 120 characters")
            if "{" in text.replace("{item}", "").replace("{category}", ""):
                raise ValueError(
                    f"the reason text {code} of {self.name} may use {{item}} and {{category}} only"
                )


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    placements: tuple[Placement, ...] = ()


class Placements:
    """The placements of a workspace by name. ``version`` is theirs in decision records."""

    def __init__(self, placements: Collection[Placement], *, version: str = "defaults") -> None:
        self.by_name = {placement.name: placement for placement in placements}
        self.version = version

    def __iter__(self) -> Iterator[Placement]:
        return iter(self.by_name.values())

    def __len__(self) -> int:
        return len(self.by_name)

    def get(self, name: str) -> Placement:
        """Raises :class:`NotFound` listing the known names."""
        placement = self.by_name.get(name)
        if placement is None:
            known = ", ".join(sorted(self.by_name)) or "none"
            raise NotFound("no such placement", seen=name, where="$.placement", remedy=f"known are: {known}")
        return placement


def read_placements(
    text: str,
    sources: Collection[str] = SOURCES,
    *,
    name: str = "placements.yaml",
    version: str = "workspace",
) -> Placements:
    """Read a ``placements.yaml``. ``sources`` are the names of the candidate sources that exist.

    Raises :class:`InvalidDefinition` with the path of what is wrong and what to do.
    """
    found = definitions.parse(text, _File, name=name).placements
    seen: dict[str, int] = {}
    for i, placement in enumerate(found):
        where = f"{name} $.placements[{i}]"
        if placement.name in seen:
            raise InvalidDefinition(
                "two placements have one name",
                seen=placement.name,
                where=f"{where}.name",
                remedy=f"rename this one or $.placements[{seen[placement.name]}]",
            )
        seen[placement.name] = i
        check_sources(placement, frozenset(sources), where)
    return Placements(found, version=version)


def load_placements(path: Path, sources: Collection[str] = SOURCES) -> Placements:
    """Read the file at ``path``; see :func:`read_placements`.

    ``recommendations`` is added from the defaults when the file has none, so that ``/api/recommendations``
    works in every workspace.
    """
    found = read_placements(definitions.read(path), sources, name=path.name)
    if RECOMMENDATIONS not in found.by_name:
        found.by_name[RECOMMENDATIONS] = default_placements(sources).get(RECOMMENDATIONS)
    return found


def default_placements(sources: Collection[str] = SOURCES) -> Placements:
    """The placements that ship with the package; sources that do not exist are left out of them."""
    text = resources.files("opportune.decide").joinpath("defaults.yaml").read_text(encoding="utf-8")
    known = frozenset(sources)
    raw = definitions.parse_plain(text)
    for placement in raw["placements"]:
        placement["sources"] = [
            s for s in placement["sources"] if s["source"] in known or s["source"] == GIVEN
        ]
        placement["fallbacks"] = [s for s in placement["fallbacks"] if s in known or s in STEPS]
    return Placements(msgspec.convert(raw, _File).placements, version="defaults")


def placements_schema() -> dict[str, Any]:
    """The JSON Schema of ``placements.yaml``."""
    return definitions.json_schema(_File)


def check_sources(placement: Placement, known: frozenset[str], where: str) -> None:
    """Raises :class:`InvalidDefinition` for a source or fallback that does not exist."""
    for k, source in enumerate(placement.sources):
        if source.source not in known and source.source != GIVEN:
            raise InvalidDefinition(
                "unknown candidate source",
                seen=source.source,
                where=f"{where}.sources[{k}].source",
                remedy=f"use one of {', '.join(sorted(known | {GIVEN}))}",
            )
    for k, name in enumerate(placement.fallbacks):
        if name not in known and name not in STEPS:
            raise InvalidDefinition(
                "unknown fallback",
                seen=name,
                where=f"{where}.fallbacks[{k}]",
                remedy=f"use one of {', '.join(sorted(known | STEPS))}",
            )


_UNITS = {"s": SECOND, "m": MINUTE, "h": HOUR, "d": DAY}


@cache
def window_ms(window: str) -> Millis | None:
    """A window in milliseconds; None for ``all``.

    >>> window_ms("30d") == 30 * 86_400_000, window_ms("all")
    (True, None)
    """
    if window == "all":
        return None
    number, unit = window[:-1], window[-1:]
    if unit not in _UNITS or not number.isascii() or not number.isdigit() or int(number) < 1:
        raise ValueError(f"window must be like 30d, 12h, 5m, 10s or all, saw {window[:40]!r}")
    return int(number) * _UNITS[unit]
