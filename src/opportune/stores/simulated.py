"""What a simulator knew of an experiment, where it left that in the data folder: never a real shop's."""

from __future__ import annotations

from pathlib import Path

import msgspec

from opportune.errors import Corrupt

FOLDER = "simulated"


class Simulated(msgspec.Struct, frozen=True):
    """``lost`` is the true regret: the responses that the best arm for each shopper would have brought, by
    their true chances, beyond those of the arms that were shown, over ``decisions``; ``expected_responses``
    are these."""

    decisions: int
    lost: float
    expected_responses: float


def simulated(data_dir: Path | None, experiment: str) -> Simulated | None:
    """``<data folder>/simulated/<experiment>.json``, as ``opportune simulate --truth`` writes it; None where
    there is none. Raises :class:`Corrupt`."""
    if data_dir is None:
        return None
    path = data_dir / FOLDER / f"{experiment}.json"
    try:
        return msgspec.json.decode(path.read_bytes(), type=Simulated)
    except FileNotFoundError:
        return None
    except msgspec.DecodeError as error:
        raise Corrupt(
            f"this is not what a simulator writes ({error})",
            where=str(path),
            remedy="remove it, or write it with `opportune simulate --truth`",
        ) from error
