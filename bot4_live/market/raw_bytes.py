"""`bytes` objects as compiled code sees them: by address, without a copy, a buffer or a Python integer in between.

A kernel whose signature has RAW_BYTES takes any object; it gets the object's address if its type is exactly `bytes`, 0
otherwise. The caller keeps the object alive during the call.
"""

from __future__ import annotations

import ctypes
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import NativeValue, intrinsic, models, register_model, unbox

# In CPython a `bytes` object has its type at 8, its size at SIZE_AT, its bytes from BYTES_HEAD on; proven here.
BYTES_HEAD = bytes.__basicsize__ - 1
SIZE_AT = 16
_TYPE_AT = 8
_PROBE = b"the bytes of this object"
_FOUND = ctypes.string_at(id(_PROBE), BYTES_HEAD + len(_PROBE))
_EXPECTED = id(bytes).to_bytes(8, "little") + len(_PROBE).to_bytes(8, "little")
if _FOUND[_TYPE_AT : SIZE_AT + 8] != _EXPECTED or _FOUND[BYTES_HEAD:] != _PROBE:  # pragma: no cover
    raise ImportError("bytes objects lie otherwise in memory than CPython's; run Bot4 on CPython")


class _RawBytes(types.Type):
    def __init__(self) -> None:
        super().__init__(name="RawBytes")


RAW_BYTES = _RawBytes()


@register_model(_RawBytes)
class _Model(models.PrimitiveModel):
    """An int64."""

    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, ir.IntType(64))  # type: ignore[no-untyped-call]


@unbox(_RawBytes)  # type: ignore[no-untyped-call]
def _address_of(kind: Any, obj: Any, context: Any) -> NativeValue:
    """Return the object's address, or 0."""
    builder, word = context.builder, ir.IntType(64)
    place = builder.ptrtoint(obj, word)
    type_at = builder.inttoptr(builder.add(place, ir.Constant(word, _TYPE_AT)), word.as_pointer())
    wanted = builder.ptrtoint(context.pyapi.get_c_object("PyBytes_Type"), word)
    is_bytes = builder.icmp_unsigned("==", builder.load(type_at), wanted)
    native: NativeValue = NativeValue(builder.select(is_bytes, place, ir.Constant(word, 0)))  # type: ignore[no-untyped-call]
    return native


def _place(typingctx: Any, raw: Any) -> Any:
    """Return the address of a RAW_BYTES object as an int64: its size lies at SIZE_AT behind it, its first byte at
    BYTES_HEAD; 0 for an object that is no `bytes`.
    """

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return args[0]

    return (types.int64(RAW_BYTES), codegen) if raw == RAW_BYTES else None


place_of: Any = intrinsic(_place)
