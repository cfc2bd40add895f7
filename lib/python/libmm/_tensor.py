"""numpy arrays to tensors and back, and .safetensors files. SPDX-License-Identifier: MIT"""
from __future__ import annotations

import ctypes
import os
from typing import Any, Dict, Mapping, Optional, Union

import numpy as np

from . import _library as _c
from ._context import Context, Error, Handle, c_text, default_context
from ._library import lib

_TO_NUMPY: Dict[int, Any] = {
    _c.MM_DTYPE_F32: np.dtype(np.float32),
    _c.MM_DTYPE_F16: np.dtype(np.float16),
    _c.MM_DTYPE_BF16: np.dtype(np.uint16),
    _c.MM_DTYPE_I32: np.dtype(np.int32),
    _c.MM_DTYPE_I64: np.dtype(np.int64),
    _c.MM_DTYPE_U8: np.dtype(np.uint8),
}
_FROM_NUMPY = {t: d for d, t in _TO_NUMPY.items() if d != _c.MM_DTYPE_BF16}


def array_of(handle: Handle, writable: bool = True) -> np.ndarray:
    """A tensor's elements without a copy: the array keeps the tensor. BF16, which numpy lacks, is widened to float32."""
    dtype = lib.mm_tensor_dtype(handle.pointer)
    shape = tuple(lib.mm_tensor_shape(handle.pointer)[:lib.mm_tensor_rank(handle.pointer)])
    size = lib.mm_tensor_bytes(handle.pointer)
    if dtype not in _TO_NUMPY:
        raise Error(_c.STATUS["MM_E_DTYPE"], f"numpy has no type for {lib.mm_dtype_name(dtype).decode()}")
    if size == 0:
        flat = np.empty(0, _TO_NUMPY[dtype])
    else:
        buffer = (ctypes.c_char * size).from_address(lib.mm_tensor_const_data(handle.pointer))
        buffer._tensor = handle  # the array's base is the buffer, and the buffer keeps the tensor
        flat = np.frombuffer(buffer, _TO_NUMPY[dtype])
        flat.flags.writeable = writable
    if dtype == _c.MM_DTYPE_BF16:
        flat = (flat.astype(np.uint32) << 16).view(np.float32)
    return flat.reshape(shape)


def tensor_of(context: Context, value: Any) -> Handle:
    """A tensor with a copy of an array's elements. Inside context.call()."""
    a = np.asarray(value)
    if a.dtype not in _FROM_NUMPY:
        if a.dtype.kind == "f":
            a = a.astype(np.float32)
        elif a.dtype.kind in "biu":
            wide = a.astype(np.int64)
            if a.dtype.kind == "u" and (wide < 0).any():
                raise ValueError("an unsigned number does not fit in 64 signed bits")
            a = wide
        else:
            raise TypeError(f"an array of {a.dtype} cannot be a tensor")
    a = np.ascontiguousarray(a).reshape(a.shape)  # ascontiguousarray makes a scalar one-dimensional
    shape = (ctypes.c_int64 * max(a.ndim, 1))(*a.shape)
    pointer = context.make(lib.mm_tensor_release, lib.mm_tensor_copy, context._handle.pointer, _FROM_NUMPY[a.dtype.newbyteorder("=")],
                           a.ndim, shape, a.ctypes.data)
    return Handle(pointer, lib.mm_tensor_release)


def map_of(context: Context, arrays: Mapping[str, Any]) -> Handle:
    """A tensor map from named arrays. Inside context.call()."""
    p = context._handle.pointer
    out = Handle(context.make(lib.mm_tensor_map_destroy, lib.mm_tensor_map_create, p), lib.mm_tensor_map_destroy)
    for name, value in arrays.items():
        tensor = tensor_of(context, value)
        context.check(lib.mm_tensor_map_set(p, out.pointer, c_text(name, "a tensor's name"), tensor.pointer))
    return out


def arrays_of(map_handle: Handle, writable: bool = True) -> Dict[str, np.ndarray]:
    """The arrays of a tensor map; each keeps its own tensor."""
    out = {}
    for i in range(lib.mm_tensor_map_count(map_handle.pointer)):
        name = lib.mm_tensor_map_name(map_handle.pointer, i).decode("utf-8", "replace")
        tensor = lib.mm_tensor_map_at(map_handle.pointer, i)
        lib.mm_tensor_retain(tensor)
        out[name] = array_of(Handle(tensor, lib.mm_tensor_release), writable)
    return out


def read_safetensors(path: Union[str, "os.PathLike[str]"], context: Optional[Context] = None) -> Dict[str, np.ndarray]:
    """The arrays of a .safetensors file. The file is mapped, not read: it must not change while an array of it lives,
    and the arrays are read-only."""
    context = context or default_context()
    with context.call() as p:
        pointer = context.make(lib.mm_tensor_map_destroy, lib.mm_tensor_map_read, p, os.fsencode(path))
        return arrays_of(Handle(pointer, lib.mm_tensor_map_destroy), writable=False)


def write_safetensors(path: Union[str, "os.PathLike[str]"], arrays: Mapping[str, Any], context: Optional[Context] = None) -> None:
    """Write arrays to a .safetensors file, which appears whole or not at all."""
    context = context or default_context()
    with context.call() as p:
        tensors = map_of(context, arrays)
        context.check(lib.mm_tensor_map_write(p, tensors.pointer, os.fsencode(path)))
