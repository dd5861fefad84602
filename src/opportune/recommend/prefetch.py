"""Ask the processor for memory that will be read soon."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from llvmlite import ir
from numba.core import cgutils as untyped
from numba.core import types
from numba.extending import intrinsic

cgutils: Any = untyped


def _as_prefetch(typing_context: Any, array: Any, row: Any) -> Any:
    """LLVM's ``prefetch``: to read, to keep in all caches, data."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kind, _ = signature.args
        view = context.make_array(kind)(context, builder, arguments[0])
        stride = cgutils.unpack_tuple(builder, view.strides)[0]
        place = builder.add(builder.ptrtoint(view.data, stride.type), builder.mul(arguments[1], stride))
        pointer = builder.inttoptr(place, cgutils.voidptr_t)
        flag = ir.IntType(32)
        function = cgutils.get_or_insert_function(
            builder.module,
            ir.FunctionType(ir.VoidType(), (cgutils.voidptr_t, flag, flag, flag)),
            "llvm.prefetch.p0",
        )
        builder.call(function, (pointer, flag(0), flag(3), flag(1)))
        return context.get_dummy_value()

    return types.none(array, types.int64), code


prefetch = cast(Callable[[Any, int], None], intrinsic(_as_prefetch))
"""``prefetch(array, row)``, in kernels: the row's first cache line comes while other work goes on. Only a
hint: any row number is safe, also one outside the array. Costs about a nanosecond."""
