"""numba's ``njit`` as a typed decorator: compiled once, cached on disk, without the interpreter lock."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba

F = TypeVar("F", bound=Callable[..., Any])


def kernel(function: F) -> F:
    """Compile on first call and cache. Kernels take flat arrays and scalars, never Python objects.

    ``fastmath`` stays off: the readable reference and the kernel must agree bit for bit where they can.
    """
    return cast(F, numba.njit(cache=True, nogil=True, boundscheck=False)(function))
