"""What a score's model is given of a person, and what of it changes any of its answers."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from opportune.errors import InvalidDefinition
from opportune.learn.buying import BuyingModel
from opportune.learn.propensity import PropensityModel
from opportune.learn.scores import Score
from opportune.learn.uplift import UpliftModel
from opportune.recommend.tree_text import parse_forest


class Inputs(msgspec.Struct, frozen=True):
    """Paths into the features of a person, in the model's order. What is ``given`` and not ``used`` has never
    split a tree and has no slope: the model answers the same without it."""

    given: tuple[str, ...]
    used: tuple[str, ...]


class _Kind(msgspec.Struct):
    kind: str = ""


def inputs_of(score: Score, data: bytes) -> Inputs:
    """Of the model file ``data`` as ``score`` asks it. Raises :class:`InvalidDefinition`. O(nodes)."""
    try:
        kind = msgspec.json.decode(data, type=_Kind).kind
        if kind == "propensity":
            propensity = msgspec.json.decode(data, type=PropensityModel)
            return _inputs(propensity.features, _splits(propensity.forest))
        if kind == "uplift":
            uplift = msgspec.json.decode(data, type=UpliftModel)
            used: set[int] = set()
            for part in uplift.parts:
                used |= _splits(part.forest) if part.forest else set()
                if part.line is not None:
                    used |= {at for at, slope in enumerate(part.line.slope) if slope}
            return _inputs(uplift.features, used)
        buying = msgspec.json.decode(data, type=BuyingModel)
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise InvalidDefinition(
            f"not a model file ({error})", where=f"the score {score.name}", remedy="train it again"
        ) from error
    asked = [buying.orders, buying.since_last, buying.since_first]
    if score.what == "value":
        asked.append(score.spent)
    return Inputs(tuple(asked), tuple(asked))


def _inputs(features: Sequence[str], used: set[int]) -> Inputs:
    # An uplift's trees may have one column more than there are features: the treatment.
    return Inputs(tuple(features), tuple(name for at, name in enumerate(features) if at in used))


def _splits(forest: str) -> set[int]:
    return {node.feature for tree in parse_forest(forest).trees for node in tree.nodes}
