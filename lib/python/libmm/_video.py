"""Videos. SPDX-License-Identifier: MIT"""
from __future__ import annotations

import os
from typing import Any, Iterator, Optional

from ._context import Context, Handle, checked, default_context
from ._image import Image
from ._library import FREE_FN, lib


class Video:
    """The frames of a video, each read when it is asked for: len(video), video[3], or `for image in video`.

    Video(source) takes the name of a folder of PNG or JPEG files or of a YUV4MPEG2 file or pipe, or the bytes of one.

    rate        frames a second; None: what the file says, and 24 where nothing does
    max_pixels  the most pixels of a frame to accept; 0 for libmm's own bound
    """

    __slots__ = ("_context", "_data", "_handle")

    def __init__(self, source: Any, *, rate: Optional[float] = None, max_pixels: int = 0, context: Optional[Context] = None):
        self._context = context or default_context()
        self._data = None
        max_pixels = checked(max_pixels, 64, "max_pixels")
        with self._context.call() as p:
            if isinstance(source, (str, os.PathLike)):
                pointer = self._context.make(lib.mm_video_destroy, lib.mm_video_open, p, os.fsencode(source), max_pixels, rate or 0.0)
            else:
                self._data = bytes(source)  # read as long as the video is
                pointer = self._context.make(lib.mm_video_destroy, lib.mm_video_wrap, p, self._data, len(self._data), max_pixels,
                                             rate or 0.0, FREE_FN(), None)
        self._handle = Handle(pointer, lib.mm_video_destroy)

    @property
    def rate(self) -> float:
        """Frames a second."""
        return lib.mm_video_rate(self._handle.pointer)

    def __len__(self) -> int:
        """Frames."""
        return lib.mm_video_frames(self._handle.pointer)

    def __getitem__(self, index: int) -> Image:
        at = index + len(self) if index < 0 else index
        if not 0 <= at < len(self):
            raise IndexError(f"frame {index} of a video of {len(self)}")
        image = Image.__new__(Image)
        with self._context.call() as p:
            pointer = self._context.make(lib.mm_image_destroy, lib.mm_video_frame, p, self._handle.pointer, at)
        image._handle = Handle(pointer, lib.mm_image_destroy)
        return image

    def __iter__(self) -> Iterator[Image]:
        return (self[i] for i in range(len(self)))

    def __repr__(self) -> str:
        return f"<libmm.Video {len(self)} frames, {self.rate:g} a second>"
