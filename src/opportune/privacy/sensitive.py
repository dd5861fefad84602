"""Sensitive attributes: declared once in privacy.yaml, fenced from everything that they are not allowed for.

A path names what events, requests or items say: ``traits.religion``, ``properties.diagnosis``,
``context.accessibility``, ``item.condition``. It covers what lies beneath it.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any, Literal, get_args

import msgspec

from opportune.errors import InvalidDefinition
from opportune.identity.groups import ACCOUNT, HOUSEHOLD

Surface = Literal[
    "features",
    "segments",
    "experiments",
    "placements",
    "reasons",
    "matching",
    "profiles",
    "explanations",
    "exports",
]
"""Where something sensitive may be allowed. ``features``: features and the models that learn from them.
``segments``, ``experiments`` (audiences, bandits), ``placements`` (rules, filters, features of rankers),
``reasons`` (texts beside items), ``matching`` (proposals of who is one). ``profiles``: what colleagues read
of a person and of their events. ``explanations`` of decisions. ``exports``: what leaves the engine: derived
tables, items as browsers get them."""
SURFACES: tuple[Surface, ...] = get_args(Surface)

HIDDEN = "sensitive: not shown"
_PATH = re.compile(r"(traits|properties|context|item)\.[^.\s][^\s]*\Z")


class Sensitive(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``path`` and what it may be used for all the same; ``why`` is for people. The person's own export
    always has it."""

    path: str
    allow: tuple[Surface, ...] = ()
    why: str = ""

    def __post_init__(self) -> None:
        if not _PATH.match(self.path):
            raise InvalidDefinition(
                "not a path of something sensitive",
                seen=self.path,
                where="$.sensitive[...].path",
                remedy="write traits.NAME, properties.NAME, context.NAME or item.NAME",
            )


class Fence:
    """Asks of every use whether it is allowed. Without declarations nothing is fenced."""

    def __init__(
        self, declared: Collection[Sensitive] = (), features: Mapping[str, Collection[str]] | None = None
    ) -> None:
        """``features``: the value that a feature gives -> the paths that it is made of."""
        self._declared = tuple(declared)
        self._features = {
            name: touched
            for name, paths in (features or {}).items()
            if (touched := [one for path in paths for one in self._declared if _covers(one.path, path)])
        }

    def against(self, path: str, surface: Surface) -> Sensitive | None:
        """What stands against using a path, or a feature by its name, there; None when nothing does. A
        feature of a group is as sensitive as it is of a person."""
        head, _, rest = path.partition(".")
        path = rest if rest and head in (ACCOUNT, HOUSEHOLD) else path
        found = self._features.get(path.partition(".")[0]) or [
            one for one in self._declared if _covers(one.path, path)
        ]
        return next((one for one in found if surface not in one.allow), None)

    def check(self, path: str, surface: Surface, where: str) -> None:
        """Raises :class:`InvalidDefinition` when a definition uses what it may not."""
        found = self.against(path, surface)
        if found is None:
            return
        through = "" if _covers(found.path, path) else f" (it is made of {found.path})"
        raise InvalidDefinition(
            f"this is declared sensitive and not allowed for {surface}{through}",
            seen=path,
            where=where,
            remedy=f"leave it out, or allow it in privacy.yaml: {{path: {found.path}, allow: [{surface}]}}",
        )

    def hidden(self, root: str, surface: Surface) -> frozenset[str]:
        """The names right under ``root`` (``traits``, ``item``) that are not to be seen there."""
        prefix = f"{root}."
        return frozenset(
            one.path.removeprefix(prefix).partition(".")[0]
            for one in self._declared
            if one.path.startswith(prefix) and surface not in one.allow
        )

    def without_features(self, values: dict[str, Any], surface: Surface) -> dict[str, Any]:
        """Features by name, with :data:`HIDDEN` in the place of what is not to be seen."""
        if not self._features:
            return values
        return {
            name: HIDDEN if any(surface not in one.allow for one in self._features.get(name, ())) else value
            for name, value in values.items()
        }

    def masked(self, root: str, values: dict[str, Any], surface: Surface) -> dict[str, Any]:
        """The same with :data:`HIDDEN` in the place of what is not to be seen."""
        names = self.hidden(root, surface)
        if names.isdisjoint(values):
            return values
        return {name: HIDDEN if name in names else value for name, value in values.items()}


def _covers(declared: str, path: str) -> bool:
    return path == declared or path.startswith(f"{declared}.")
