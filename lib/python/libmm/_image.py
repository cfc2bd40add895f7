"""Pictures. SPDX-License-Identifier: MIT"""
from __future__ import annotations

import os
from typing import Any, Optional, Union

import numpy as np

from ._context import Context, Handle, checked, default_context
from ._library import lib


class Image:
    """A picture of 8-bit RGB pixels, which never changes.

    Image(source) takes the name of a PNG or JPEG file, the bytes of one, or an array [height, width, 3] of uint8
    (anything that numpy turns into one, a Pillow image for example).

    max_pixels  the most pixels to accept from a file; 0 for libmm's own bound
    """

    __slots__ = ("_handle",)

    def __init__(self, source: Any, *, max_pixels: int = 0, context: Optional[Context] = None):
        context = context or default_context()
        max_pixels = checked(max_pixels, 64, "max_pixels")
        with context.call() as p:
            if isinstance(source, (str, os.PathLike)):
                pointer = context.make(lib.mm_image_destroy, lib.mm_image_read, p, os.fsencode(source), max_pixels)
            elif isinstance(source, (bytes, bytearray, memoryview)):
                data = bytes(source)
                pointer = context.make(lib.mm_image_destroy, lib.mm_image_decode, p, data, len(data), max_pixels)
            else:
                a = np.asarray(source)
                if a.ndim != 3 or a.shape[2] != 3 or a.dtype != np.uint8:
                    raise ValueError(f"a picture is an array [height, width, 3] of uint8, not {list(a.shape)} of {a.dtype}")
                a = np.ascontiguousarray(a)
                pointer = context.make(lib.mm_image_destroy, lib.mm_image_create, p, a.shape[1], a.shape[0], a.ctypes.data)
        self._handle = Handle(pointer, lib.mm_image_destroy)

    @property
    def width(self) -> int:
        """Pixels across."""
        return lib.mm_image_width(self._handle.pointer)

    @property
    def height(self) -> int:
        """Pixels down."""
        return lib.mm_image_height(self._handle.pointer)

    @property
    def pixels(self) -> np.ndarray:
        """A copy of the pixels, [height, width, 3] uint8."""
        return np.ctypeslib.as_array(lib.mm_image_pixels(self._handle.pointer), (self.height, self.width, 3)).copy()

    def save_png(self, path: Union[str, "os.PathLike[str]"], *, context: Optional[Context] = None) -> None:
        """Write the picture as a PNG file, whole or not at all."""
        context = context or default_context()
        with context.call() as p:
            context.check(lib.mm_image_save_png(p, self._handle.pointer, os.fsencode(path)))

    def __repr__(self) -> str:
        return f"<libmm.Image {self.width} x {self.height}>"


ImageSource = Union[Image, str, "os.PathLike[str]", bytes, np.ndarray]


def image_of(source: Any, context: Context) -> Image:
    """`source` itself when it is an Image, else one made from it."""
    return source if isinstance(source, Image) else Image(source, context=context)
