"""Sounds from files, bytes and arrays. SPDX-License-Identifier: MIT"""
import importlib.util
import pathlib
import unittest
import wave

if importlib.util.find_spec("numpy") is None:
    raise unittest.SkipTest("numpy is missing: `make deps` installs it")

import numpy as np

import libmm

SOUNDS = pathlib.Path(__file__).resolve().parent.parent / "golden" / "audio"


class Sounds(unittest.TestCase):
    def test_files_and_bytes(self):
        path = SOUNDS / "pcm16.wav"
        with wave.open(str(path)) as f:
            rate, expected = f.getframerate(), np.frombuffer(f.readframes(f.getnframes()), "<i2") / np.float32(32768)
        for source in (path, str(path), path.read_bytes(), bytearray(path.read_bytes())):
            audio = libmm.Audio(source)
            self.assertEqual((audio.rate, len(audio)), (rate, len(expected)))
            np.testing.assert_array_equal(audio.samples, expected)

    def test_arrays(self):
        x = np.linspace(-1, 1, 9)
        audio = libmm.Audio(x[::2], 8000)
        np.testing.assert_array_equal(audio.samples, x[::2].astype(np.float32))
        self.assertEqual(len(libmm.Audio([], 8000).samples), 0)
        self.assertEqual(repr(libmm.Audio(np.zeros(4000), 8000)), "<libmm.Audio 0.50 s at 8000 Hz>")

    def test_resample(self):
        x = np.sin(np.arange(4410) * 2 * np.pi * 440 / 44100).astype(np.float32)
        y = libmm.Audio(x, 44100).resample(16000)
        self.assertEqual((y.rate, len(y)), (16000, 1600))
        np.testing.assert_allclose(y.samples[100:-100], np.sin(np.arange(1600) * 2 * np.pi * 440 / 16000)[100:-100], atol=2e-3)

    def test_failures(self):
        for wrong in ((np.zeros((2, 2)), 8000), (np.zeros(2), None), (b"", 8000)):
            with self.assertRaises(ValueError):
                libmm.Audio(*wrong)
        for source, rate, name in ((np.zeros(2), 7, "MM_E_ARGUMENT"), ([np.nan], 8000, "MM_E_ARGUMENT"), (b"no sound", None, "MM_E_UNSUPPORTED"),
                                   (SOUNDS / "none.wav", None, "MM_E_NOT_FOUND")):
            with self.assertRaises(libmm.Error) as caught:
                libmm.Audio(source, rate)
            self.assertEqual(caught.exception.name, name)
        with self.assertRaises(libmm.Error):
            libmm.Audio(np.zeros(2), 8000).resample(0)


if __name__ == "__main__":
    unittest.main()
