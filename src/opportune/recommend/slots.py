"""Dense slots for the items that one question touches: the sparse set that every source adds scores up in."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from opportune.kernels import kernel

Ints = npt.NDArray[np.int32]


@kernel
def slot_of(slot_of_item: Ints, item: Ints, touched: int, number: int) -> int:
    """The slot of an item; ``touched``, its new slot, when it had none yet: the caller then clears what it
    keeps there and counts one more.

    A sparse set (Briggs and Torczon, 1993): ``slot_of_item`` may hold anything from earlier questions and is
    never cleared, an entry holds where ``item[slot]`` agrees. O(1).
    """
    slot = slot_of_item[number]
    if slot < touched and item[slot] == number:
        return int(slot)
    slot_of_item[number] = touched
    item[touched] = number
    return touched
