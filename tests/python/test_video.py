"""Videos from files, bytes and folders. SPDX-License-Identifier: MIT"""
import importlib.util
import os
import shutil
import tempfile
import unittest
import zlib

if importlib.util.find_spec("numpy") is None:
    raise unittest.SkipTest("numpy is missing: `make deps` installs it")

import libmm

GOLDEN = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "golden")


class Video(unittest.TestCase):
    def test_frames(self):
        with open(os.path.join(GOLDEN, "videos", "frames.txt")) as f:
            rows = [line.split() for line in f if line.startswith("422_full.y4m ")]
        path = os.path.join(GOLDEN, "videos", "422_full.y4m")
        with open(path, "rb") as f:
            videos = libmm.Video(path), libmm.Video(f.read(), rate=5)
        self.assertAlmostEqual(videos[0].rate, 30000 / 1001)
        self.assertEqual(videos[1].rate, 5)
        for video in videos:
            self.assertEqual(len(video), len(rows))
            for image, row in zip(video, rows):
                self.assertEqual((image.width, image.height), (int(row[2]), int(row[3])))
                self.assertEqual(f"{zlib.crc32(image.pixels.tobytes()):08x}", row[4])
            self.assertEqual(video[-1].pixels.tolist(), video[len(video) - 1].pixels.tolist())
            with self.assertRaises(IndexError):
                video[len(video)]

    def test_folder(self):
        with tempfile.TemporaryDirectory() as folder:
            with self.assertRaisesRegex(libmm.Error, "no PNG or JPEG"):
                libmm.Video(folder)
            for name, source in (("f10.png", "png_1x1.png"), ("f9.jpg", "jpeg_wide.jpg")):
                shutil.copy(os.path.join(GOLDEN, "images", source), os.path.join(folder, name))
            video = libmm.Video(folder)
            self.assertEqual([(i.width, i.height) for i in video], [(250, 1), (1, 1)])
            self.assertEqual(video.rate, 24)


if __name__ == "__main__":
    unittest.main()
