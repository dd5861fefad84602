"""The shoppers, as columns: everything about them that a real shop never knows for sure."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from opportune.simulate.settings import Settings

Floats = npt.NDArray[np.float64]
Longs = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]


class Population:
    """``liking`` (n, tastes) in [-1, 1] is what each shopper likes; ``eager`` (n,) their own log odds over
    the shop's. ``device`` (n,) is the device at home, one number for two shoppers who share it; ``second``
    (n,) another of their own, -1 for none. ``bot``, ``refuses``, ``logs_in`` are flags. All from the seed
    alone."""

    def __init__(self, settings: Settings, seed: int) -> None:
        self.settings = settings
        self.seed = seed
        n = settings.shoppers
        rng = np.random.default_rng([seed, 1])
        self.liking: Floats = np.tanh(rng.normal(0.0, 1.0, (n, settings.tastes)))
        self.eager: Floats = rng.normal(0.0, 0.4, n)
        self.bot: Flags = rng.random(n) < settings.bots
        self.refuses: Flags = rng.random(n) < settings.refuse
        self.logs_in: Flags = (rng.random(n) < settings.login) & ~self.bot
        self.device: Longs = np.arange(n)
        pairs = rng.permutation(n)[: 2 * int(settings.shared * n / 2)].reshape(-1, 2)
        self.device[pairs[:, 1]] = self.device[pairs[:, 0]]
        self.second: Longs = np.where(rng.random(n) < settings.several, n + np.arange(n), -1)

    def __len__(self) -> int:
        return self.settings.shoppers

    def anonymous_id(self, device: int) -> str:
        return f"sim-{self.seed}-d{device}"

    def user_id(self, shopper: int) -> str:
        return f"sim-{self.seed}-u{shopper}"

    def people(self) -> dict[str, list[str]]:
        """The true identity: every shopper's own identifiers. A shared device is under both of its owners."""
        found = {}
        for shopper in range(len(self)):
            devices = [self.anonymous_id(int(self.device[shopper]))]
            if self.second[shopper] >= 0:
                devices.append(self.anonymous_id(int(self.second[shopper])))
            found[self.user_id(shopper)] = devices
        return found
