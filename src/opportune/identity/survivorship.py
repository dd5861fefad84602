"""Which of several values of a trait stands: rules that ``identity.yaml`` declares per trait."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from opportune.errors import InvalidDefinition

Keep = Literal["most_recent", "most_frequent", "most_trusted", "longest", "order"]


class Survivorship(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How the value of one trait is chosen among all that were said.

    ``most_recent``: the latest by event time, as for traits without a rule. ``most_frequent``: said most
    often. ``most_trusted``: the latest of the first of ``sources`` that said anything. ``longest``: the
    longest text. ``order``: the first of ``values`` that was ever said. Where a rule does not decide, the
    latest stands. Taking a value back (null) makes everything said before it void, whatever the rule.
    """

    keep: Keep = "most_recent"
    sources: tuple[str, ...] = ()
    values: tuple[Any, ...] = ()

    def __post_init__(self) -> None:
        for keep, field in (("most_trusted", "sources"), ("order", "values")):
            given = bool(getattr(self, field))
            if given is not (self.keep == keep):
                raise InvalidDefinition(
                    f"{keep} goes with {field}",
                    seen=self.keep,
                    where=f"$.traits[...].{field}",
                    remedy=f"name {field}, best first" if not given else f"write keep: {keep}",
                )
