"""What a score's model is given of a person, and what of it changes any of its answers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from opportune.errors import InvalidDefinition
from opportune.learn.buying import BuyingModel
from opportune.learn.propensity import PropensityModel
from opportune.learn.scores import Score
from opportune.learn.uplift import UpliftModel
from opportune.recommend.tree_text import parse_forest


class Inputs(msgspec.Struct, frozen=True):
    """Paths into the features of a person, in the model's order. What is ``given`` and not ``used`` has never
    split a tree and has no slope: the model answers the same without it. ``gain`` is the share of the loss
    that splits on each took away in training, where the model's file says so."""

    given: tuple[str, ...]
    used: tuple[str, ...]
    gain: dict[str, float] = {}


class _Kind(msgspec.Struct):
    kind: str = ""


def inputs_of(score: Score, data: bytes) -> Inputs:
    """Of the model file ``data`` as ``score`` asks it. Raises :class:`InvalidDefinition`. O(nodes)."""
    try:
        kind = msgspec.json.decode(data, type=_Kind).kind
        if kind == "propensity":
            propensity = msgspec.json.decode(data, type=PropensityModel)
            return _inputs(propensity.features, _splits(propensity.forest), _gains([propensity.forest]))
        if kind == "uplift":
            uplift = msgspec.json.decode(data, type=UpliftModel)
            used: set[int] = set()
            for part in uplift.parts:
                used |= _splits(part.forest) if part.forest else set()
                if part.line is not None:
                    used |= {at for at, slope in enumerate(part.line.slope) if slope}
            forests = [part.forest for part in uplift.parts if part.forest]
            return _inputs(uplift.features, used, _gains(forests))
        buying = msgspec.json.decode(data, type=BuyingModel)
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise InvalidDefinition(
            f"not a model file ({error})", where=f"the score {score.name}", remedy="train it again"
        ) from error
    asked = [buying.orders, buying.since_last, buying.since_first]
    if score.what == "value":
        asked.append(score.spent)
    return Inputs(tuple(asked), tuple(asked))


def _inputs(features: Sequence[str], used: set[int], gains: Mapping[int, float]) -> Inputs:
    # An uplift's trees may have one column more than there are features: the treatment.
    of_features = {name: gains.get(at, 0.0) for at, name in enumerate(features)}
    whole = sum(of_features.values())
    return Inputs(
        tuple(features),
        tuple(name for at, name in enumerate(features) if at in used),
        {name: gain / whole for name, gain in of_features.items()} if whole > 0 else {},
    )


def _gains(forests: Iterable[str]) -> dict[int, float]:
    """Column -> the sum of ``split_gain`` over the splits on it."""
    found: dict[int, float] = {}
    for forest in forests:
        columns: list[str] = []
        for line in forest.splitlines():
            name, _, values = line.partition("=")
            if name == "split_feature":
                columns = values.split()
            elif name == "split_gain":
                for column, gain in zip(columns, values.split(), strict=False):
                    found[int(column)] = found.get(int(column), 0.0) + max(float(gain), 0.0)
    return found


def _splits(forest: str) -> set[int]:
    return {node.feature for tree in parse_forest(forest).trees for node in tree.nodes}
