"""numpy arrays to tensors and back through .safetensors files. SPDX-License-Identifier: MIT"""
import gc
import importlib.util
import json
import os
import struct
import tempfile
import unittest

if importlib.util.find_spec("numpy") is None:
    raise unittest.SkipTest("numpy is missing: `make deps` installs it")

import numpy as np

import libmm


class Safetensors(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.path = os.path.join(folder.name, "t.safetensors")

    def round_trip(self, arrays):
        libmm.write_safetensors(self.path, arrays)
        return libmm.read_safetensors(self.path)

    def test_types_and_shapes(self):
        rng = np.random.default_rng(0)
        arrays = {
            "f32": rng.standard_normal((2, 3, 4), dtype=np.float32),
            "f16": rng.standard_normal((5,)).astype(np.float16),
            "i32": np.array([[-2**31, 2**31 - 1]], np.int32),
            "i64": np.array([-2**63, 2**63 - 1], np.int64),
            "u8": np.arange(256, dtype=np.uint8).reshape(16, 16),
            "scalar": np.float32(0.25),
            "empty": np.zeros((0, 7), np.float32),
        }
        back = self.round_trip(arrays)
        self.assertEqual(list(back), list(arrays))
        for name, a in arrays.items():
            self.assertEqual(back[name].dtype, np.asarray(a).dtype, name)
            self.assertEqual(back[name].shape, np.shape(a), name)
            np.testing.assert_array_equal(back[name], a, name)

    def test_converted_types(self):
        back = self.round_trip({"f64": np.array([0.1]), "bool": np.array([True, False]), "list": [[1, 2]], "i16": np.array([-7], np.int16)})
        np.testing.assert_array_equal(back["f64"], np.array([0.1], np.float32))
        np.testing.assert_array_equal(back["bool"], [1, 0])
        np.testing.assert_array_equal(back["list"], [[1, 2]])
        np.testing.assert_array_equal(back["i16"], [-7])
        for bad in (np.array(["x"]), np.array([1j]), np.array([2**63], np.uint64)):
            with self.assertRaises((TypeError, ValueError)):
                libmm.write_safetensors(self.path, {"bad": bad})

    def test_layout_is_the_format_s(self):
        """What is written is read by the format's own description: 8 bytes of length, JSON, elements."""
        a = np.arange(12, dtype=np.float32).reshape(3, 4)
        libmm.write_safetensors(self.path, {"a": a[:, ::2]})  # not contiguous
        with open(self.path, "rb") as f:
            size = struct.unpack("<Q", f.read(8))[0]
            header = json.loads(f.read(size))
            data = f.read()
        entry = header["a"]
        self.assertEqual((entry["dtype"], entry["shape"]), ("F32", [3, 2]))
        begin, end = entry["data_offsets"]
        np.testing.assert_array_equal(np.frombuffer(data[begin:end], np.float32).reshape(3, 2), a[:, ::2])

    def test_bf16_is_widened(self):
        header = json.dumps({"x": {"dtype": "BF16", "shape": [3], "data_offsets": [0, 6]}}).encode()
        values = np.array([1.0, -2.5, 3e38], np.float32)
        halves = (values.view(np.uint32) >> 16).astype("<u2")
        with open(self.path, "wb") as f:
            f.write(struct.pack("<Q", len(header)) + header + halves.tobytes())
        back = libmm.read_safetensors(self.path)["x"]
        self.assertEqual(back.dtype, np.float32)
        np.testing.assert_array_equal(back, (halves.astype(np.uint32) << 16).view(np.float32))

    def test_arrays_outlive_the_rest(self):
        a = np.arange(100000, dtype=np.int64)
        back = self.round_trip({"a": a, "b": a + 1})
        kept = back["b"][10:20]
        del back
        gc.collect()
        np.testing.assert_array_equal(kept, a[10:20] + 1)
        with self.assertRaises(ValueError):
            kept[0] = 0  # it lies in a mapped file

    def test_failure_names_the_file(self):
        with self.assertRaises(libmm.Error) as e:
            libmm.read_safetensors(self.path)
        self.assertEqual((e.exception.name, e.exception.status), ("MM_E_NOT_FOUND", -21))
        self.assertIn("t.safetensors", str(e.exception))
        with open(self.path, "wb") as f:
            f.write(b"\xff" * 8 + b"{}")
        with self.assertRaises(libmm.Error) as e:
            libmm.read_safetensors(self.path)
        self.assertIn(e.exception.name, ("MM_E_FORMAT", "MM_E_LIMIT"))
        with self.assertRaises(libmm.Error):
            libmm.write_safetensors(os.path.join(self.path, "no", "folder"), {"a": np.zeros(1, np.float32)})


if __name__ == "__main__":
    unittest.main()
