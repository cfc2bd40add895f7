"""Sounds. SPDX-License-Identifier: MIT"""
from __future__ import annotations

import os
from typing import Any, Optional

import numpy as np

from ._context import Context, Handle, checked, default_context
from ._library import lib


class Audio:
    """One channel of float32 samples, which never change.

    Audio(source) takes the name of a WAV, FLAC or Ogg file, or the bytes of one; Audio(array, rate) takes samples [count].
    Files of several channels are averaged to one.
    """

    __slots__ = ("_context", "_handle")

    def __init__(self, source: Any, rate: Optional[int] = None, *, context: Optional[Context] = None):
        context = context or default_context()
        is_path, is_bytes = isinstance(source, (str, os.PathLike)), isinstance(source, (bytes, bytearray, memoryview))
        if (is_path or is_bytes) != (rate is None):
            raise ValueError("samples need their rate" if rate is None else "a sound file has a rate of its own")
        with context.call() as p:
            if is_path:
                pointer = context.make(lib.mm_audio_destroy, lib.mm_audio_read, p, os.fsencode(source))
            elif is_bytes:
                data = bytes(source)
                pointer = context.make(lib.mm_audio_destroy, lib.mm_audio_decode, p, data, len(data))
            else:
                a = np.ascontiguousarray(source, np.float32)
                if a.ndim != 1:
                    raise ValueError(f"samples are an array [count], not {list(a.shape)}")
                pointer = context.make(lib.mm_audio_destroy, lib.mm_audio_create, p, checked(rate, 32, "rate"), a.ctypes.data, len(a))
        self._context = context
        self._handle = Handle(pointer, lib.mm_audio_destroy)

    def resample(self, rate: int) -> "Audio":
        """The same sound at another rate, as torchaudio.functional.resample makes it."""
        other = Audio.__new__(Audio)
        with self._context.call() as p:
            pointer = self._context.make(lib.mm_audio_destroy, lib.mm_audio_resample, p, self._handle.pointer, checked(rate, 32, "rate"))
        other._context = self._context
        other._handle = Handle(pointer, lib.mm_audio_destroy)
        return other

    def __len__(self) -> int:
        """Samples."""
        return lib.mm_audio_count(self._handle.pointer)

    @property
    def rate(self) -> int:
        """Samples per second."""
        return lib.mm_audio_rate(self._handle.pointer)

    @property
    def samples(self) -> np.ndarray:
        """A copy of the samples, [count] float32."""
        return np.ctypeslib.as_array(lib.mm_audio_samples(self._handle.pointer), (len(self),)).copy()

    def __repr__(self) -> str:
        return f"<libmm.Audio {len(self) / self.rate:.2f} s at {self.rate} Hz>"
