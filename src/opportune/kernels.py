"""numba's ``njit`` as a typed decorator: compiled once, cached on disk, without the interpreter lock."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from typing import Any, TypeVar, cast

import numba

F = TypeVar("F", bound=Callable[..., Any])


def kernel(function: F) -> F:
    """Compile on first call and cache. Kernels take flat arrays and scalars, never Python objects.

    ``fastmath`` stays off: the readable reference and the kernel must agree bit for bit where they can.
    """
    return cast(F, numba.njit(cache=True, nogil=True, boundscheck=False)(function))


def leave_scipy_alone() -> None:
    """Keep numba from importing ``scipy.linalg`` (0.4 s) just to learn that it is there, which it does before
    its first kernel runs. No kernel of ours needs it; for one that does, numba imports it when it compiles
    it. Where numba has changed, nothing happens."""
    module: Any = import_module("numba.np.linalg")
    imports = getattr(module, "ensure_blas", None)
    if imports is None:
        return

    def is_there() -> None:
        if find_spec("scipy") is None:
            raise ImportError("scipy")

    module.ensure_blas = is_there
    try:
        arraymath: Any = import_module("numba.np.arraymath")
    finally:
        module.ensure_blas = imports
    arraymath.ensure_blas = imports
