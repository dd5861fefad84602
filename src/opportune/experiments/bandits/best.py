"""How likely each arm is the best one, by numeric integration: propensities are computed, not counted.

``P(arm a is best) = integral of f_a(x) prod_{b != a} F_b(x) dx``. A bandit draws its arm *from these
numbers*: what is logged is then exactly what was done, and the integral's error (under 1e-3 for Beta, 1e-2
for normal posteriors of very different width) only makes the policy that much different from Thompson
sampling by drawing.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from opportune.kernels import kernel

Floats = npt.NDArray[np.float64]

_DEVIATIONS = np.linspace(-8.0, 8.0, 97)
_NODES, _WEIGHTS = np.polynomial.hermite.hermgauss(32)


def best_of_betas(a: Floats, b: Floats) -> Floats:
    """(k,) for posteriors Beta(a, b). The grid has each arm's mean ± 8 deviations, and [0, 1] coarsely;
    O(k² · 97)."""
    if len(a) == 1:
        return np.ones(1)
    mean = a / (a + b)
    deviation = np.sqrt(mean * (1 - mean) / (a + b + 1))
    inner = (mean[:, None] + deviation[:, None] * _DEVIATIONS[None, :]).ravel()
    edges = np.linspace(0.0, 1.0, 129)
    low = np.geomspace(1e-9, 1e-2, 33)
    grid = np.unique(np.concatenate([inner, edges, low, 1 - low]))
    grid = grid[(grid >= 0) & (grid <= 1)]
    middle = (grid[1:] + grid[:-1]) / 2
    width = np.diff(grid)
    log_density = (a - 1)[:, None] * np.log(middle) + (b - 1)[:, None] * np.log1p(-middle)
    mass = np.exp(log_density - log_density.max(axis=1, keepdims=True)) * width
    mass /= mass.sum(axis=1, keepdims=True)
    below = np.cumsum(mass, axis=1) - mass / 2
    product = np.prod(below, axis=0)
    others = np.divide(product, below, out=np.zeros_like(below), where=below > 1e-300)
    return _normalized((mass * others).sum(axis=1))


def best_of_normals(mean: Floats, deviation: Floats) -> Floats:
    """(k,) for independent normal posteriors, by Gauss-Hermite quadrature with 32 nodes; O(k²)."""
    if len(mean) == 1:
        return np.ones(1)
    return _normalized(_best_of_normals(mean, np.maximum(deviation, 1e-12), _NODES, _WEIGHTS))


@kernel
def _best_of_normals(mean: Floats, deviation: Floats, nodes: Floats, weights: Floats) -> Floats:
    k = len(mean)
    found = np.zeros(k)
    for a in range(k):
        total = 0.0
        for i in range(len(nodes)):
            x = mean[a] + deviation[a] * math.sqrt(2.0) * nodes[i]
            product = weights[i]
            for b in range(k):
                if b != a:
                    product *= 0.5 * math.erfc((mean[b] - x) / (deviation[b] * math.sqrt(2.0)))
            total += product
        found[a] = total
    return found


def _normalized(chance: Floats) -> Floats:
    total = chance.sum()
    if not total > 0:
        return np.full(len(chance), 1 / len(chance))
    shares: Floats = chance / total
    return shares
